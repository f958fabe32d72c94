"""Measure on a device: latency, machine, energy, the benchmark and its result."""
