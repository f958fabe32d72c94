"""Find what a quantizer must know: ranges of inputs, states and activations on real data."""
