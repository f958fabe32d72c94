"""Adopt TFLite files that edgestep did not make: their states become a step contract's."""
