"""The local Kafka for development, tests and the demo."""
