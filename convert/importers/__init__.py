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

FORMATS = "a .keras file, a Keras .h5 file, or the folder of a Keras SavedModel"


def import_model(path: str | Path) -> ImportedModel:
    """Read a model file of Keras 2 (tf_keras) or Keras 3.

    Raises:
        ImportFailedError: the file is missing, damaged, or no model of a known format.
        UnsupportedLayerError: a layer cannot be stepped.
    """
    path = Path(path)
    if not path.exists():
        raise ImportFailedError(f"{path}: no such file; check the path")
    if path.is_dir():
        from convert.importers.saved_model import import_saved_model

        return import_saved_model(path)
    from convert.importers.keras_files import import_keras_file

    return import_keras_file(path)
