"""Trained models of other frameworks, brought in as networks that can be stepped.

Nothing that a file holds is run: its list of layers is read and checked first, layers with code in
them are refused, and only then does the framework's own loader see it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from convert.errors import ImportFailedError

if TYPE_CHECKING:
    from convert.importers.imported import ImportedModel

FORMATS = (
    "a .keras file, a Keras .h5 file, the folder of a Keras SavedModel, or PyTorch weights "
    "(.safetensors, .pt) with a description of their layers"
)
PYTORCH_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")


def import_model(path: str | Path, layers: Path | None = None) -> ImportedModel:
    """Read a model file of Keras 2 (tf_keras), Keras 3 or PyTorch.

    Args:
        layers: of PyTorch weights, the TOML that names the layers, see
            :mod:`convert.importers.pytorch`.

    Raises:
        ImportFailedError: the file is missing, damaged, or no model of a known format.
        UnsupportedLayerError: a layer cannot be stepped.
    """
    path = Path(path)
    if not path.exists():
        raise ImportFailedError(f"{path}: no such file; check the path")
    if path.suffix in PYTORCH_SUFFIXES:
        if layers is None:
            raise ImportFailedError(
                f"{path}: PyTorch weights do not say what they belong to; name a TOML that "
                "describes the layers (docs/import.md shows one)"
            )
        from convert.importers.pytorch import import_network

        return import_network(path, layers)
    if path.is_dir():
        from convert.importers.saved_model import import_saved_model

        return import_saved_model(path)
    from convert.importers.keras_files import import_keras_file

    return import_keras_file(path)
