"""The step model's file: contract, package and graph, and how they are shown to people."""
