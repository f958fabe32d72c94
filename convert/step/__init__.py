"""One time step of a network as a TFLite signature."""
