"""Import trained models of other frameworks as networks that can be stepped.

Nothing that a file holds is run. Its list of layers is read and checked first, and layers that hold
code are refused. Only then does the framework's own loader see it.

The kinds of files are listed here by the names of the modules that read them. So reading the list
does not import TensorFlow.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from convert.errors import SourceModelError
from device_runner.model import file_kinds
from device_runner.model.file_kinds import kind_of_file, other_kind

if TYPE_CHECKING:
    from convert.importers.imported import ImportedModel

# The ending that stands for a folder.
FOLDER = "/"


class FileKind(NamedTuple):
    """A kind of files in the list.

    Attributes:
        implementation: "module.function" within this package: path -> ImportedModel, or
            (path, path of the description) where ``described``.
        endings: endings of the files' names.
        source: what they are.
        reading: how they are read.
        described: whether a separate file must describe their layers.
        hinted: whether ``implementation`` takes hints as well.
    """

    implementation: str
    endings: tuple[str, ...]
    source: str
    reading: str
    described: bool = False
    hinted: bool = False


FILE_KINDS: dict[str, FileKind] = {
    "keras": FileKind(
        "keras_files.import_keras_file",
        (".keras", ".h5", ".hdf5"),
        "a model of Keras 3 or of tf_keras (Keras 2)",
        "loaded in safe mode by the Keras that wrote it, which is the reference; layers of Keras 3 "
        "are rebuilt as tf_keras layers",
    ),
    "saved-model": FileKind(
        "saved_model.import_saved_model",
        (FOLDER,),
        "the folder of a tf_keras SavedModel",
        "list of layers and weights; the graphs in it are not loaded",
    ),
    "pytorch": FileKind(
        "pytorch.importer.import_network",
        (".pt", ".pth", ".ckpt", ".safetensors"),
        "a PyTorch state_dict",
        "`--architecture layers.toml` names the layers, see below; all but `.safetensors` through "
        "`torch.load(weights_only=True)`",
        described=True,
    ),
    "onnx": FileKind(
        "onnx.importer.import_onnx",
        (".onnx",),
        "an ONNX network, over sequences or a step already",
        "operators from a table of ours; ONNX Runtime is the reference",
        hinted=True,
    ),
}


@dataclass(frozen=True)
class ImportHints:
    """What the user says of a network that the file does not tell.

    Attributes:
        states: inputs that are states, each with the output that is its new value.
        bindings: inputs that stay the same with their values, or named axes with their sizes.
        weights: the file of the weights, for a network that the user's own code makes.
        trusts_code: whether code in the file may run (TorchScript).
        model_code: ``module:function`` that builds the Keras model whose weights the file holds;
            "" for none.
        frames: name, shape of one frame, and "values" or "ids", of each input of the data; () if
            there is none.
        window: frames of a window that is asked for, as a network may take no other number; None
            where none is.
    """

    states: tuple[tuple[str, str], ...] = ()
    bindings: tuple[tuple[str, str], ...] = ()
    weights: Path | None = None
    trusts_code: bool = False
    model_code: str = ""
    frames: tuple[tuple[str, tuple[int, ...], str], ...] = ()
    window: int | None = None


NO_HINTS = ImportHints()
# Files of weights that a Keras model built by code may have; the last is a checkpoint's index.
KERAS_WEIGHTS = (".h5", ".hdf5", ".keras", ".index")


def import_model(
    path: str | Path,
    architecture: str | Path | None = None,
    hints: ImportHints = NO_HINTS,
    *,
    whole: bool = False,
) -> ImportedModel:
    """Read a trained model of one of FILE_KINDS.

    Args:
        architecture: a TOML that describes the layers, for files that hold weights alone
            (:mod:`convert.importers.pytorch`).
        hints: what the user says of a network that the file does not tell.
        whole: whether to return a model without a step, too, if it can be computed over a window.

    Raises:
        SourceModelError: the file is missing, damaged, or not of a known format.
        UnsupportedLayerError: a layer cannot be stepped.
    """
    if is_code(path) or (hints.trusts_code and Path(path).suffix in (".pt", ".pth", ".ts", ".jit")):
        from convert.importers.pytorch.code import import_code

        return _with_a_step(import_code(str(path), hints), str(path), whole)
    path = Path(path)
    if not path.exists():
        raise SourceModelError(f"{path}: no such file; check the path")
    kind = file_kind(path, architecture is not None)
    check_content(path, kind)
    if hints.model_code:
        return _of_code(path, hints, whole)
    if kind.described and architecture is None:
        from convert.importers.pytorch.files import holds_code

        if holds_code(path):
            raise SourceModelError(
                f"{path} is TorchScript, a network with its code: --trust-code lets it run"
            )
        raise SourceModelError(
            f"{path}: weights of PyTorch do not tell their layers; describe them in a TOML file "
            f"and name it with --architecture, or name the code that makes the network: "
            f"edgestep convert package.module:function --weights {path}"
        )
    module, _, function = kind.implementation.rpartition(".")
    read = getattr(importlib.import_module(f"convert.importers.{module}"), function)
    arguments = (path, Path(architecture)) if architecture is not None else (path,)
    if kind.hinted:
        return _with_a_step(read(*arguments, hints), str(path), whole)
    if replace(hints, frames=()) != NO_HINTS:
        raise SourceModelError(
            f"{path}: --state and --bind are for ONNX networks, --weights for module:function, "
            f"--trust-code for TorchScript; this is {kind.source}"
        )
    return _with_a_step(read(*arguments), str(path), whole)


def _with_a_step(imported: ImportedModel, source: str, whole: bool) -> ImportedModel:
    """Return a model that has a step, or may do without; raise why it has none otherwise."""
    if imported.refusal is not None and not whole:
        raise type(imported.refusal)(f"{source}: {imported.refusal.message}")
    return imported


def _of_code(path: Path, hints: ImportHints, whole: bool) -> ImportedModel:
    """Import the Keras model that the user's code builds, with a file's weights."""
    if replace(hints, frames=(), model_code="") != NO_HINTS or path.suffix not in KERAS_WEIGHTS:
        raise SourceModelError(
            f"{path}: --model-code names the code of a Keras model whose weights are in "
            f"{', '.join(KERAS_WEIGHTS)}; --state, --bind, --weights and --trust-code are for "
            "other networks"
        )
    from convert.importers.keras_code import import_weights

    return _with_a_step(import_weights(path, hints), str(path), whole)


def check_content(path: Path, kind: FileKind) -> None:
    """Raise SourceModelError if a file's content is plainly of another kind than its name says."""
    found = None if path.is_dir() else kind_of_file(path)
    if found is None:
        return
    readers = {
        file_kinds.KERAS: "keras", file_kinds.HDF5: "keras", file_kinds.ONNX: "onnx",
        file_kinds.PYTORCH: "pytorch", file_kinds.SAFETENSORS: "pytorch",
    }  # fmt: skip
    reader = FILE_KINDS.get(readers.get(found, ""))
    if reader is None and found is not file_kinds.ARCHIVE:
        raise SourceModelError(other_kind(path, "a model that can be converted", found))
    if reader is not None and reader.source != kind.source and path.suffix in reader.endings:
        raise SourceModelError(
            f"{path} is {found.what}, whose layers are in the file; --architecture is for "
            f"{kind.source}: leave it out"
        )
    if reader is not None and reader.source != kind.source:
        raise SourceModelError(
            f"{path} is {found.what}, whatever its name; rename it to end in "
            f"{' or '.join(reader.endings)}"
        )


def is_code(source: str | Path) -> bool:
    """Tell whether a model is named as ``module:function``."""
    return bool(re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", str(source)))


def file_kind(path: Path, described: bool) -> FileKind:
    """Find the kind of a file by its name; any other file is taken for a Keras file.

    Args:
        described: whether there is a description of its layers.
    """
    if described:
        return next(kind for kind in FILE_KINDS.values() if kind.described)
    ending = FOLDER if path.is_dir() else path.suffix
    return next(
        (kind for kind in FILE_KINDS.values() if ending in kind.endings), FILE_KINDS["keras"]
    )
