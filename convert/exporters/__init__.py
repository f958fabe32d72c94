"""Other forms of a step model: ONNX, C, Edge TPU."""
