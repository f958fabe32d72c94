"""Every cell's step graph in every scheme as text, to see at once what a change does to them.

The networks are small and not trained, with weights from a seed: the texts say nothing of values.
Written anew by ``python -m tests.convert.graph_snapshots``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from convert.errors import ContractViolationError
from convert.export import float_step
from convert.schemes import SCHEMES, apply_scheme, needs_ranges, parse_scheme
from device_runner.model.flatbuffer import Graph, Tensor, read_graph
from tests.models.random_networks import random_network

FOLDER = Path(__file__).parent
COMMAND = "python -m tests.convert.graph_snapshots"
INPUTS, UNITS, OUTPUTS, STEPS = 12, (16,), 9, 60


def file_of(cell: str, options: dict[str, Any], scheme: str) -> Path:
    """Return the path of the text of a cell with these options."""
    words = [cell, *(f"{name}-{value}" for name, value in options.items())]
    return FOLDER / f"{'.'.join(words)}.{scheme}.txt"


def snapshots(cell: str, options: dict[str, Any]) -> dict[str, str]:
    """Return the text of a cell's step graph by scheme."""
    network, _ = random_network(cell, options, UNITS, inputs=INPUTS, outputs=OUTPUTS)
    # Large weights make a chaotic network, whose states may grow without end.
    network.set_weights([0.3 * weight for weight in network.get_weights()])
    step = float_step(network)
    frames = np.random.default_rng(3).normal(1, 2, (STEPS, INPUTS)).astype(np.float32)
    ranges = step.calibrate([frames])
    texts = {}
    for name in SCHEMES:
        spec = parse_scheme(name)
        try:
            flatbuffer = apply_scheme(spec, step, ranges if needs_ranges(spec) else None)
            texts[name] = described(read_graph(flatbuffer))
        except ContractViolationError as error:
            texts[name] = f"refused: {error.message}\n"
    return texts


def described(graph: Graph) -> str:
    """The signature ``step`` and the operators in their order, one a line: number of the first
    output, name, version, options that are not 0, what it reads, and what it gives."""
    signature = graph.signature("step")
    names = {index: name for name, index in signature.inputs.items()}
    lines = [f"in {name} {_stored(graph.tensors[i])}" for name, i in signature.inputs.items()]
    for number, op in enumerate(graph.operators):
        for place, index in enumerate(op.outputs):
            names[index] = f"%{number}" + (f".{place}" if len(op.outputs) > 1 else "")
        read = ", ".join(
            names.get(i) or f"constant {_stored(graph.tensors[i])}" if i >= 0 else "nothing"
            for i in op.inputs
        )
        given = ", ".join(_stored(graph.tensors[index]) for index in op.outputs)
        options = " ".join(f"{key}={value:g}" for key, value in op.options.items() if value)
        said = f" ({options})" if options else ""
        lines.append(f"%{number} {op.name} {op.version}{said}: {read} -> {given}")
    lines += [f"out {name} {names[index]}" for name, index in signature.outputs.items()]
    return "\n".join(lines) + "\n"


def _stored(tensor: Tensor) -> str:
    return f"{tensor.dtype}{list(tensor.shape)}".replace(" ", "")
