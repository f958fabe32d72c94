"""Export a step model in other forms: ONNX, C, Edge TPU."""
