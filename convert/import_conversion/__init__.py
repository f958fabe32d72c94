"""A trained model of another framework, all the way to a step model file that proves itself."""
