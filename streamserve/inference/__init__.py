"""Model packages and their runners; the home of ONNX Runtime."""
