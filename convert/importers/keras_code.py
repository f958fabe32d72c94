"""Import a file of Keras weights with the user's own code that builds the model.

The code runs because the user names it, in a process of its own
(:mod:`convert.importers.keras_code_process`). The model that it saves is imported as any Keras
file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from calibration import data_function_process
from convert.errors import ConvertError, SourceModelError
from convert.importers import ImportHints
from convert.importers import keras_code_process as process
from convert.importers.hdf5_check import check_hdf5
from convert.importers.imported import ImportedModel
from convert.importers.keras_files import HDF5_SIGNATURE, import_keras_file


def import_weights(path: Path, hints: ImportHints) -> ImportedModel:
    """Import the model that ``hints.model_code`` builds, with a file's weights.

    Args:
        path: HDF5 weights, a whole model whose weights fit, or the ``.index`` of a checkpoint.
        hints: the code, and the shapes of the data's frames.

    Raises:
        SourceModelError: the code fails, or the weights are of another model.
        UnsupportedLayerError: the model cannot be stepped.
    """
    source = f"{path} with {hints.model_code}"
    with path.open("rb") as file:
        if file.read(len(HDF5_SIGNATURE)) == HDF5_SIGNATURE:
            _checked(path)
    with tempfile.TemporaryDirectory(prefix="edgestep-model-") as folder:
        _build(source, path, hints, Path(folder))
        saved = Path(folder) / process.MODEL_FILE
        try:
            imported = import_keras_file(saved)
        except ConvertError as error:
            text = error.message.removeprefix(f"{saved}: ")
            raise type(error)(f"{source}: {text}") from error
    return replace(imported, name=path.name.partition(".")[0])


def _checked(path: Path) -> None:
    try:
        check_hdf5(path)
    except ConvertError as error:
        raise type(error)(f"{path}: {error.message}") from error


def _build(source: str, path: Path, hints: ImportHints, folder: Path) -> None:
    """Run the user's code and let it save the model in a folder."""
    settings = folder / "settings.json"
    settings.write_text(json.dumps({
        "source": hints.model_code,
        "weights": str(path.resolve()),
        "shapes": {name: [list(shape), kind] for name, shape, kind in hints.frames},
        "folder": str(folder),
        "imports": data_function_process.__file__,
    }))  # fmt: skip
    code = subprocess.run(
        [sys.executable, process.__file__, str(settings)],
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    ).returncode
    if code == data_function_process.INTERRUPTED_EXIT_CODE:
        raise KeyboardInterrupt
    if code == 0 and (folder / process.MODEL_FILE).exists():
        return
    failure = folder / process.FAILURE_FILE
    reason = failure.read_text(encoding="utf-8") if failure.exists() else ""
    raise SourceModelError(
        f"{source}: no model was made ({reason or f'it ended the process with exit code {code}'})"
    )
