"""Convert another framework's trained model to a step model file that proves itself."""
