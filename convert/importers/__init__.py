"""Trained models of other frameworks, brought in as networks that can be stepped.

Nothing that a file holds is run: its list of layers is read and checked first, layers with code in
them are refused, and only then does the framework's own loader see it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from convert.errors import SourceModelError

PYTORCH_SUFFIXES = (".pt", ".pth", ".safetensors")

if TYPE_CHECKING:
    from convert.importers.imported import ImportedModel


def import_model(path: str | Path, architecture: str | Path | None = None) -> ImportedModel:
    """Read a trained model: a .keras file (Keras 3, tf_keras), a Keras .h5 file, the folder of a
    tf_keras SavedModel, or, with ``architecture``, weights of PyTorch
    (:mod:`convert.importers.pytorch`).

    Raises:
        SourceModelError: the file is missing, damaged, or no model of a known format.
        UnsupportedLayerError: a layer cannot be stepped.
    """
    path = Path(path)
    if not path.exists():
        raise SourceModelError(f"{path}: no such file; check the path")
    if architecture is not None:
        from convert.importers.pytorch.importer import import_network

        return import_network(path, Path(architecture))
    if path.suffix in PYTORCH_SUFFIXES:
        raise SourceModelError(
            f"{path}: weights of PyTorch do not tell their layers; "
            "describe them in a TOML file and name it with --architecture"
        )
    if path.is_dir():
        from convert.importers.saved_model import import_saved_model

        return import_saved_model(path)
    from convert.importers.keras_files import import_keras_file

    return import_keras_file(path)
