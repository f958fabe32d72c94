"""Import ``.keras`` and ``.h5`` files of Keras 3 and of tf_keras (Keras 2)."""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import click

from convert.errors import ConvertError, SourceModelError
from convert.importers.hdf5_check import check_hdf5
from convert.importers.imported import ImportedModel
from convert.importers.inference_copy import (
    CONFIG_FILE,
    METADATA_FILE,
    WEIGHTS_FILE,
    ZIP_SIGNATURE,
    write_inference_copy,
)
from convert.importers.layer_list import largest_size, read_layer_list
from device_runner.errors import one_line

MEMBERS = {CONFIG_FILE, METADATA_FILE, WEIGHTS_FILE}
TEXT_LIMIT_BYTES = 16 * 1024**2
WEIGHTS_LIMIT_BYTES = 2 * 1024**3
# Weights hardly compress; a file that shrinks more than this is made to fill the memory.
RATIO_LIMIT = 200
# What a checkpoint of TensorFlow is named by.
CHECKPOINT_INDEX = ".index"
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def import_keras_file(path: Path) -> ImportedModel:
    """Read a model; errors as :func:`convert.importers.import_model`."""
    try:
        config, changed, version = _checked(path)
        if version.startswith("3"):
            from convert.importers.keras3 import load
        else:
            from convert.importers.keras2 import load
        with tempfile.TemporaryDirectory() as folder:
            copy = write_inference_copy(path, config, Path(folder))
            return load(copy, version, changed)
    except ConvertError as error:
        if error.message.startswith(str(path)):
            raise
        raise type(error)(f"{path}: {error.message}") from error
    except click.ClickException:
        raise
    # Loaders raise errors of any type for damaged files.
    except Exception as error:
        raise failed(path, error) from error


def failed(path: Path, error: Exception) -> SourceModelError:
    """Make the error for a file that a loader refused."""
    reason = one_line(error) or "no reason given"
    return SourceModelError(
        f"{path}: cannot be loaded ({type(error).__name__}: {reason}); "
        "save it again with model.save('model.keras')"
    )


def _checked(path: Path) -> tuple[dict[str, Any], tuple[str, ...], str]:
    """Return the checked list of layers, what is computed differently, and Keras' version."""
    with path.open("rb") as file:
        begin = file.read(len(HDF5_SIGNATURE))
    if begin == HDF5_SIGNATURE:
        found = check_hdf5(path)
        attributes = found["attributes"]
        config, changed = read_layer_list(attributes.get("model_config", "null"), in_hdf5=True)
        version = attributes.get("keras_version", "2")
    elif begin.startswith(ZIP_SIGNATURE):
        config, changed, version = _checked_archive(path)
        found = check_hdf5(path, WEIGHTS_FILE)
    elif path.suffix == CHECKPOINT_INDEX:
        raise SourceModelError(
            "it is the index of a checkpoint of TensorFlow, weights alone; name the code that "
            "builds the model with --model-code module:function"
        )
    else:
        raise SourceModelError(
            f"{path}: it does not begin like a Keras model; "
            "give a .keras or .h5 file, or the folder of a SavedModel"
        )
    size = largest_size(config)
    if size > max(found["largest"], 64):
        raise SourceModelError(
            f"a layer is {size} wide, but no weight in the file has an axis that long"
        )
    return config, changed, version


def _checked_archive(path: Path) -> tuple[dict[str, Any], tuple[str, ...], str]:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            names = [info.filename for info in infos]
            for info in infos:
                if info.filename in MEMBERS:
                    _check_member(info, names)
            if missing := sorted(MEMBERS - set(names)):
                raise SourceModelError(f"{missing[0]} is not in the archive")
            texts = {name: archive.read(name) for name in (CONFIG_FILE, METADATA_FILE)}
            # A layer that has files of its own is named before its files are.
            config, changed = read_layer_list(texts[CONFIG_FILE])
            for info in infos:
                _check_member(info, names)
            if damaged := archive.testzip():
                raise SourceModelError(f"{damaged} in the archive is damaged")
    except ConvertError:
        raise
    except Exception as error:  # zipfile raises many kinds, zlib.error among them
        raise SourceModelError(
            f"the archive is damaged ({one_line(error)}); copy it again"
        ) from error
    try:
        version = str(json.loads(texts[METADATA_FILE])["keras_version"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SourceModelError(f"{METADATA_FILE} does not tell Keras' version") from error
    return config, changed, version


def _check_member(info: zipfile.ZipInfo, names: list[str]) -> None:
    name = info.filename
    if name not in MEMBERS:
        shown = name[:60] if name.isprintable() else "?"
        raise SourceModelError(
            f"'{shown}' is in the archive, but is not part of a model made of Keras' own layers"
        )
    if names.count(name) > 1:
        raise SourceModelError(f"{name} is in the archive twice")
    if info.flag_bits & 1:
        raise SourceModelError(f"{name} is encrypted")
    limit = WEIGHTS_LIMIT_BYTES if name == WEIGHTS_FILE else TEXT_LIMIT_BYTES
    if info.file_size > limit or info.file_size > RATIO_LIMIT * max(info.compress_size, 1024):
        raise SourceModelError(f"{name} would unpack to {info.file_size:,} bytes")
