"""Models that a runtime takes without a complaint and computes wrongly.

Found by running them against the float model, see docs/quantization.md. A model that edgestep has
converted never gets here; one that was made elsewhere, or edited, may.
"""

from __future__ import annotations

from device_runner.flatbuffer import Graph

# The version of FULLY_CONNECTED that stands for one scale a channel with float activations. A file
# with a lower one is taken by runtimes that know one scale a matrix only.
PER_CHANNEL_HYBRID_VERSION = 12
OLD_RUNTIMES = frozenset({"tflite_runtime"})


def known_failure(graph: Graph, backend: str) -> str | None:
    """Why a graph must not be run on a backend, and what to do; None where nothing is known
    against it."""
    if any(tensor.sparse for tensor in graph.tensors):
        return (
            "its weights are stored in TFLite's sparse encoding, which runtimes compute wrongly; "
            "convert it without EXPERIMENTAL_SPARSITY"
        )
    if backend not in OLD_RUNTIMES:
        return None
    for operator in graph.operators:
        if operator.name != "FULLY_CONNECTED" or operator.version >= PER_CHANNEL_HYBRID_VERSION:
            continue
        data, weights = (graph.tensors[index] for index in operator.inputs[:2])
        if data.dtype == "float32" and weights.dtype == "int8" and len(weights.scales) > 1:
            return (
                "its weights have a scale a channel, which this runtime reads as one scale a "
                "matrix; export it as 'dynamic' with one scale a matrix"
            )
    return None
