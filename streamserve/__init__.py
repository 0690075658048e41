"""Streaming inference on Kafka: agents, Feast features, ONNX models, exactly once."""
