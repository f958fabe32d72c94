"""Copy a model's file with its checked list of layers and its weights, and nothing else.

Keras' loaders read files, so this copy is what they are given. It has no optimizer, no loss,
nothing that was not checked.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from convert.importers.rewritten_layers import PRUNING_STATE

CONFIG_FILE, METADATA_FILE, WEIGHTS_FILE = "config.json", "metadata.json", "model.weights.h5"
WEIGHTS_GROUP = "model_weights"
ZIP_SIGNATURE = b"PK"


def write_inference_copy(path: Path, config: dict[str, Any], folder: Path) -> Path:
    """Write the copy of a ``.keras`` or HDF5 file that was checked.

    Args:
        config: the checked list of layers, which takes the place of the file's own.
        folder: where to write; the copy's name does not depend on the file's.

    Raises:
        OSError, KeyError, RuntimeError: the file cannot be read, or has no weights where Keras
            keeps them.
    """
    # Its first bytes tell, as in the check: an HDF5 file may have an archive appended.
    with path.open("rb") as file:
        is_archive = file.read(len(ZIP_SIGNATURE)) == ZIP_SIGNATURE
    if is_archive:
        copy = folder / "model.keras"
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
            target.writestr(CONFIG_FILE, json.dumps(config))
            for name in (METADATA_FILE, WEIGHTS_FILE):
                target.writestr(name, source.read(name))
        return copy
    import h5py

    copy = folder / "model.h5"
    with h5py.File(path, "r") as source, h5py.File(copy, "w") as target:
        source.copy(WEIGHTS_GROUP, target)
        for group in target[WEIGHTS_GROUP].values():
            _leave_out_pruning_state(group)
        for name, value in source.attrs.items():
            if name in ("backend", "keras_version"):
                target.attrs[name] = value
        target.attrs["model_config"] = json.dumps(config)
    return copy


def _leave_out_pruning_state(layer: Any) -> None:
    """Take masks and thresholds out of a layer's list of weights."""
    names = [str(name, "utf-8") if isinstance(name, bytes) else str(name)
             for name in layer.attrs.get("weight_names", ())]  # fmt: skip
    kept = [name for name in names if not name.endswith(PRUNING_STATE)]
    # A layer without pruning has neither, whatever its weights are called.
    if len(kept) < len(names) and any(name.endswith("pruning_step:0") for name in names):
        layer.attrs["weight_names"] = [name.encode() for name in kept]
