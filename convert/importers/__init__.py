"""Existing models: read, checked, and rebuilt of Keras layers that can be stepped."""
