"""Benchmarks on devices over ssh."""
