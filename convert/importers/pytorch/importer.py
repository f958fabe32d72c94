"""Import a PyTorch network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from convert.importers.imported import ImportedModel, imported_network
from convert.importers.pytorch.network import read_network
from convert.importers.pytorch.rebuilt import to_keras
from convert.importers.pytorch.reference import run


def import_network(weights: Path, description: Path) -> ImportedModel:
    """Import a PyTorch network as one that can be stepped.

    Errors as :func:`convert.importers.pytorch.network.read_network`.
    """
    network = read_network(weights, description)

    def reference(inputs: list[NDArray[Any]]) -> list[NDArray[Any]]:
        (x,) = inputs
        outputs = run(network, x[..., 0] if network.vocabulary and x.ndim == 3 else x)
        return [outputs[:, -1] if network.gives_the_last else outputs]

    return imported_network(
        name=weights.stem,
        network=to_keras(network),
        reference=reference,
        framework="PyTorch",
        # The file holds no code, so nothing is known of what the network did with its layers.
        told_by="the description says",
    )
