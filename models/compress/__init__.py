"""Compression of trained networks: float network in, float network out."""
