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
# Texts are no network's numbers; some exporters leave a few in.
TEXT_LIMIT = 1000

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
        left = FILE_LIMIT_BYTES
        for graph in _graphs(model.graph, 0):
            for tensor in graph.initializer:
                left -= _check_tensor(tensor, path, left)
        if model.functions:
            from onnx import inliner

            _check_functions(model)

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

    counts = (len(graph.node), len(graph.initializer), len(graph.input), len(graph.output))
    if depth > DEPTH_LIMIT or max(counts) > NODE_LIMIT:
        raise SourceModelError(
            f"graphs nested more than {DEPTH_LIMIT} deep, or of more than {NODE_LIMIT:,} operators "
            "or constants"
        )
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from _graphs(attribute.g, depth + 1)
            elif attribute.type == AttributeProto.TENSOR:
                if attribute.t.data_location == attribute.t.EXTERNAL:
                    raise SourceModelError("a Constant's values are in another file")
                _check_values(attribute.t)


def _check_functions(model: Any) -> None:
    """Check how many operators there are once the functions of the file's own are inlined.

    Raises:
        SourceModelError: a function calls itself, or there are too many.
    """
    bodies = {(one.domain, one.name): one.node for one in model.functions}
    counts: dict[tuple[str, str], int] = {}

    def count(nodes: Any, depth: int) -> int:
        total = len(nodes)
        for node in nodes:
            name = (node.domain, node.op_type)
            if name in bodies:
                if depth > NODE_LIMIT // 100:
                    raise SourceModelError("functions of its own that call themselves")
                if name not in counts:
                    counts[name] = count(bodies[name], depth + 1)
                total += counts[name]
            for attribute in node.attribute:
                total += count(attribute.g.node, depth + 1)
        return total

    if count(model.graph.node, 0) > NODE_LIMIT:
        raise SourceModelError(f"functions that make more than {NODE_LIMIT:,} operators")


def _check_tensor(tensor: Any, path: Path, limit: int) -> int:
    """Check a tensor; fetch its values if they are beside the model, ``limit`` bytes at most.

    Returns:
        How many bytes were fetched.

    Raises:
        SourceModelError: it does not hold as many values as its shape says.
    """
    fetched = 0
    if tensor.data_location == tensor.EXTERNAL:
        fetched = _fetch(tensor, path, limit)
    _check_values(tensor)
    return fetched


def _check_values(tensor: Any) -> None:
    """Check that a tensor holds as many values as its shape says.

    Raises:
        SourceModelError: it does not.
    """
    from onnx import helper

    shown, wanted = f"constant '{tensor.name[:80]}'", math.prod(tensor.dims)
    if any(size < 0 for size in tensor.dims) or wanted > FILE_LIMIT_BYTES:
        raise SourceModelError(f"{shown} has an impossible shape")
    if len(tensor.string_data) > TEXT_LIMIT:
        raise SourceModelError(f"{shown} holds texts, which no step computes with")
    try:
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except (KeyError, TypeError) as error:
        raise SourceModelError(f"{shown} has no known type") from error
    if tensor.HasField("raw_data"):
        # Types of 4 bits are packed.
        if len(tensor.raw_data) != wanted * dtype.itemsize and dtype.itemsize > 1:
            raise SourceModelError(
                f"{shown} has {len(tensor.raw_data):,} bytes, its shape says "
                f"{wanted * dtype.itemsize:,}"
            )
        return
    fields = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
    # Types of 2 bits are packed, four in a value.
    if (held := sum(len(getattr(tensor, name)) for name in fields)) * 4 < wanted:
        raise SourceModelError(f"{shown} has {held:,} values, its shape says {wanted:,}")


def _fetch(tensor: Any, path: Path, limit: int) -> int:
    """Read a tensor's values from the file beside the model that it names; return their bytes."""
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
        most = max(0, total - offset) if length < 0 else length
        if offset < 0 or length > total or total > FILE_LIMIT_BYTES or most > limit:
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
    return len(tensor.raw_data)
