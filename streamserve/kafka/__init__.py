"""Kafka: source, sink and the one transaction; the home of confluent-kafka."""
