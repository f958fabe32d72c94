"""Benchmark devices over ssh."""
