"""Read ONNX files, and refuse hostile ones before a runtime sees them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from convert.errors import SourceModelError, UnsupportedLayerError
from device_runner.errors import one_line

# No network for a small device is larger; the limits keep a wrong path from filling memory.
FILE_LIMIT_BYTES = 512 * 1024**2
NODE_LIMIT, DEPTH_LIMIT = 50_000, 8

INSTALL = "install it with 'pip install edgestep[onnx]'"


def read_model(path: Path) -> Any:
    """Read a ModelProto with all its weights in it, functions of its own inlined.

    Raises:
        SourceModelError: the file is missing, too large, damaged or not an ONNX model, its weights
            are elsewhere than beside it, or onnx is not installed.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise SourceModelError(
            f"{path}: reading it needs onnx and onnxruntime ({error}); {INSTALL}"
        ) from error
    data = _bytes_of(path)
    if data.startswith(b"version https://git-lfs"):
        raise SourceModelError(
            f"{path}: a pointer of Git LFS, not the model itself; fetch it with 'git lfs pull'"
        )
    try:
        model = onnx.load_model_from_string(data)
    # protobuf's own error, or ValueError and others for what only looks like a message.
    except Exception as error:
        raise SourceModelError(
            f"{path}: not an ONNX model, or damaged ({one_line(error)}); export it again"
        ) from error
    if not model.graph.node or not model.opset_import:
        raise SourceModelError(f"{path}: not an ONNX model (no graph in it); export it again")
    try:
        for graph in _graphs(model.graph, 0):
            for tensor in graph.initializer:
                _check_tensor(tensor, path)
        if model.functions:
            from onnx import inliner

            model = inliner.inline_local_functions(model)
    except SourceModelError as error:
        raise SourceModelError(f"{path}: {error.message}") from error
    except Exception as error:
        raise SourceModelError(f"{path}: damaged ({one_line(error)}); export it again") from error
    return model


def opset_of(model: Any) -> int:
    """Return the version of the standard's operators that a model uses."""
    versions = [item.version for item in model.opset_import if item.domain in ("", "ai.onnx")]
    if not versions:
        raise UnsupportedLayerError("the graph names no version of the standard's operators")
    return int(versions[0])


def _bytes_of(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > FILE_LIMIT_BYTES:
            raise SourceModelError(
                f"{path} has {size:,} bytes; is it a network for a small device?"
            )
        return path.read_bytes()
    except OSError as error:
        raise SourceModelError(f"{path}: cannot be read ({error.strerror}); check it") from None


def _graphs(graph: Any, depth: int) -> Iterator[Any]:
    """List a graph and those within it, and check how many and how deep they are."""
    from onnx import AttributeProto

    if depth > DEPTH_LIMIT or len(graph.node) > NODE_LIMIT:
        raise SourceModelError(
            f"graphs nested more than {DEPTH_LIMIT} deep, or of more than {NODE_LIMIT:,} operators"
        )
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from _graphs(attribute.g, depth + 1)
            elif attribute.type == AttributeProto.TENSOR:
                graph_like = attribute.t
                if graph_like.data_location == graph_like.EXTERNAL:
                    raise SourceModelError("a Constant's values are in another file")


def _check_tensor(tensor: Any, path: Path) -> None:
    """Check that a tensor holds as many values as its shape says; fetch them if they are beside.

    Raises:
        SourceModelError: it does not.
    """
    from onnx import helper

    if any(size < 0 for size in tensor.dims) or math.prod(tensor.dims) > FILE_LIMIT_BYTES:
        raise SourceModelError(f"constant '{tensor.name[:80]}' has an impossible shape")
    if tensor.data_location == tensor.EXTERNAL:
        _fetch(tensor, path)
    if tensor.HasField("raw_data"):
        try:
            dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        except (KeyError, TypeError) as error:
            raise SourceModelError(f"constant '{tensor.name[:80]}' has no known type") from error
        wanted = math.prod(tensor.dims) * dtype.itemsize
        # Types of 4 bits are packed.
        if len(tensor.raw_data) != wanted and dtype.itemsize > 1:
            raise SourceModelError(
                f"constant '{tensor.name[:80]}' has {len(tensor.raw_data):,} bytes, its shape says "
                f"{wanted:,}"
            )


def _fetch(tensor: Any, path: Path) -> None:
    """Read a tensor's values from the file beside the model that it names."""
    facts = {item.key: item.value for item in tensor.external_data}
    name = facts.get("location", "")
    folder = path.resolve().parent
    file = (folder / name).resolve()
    inside = bool(name) and not Path(name).is_absolute() and file.is_relative_to(folder)
    if not inside or (folder / name).is_symlink():
        raise SourceModelError(
            f"its weights are said to be in '{name[:80]}', which is not in the model's own folder; "
            "put both files into one folder, or export it as one file"
        )
    try:
        offset, length = int(facts.get("offset", 0)), int(facts.get("length", -1))
        total = file.stat().st_size
        if offset < 0 or length > total or length > FILE_LIMIT_BYTES or total > FILE_LIMIT_BYTES:
            raise SourceModelError(f"its weights in '{name[:80]}' are cut off or too large")
        with file.open("rb") as stream:
            stream.seek(offset)
            tensor.raw_data = stream.read(length)
    except (OSError, ValueError) as error:
        raise SourceModelError(
            f"its weights are in '{name[:80]}', which cannot be read; put it beside the model"
        ) from error
    tensor.data_location = tensor.DEFAULT
    del tensor.external_data[:]
