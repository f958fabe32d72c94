"""Models that a runtime accepts without complaint but computes wrongly.

Found by comparing runs with the float model, see docs/quantization.md. A model that edgestep
converted never gets here; one that was made elsewhere, or edited, may.
"""

from __future__ import annotations

from device_runner.model.flatbuffer import Graph

# The version of FULLY_CONNECTED that means one scale per channel with float activations. Runtimes
# that only know one scale per matrix accept a file with a lower version.
PER_CHANNEL_HYBRID_VERSION = 12
OLD_RUNTIMES = frozenset({"tflite-runtime"})


SPARSE = (
    "its int8 weights are stored in TFLite's sparse encoding, which this runtime computes wrongly; "
    "convert it without EXPERIMENTAL_SPARSITY"
)
PER_CHANNEL = (
    "its weights have a scale a channel, which this runtime reads as one scale a matrix; "
    "export it as 'dynamic' with one scale a matrix"
)


def known_failure(graph: Graph, backend: str) -> str | None:
    """Say why a graph must not run on a backend, and what to do; None if nothing is known."""
    old = backend in OLD_RUNTIMES
    for operator in graph.operators:
        if operator.name != "FULLY_CONNECTED" or len(operator.inputs) < 2:
            continue
        data, weights = (graph.tensors[index] for index in operator.inputs[:2])
        if weights.dtype != "int8":
            continue
        hybrid = data.dtype == "float32"
        if weights.sparse and (hybrid or old):
            return SPARSE
        stated = operator.version >= PER_CHANNEL_HYBRID_VERSION
        if hybrid and old and len(weights.scales) > 1 and not stated:
            return PER_CHANNEL
    return None
