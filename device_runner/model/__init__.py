"""The step model's file: contract, package, graph, and what people are shown of them."""
