"""Turn a trained network into a step model: a .tflite whose signature carries the state."""
