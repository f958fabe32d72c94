"""Show what is in a TFLite file that has no step contract, as data and as text."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from device_runner.errors import BadModelError
from device_runner.model.flatbuffer import Graph, Tensor
from device_runner.model.foreign_model import read_ports, scheme_of, variables_of
from device_runner.model.state_pairs import stored_alike
from device_runner.model.step_file import read_bytes
from device_runner.printable import printable


def inspect_foreign(path: str | Path) -> dict[str, Any]:
    """Collect what is in a TFLite file without a contract.

    Returns:
        JSON-ready facts; ``contract`` is None. ``states`` are pairs of an input and an output, with
        what they were recognised by; ``variables`` are kept inside.

    Raises:
        BadModelError: the file is missing or damaged; the message begins with the path.
    """
    data = read_bytes(path)
    try:
        graph, ports = read_ports(data)
    except BadModelError as error:
        raise BadModelError(f"{path}: {error.message}") from error
    used = {index for op in graph.operators for index in (*op.inputs, *op.outputs) if index >= 0}
    return {
        "path": str(path),
        "file_bytes": len(data),
        "contract": None,
        "scheme": scheme_of(graph),
        "signatures": [signature.key for signature in graph.signatures],
        "signature": ports.signature,
        "inputs": {name: _facts(graph.tensors[index]) for name, index in ports.inputs.items()},
        "outputs": {name: _facts(graph.tensors[index]) for name, index in ports.outputs.items()},
        "states": [
            {
                "name": pair.name,
                "input": pair.taken,
                "output": pair.given,
                "recognised_by": pair.how,
                "stored_alike": _alike(graph, pair.state_in, pair.state_out),
                **_facts(graph.tensors[pair.state_in]),
            }
            for pair in ports.states
        ],
        "unclear": ports.unclear or None,
        "variables": list(variables_of(graph)),
        "weight_bytes": sum(tensor.constant_bytes for tensor in graph.tensors),
        "operators": [
            {"name": name, "version": version, "count": count}
            for (name, version), count in Counter(
                (op.name, op.version) for op in graph.operators
            ).items()
        ],
        "tensor_dtypes": dict(Counter(graph.tensors[index].dtype for index in sorted(used))),
    }


def format_foreign(facts: dict[str, Any]) -> str:
    """Word the facts of :func:`inspect_foreign` for a person to read."""
    lines = [
        f"{facts['path']}: a TFLite file without a step contract, {facts['scheme']}",
        f"  file {facts['file_bytes']:,} bytes (weights {facts['weight_bytes']:,})",
        f"signature {printable(facts['signature'] or 'none')} (the file has "
        f"{', '.join(map(printable, facts['signatures'])) or 'none'})",
        *(f"  in   {_line(name, item)}" for name, item in facts["inputs"].items()),
        *(f"  out  {_line(name, item)}" for name, item in facts["outputs"].items()),
    ]
    for state in facts["states"]:
        same = "" if state["stored_alike"] else "; stored differently in and out"
        lines.append(
            f"  state {_line(state['name'], state)}  {printable(state['input'])} <- "
            f"{printable(state['output'])}, by {state['recognised_by']}{same}"
        )
    lines += [f"  inside {printable(text)}" for text in facts["variables"]]
    if facts["unclear"]:
        lines.append(
            f"  unclear: {printable(facts['unclear'])}; say which with "
            "'edgestep adopt --state INPUT=OUTPUT'"
        )
    lines.append("operators")
    lines += [
        f"  {op['count']:3d} x {printable(op['name'])} (version {op['version']})"
        for op in facts["operators"]
    ]
    dtypes = facts["tensor_dtypes"].items()
    lines.append("tensors " + ", ".join(f"{count} {dtype}" for dtype, count in dtypes))
    lines.append("next: 'edgestep adopt' writes a contract into a copy, 'bench' steps it as it is")
    return "\n".join(lines)


def _facts(tensor: Tensor) -> dict[str, Any]:
    return {
        "tensor": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "scale": tensor.scales[0] if len(tensor.scales) == 1 else None,
        "zero_point": tensor.zero_points[0] if len(tensor.zero_points) == 1 else None,
        "fixed_shape": tensor.static_shape,
    }


def _alike(graph: Graph, one: int, other: int) -> bool:
    return stored_alike(graph.tensors[one], graph.tensors[other])


def _line(name: str, item: dict[str, Any]) -> str:
    scale = item["scale"]
    quantization = f", scale {scale:.6g}, zero point {item['zero_point']}" if scale else ""
    resized = "" if item["fixed_shape"] else ", a size that may be changed stands as 1"
    shape = ", ".join(map(str, item["shape"]))
    return f"{printable(name)} [{shape}] {item['dtype']}{quantization}{resized}"
