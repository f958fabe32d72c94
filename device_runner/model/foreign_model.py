"""Step a TFLite file that has no contract: its states are fed back, and nothing is verified.

The contract is made up from the graph. Nothing is written, and the file's bytes are not changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from device_runner.errors import BadModelError
from device_runner.model.contract import Contract, Tolerance
from device_runner.model.flatbuffer import Graph, Signature, Tensor, read_graph
from device_runner.model.frame_files import read_frames
from device_runner.model.golden import Golden
from device_runner.model.graph_checks import TENSOR_LIMIT_BYTES
from device_runner.model.names import INPUT_NAME, OUTPUT_NAME, STEP_SIGNATURE
from device_runner.model.state_pairs import (
    StatePair,
    StepPorts,
    choose_signature,
    find_ports,
    stored_alike,
)
from device_runner.model.step_file import StepModel, has_contract, load_step_model, read_bytes
from device_runner.model.tensor_spec import StateSpec, TensorSpec

# Inputs that are zeros differ in nothing, so a few frames are enough.
ZERO_FRAMES = 4
# What a contract-free file's numbers are stored in, by the dtypes of its activations and weights.
FLOATS = frozenset(("float32", "float16"))


def load_any_model(path: str | Path, data: str | Path | None = None) -> StepModel:
    """Read a step model, or any other TFLite file as a model that nothing verifies.

    Args:
        data: frames for a file without a contract, see :mod:`device_runner.model.frame_files`;
            zeros if None.

    Raises:
        BadModelError: the file is missing or damaged, or cannot be stepped.
        BadInputError: the data does not fit.
    """
    found = read_bytes(path)
    if has_contract(found):
        return load_step_model(path)
    try:
        model = _foreign_model(Path(path), found)
    except BadModelError as error:
        raise BadModelError(f"{path}: {error.message}") from error
    if data is None:
        return model
    frames = read_frames(data, model.contract.inputs)
    steps = len(next(iter(frames.values())))
    golden = replace(model.golden, inputs=frames, lengths=(steps,))
    reason = str(model.unverified).replace("inputs are zeros", f"inputs are from {data}")
    return replace(model, golden=golden, unverified=reason)


def read_ports(data: bytes, key: str | None = None) -> tuple[Graph, StepPorts]:
    """Read the graph of a file's step, and its inputs, outputs and states."""
    first = read_graph(data)
    signature = choose_signature(first, key)
    number = 0 if signature is None else signature.subgraph
    graph = read_graph(data, number) if number else first
    return graph, find_ports(graph, signature)


def variables_of(graph: Graph) -> tuple[str, ...]:
    """List what a graph keeps inside from step to step, in words."""
    resources = {op.inputs[0] for op in graph.operators if op.name == "ASSIGN_VARIABLE"}
    reads = {
        op.inputs[0]: graph.tensors[op.outputs[0]]
        for op in graph.operators
        if op.name == "READ_VARIABLE"
    }
    found = [
        f"variable{_stored(reads[index]) if index in reads else ''}" for index in sorted(resources)
    ]
    for op in graph.operators:
        found += [
            f"variable{_stored(graph.tensors[index])} of {op.name}"
            for index in op.inputs
            if index >= 0 and graph.tensors[index].is_variable
        ]
    return tuple(found)


def check_variables(graph: Graph) -> None:
    """Raise BadModelError if variables are read that nothing gives a value."""
    names = {operator.name for operator in graph.operators}
    if "READ_VARIABLE" in names and "CALL_ONCE" not in names:
        raise BadModelError(
            "it reads variables to which it gives no value (it has no CALL_ONCE); convert the "
            "model again from its SavedModel, which keeps their values"
        )


def scheme_of(graph: Graph) -> str:
    """Name how a graph's numbers are stored: a scheme's name, or "mixed"."""
    used = {index for op in graph.operators for index in (*op.inputs, *op.outputs) if index >= 0}
    tensors = [graph.tensors[index] for index in used]
    moving = {t.dtype for t in tensors if not t.constant_bytes and (t.scales or t.dtype in FLOATS)}
    fixed = {t.dtype for t in tensors if t.constant_bytes and (t.scales or t.dtype in FLOATS)}
    if moving <= {"float32"}:
        narrow = fixed & {"int8", "uint8", "int4"}
        return "dynamic" if narrow else "float16" if "float16" in fixed else "float32"
    if moving == {"int8"}:
        return "int8"
    return "int16x8" if moving == {"int16"} else "mixed"


def _foreign_model(path: Path, data: bytes) -> StepModel:
    graph, ports = read_ports(data)
    check_variables(graph)
    needed = sum(max(0, tensor.byte_count or 0) for tensor in graph.tensors)
    if needed > TENSOR_LIMIT_BYTES:
        raise BadModelError(
            f"its tensors take {needed:,} bytes, {TENSOR_LIMIT_BYTES:,} at most can be stepped"
        )
    fed = [pair for pair in ports.states if _same_bytes(graph, pair)]
    kept = [pair for pair in ports.states if pair not in fed]
    inputs = {**ports.inputs, **{pair.taken: pair.state_in for pair in kept}}
    outputs = {**ports.outputs, **{pair.given: pair.state_out for pair in kept}}
    if not inputs or not outputs:
        raise BadModelError("its step has no input or no output besides its states")
    inputs, outputs = _renamed(inputs, INPUT_NAME), _renamed(outputs, OUTPUT_NAME)
    states = {f"state {pair.name}": pair for pair in fed}
    signature = Signature(
        STEP_SIGNATURE,
        {**inputs, **{name: pair.state_in for name, pair in states.items()}},
        {**outputs, **{name: pair.state_out for name, pair in states.items()}},
        ports.subgraph,
    )
    graph = replace(graph, signatures=(signature,))
    contract = Contract(
        inputs=tuple(_spec(name, graph.tensors[index]) for name, index in inputs.items()),
        outputs=tuple(_spec(name, graph.tensors[index]) for name, index in outputs.items()),
        states=tuple(
            StateSpec(**vars(_spec(name, graph.tensors[pair.state_in])))
            for name, pair in states.items()
        ),
        task=path.stem, cell="unknown", units=(), scheme=scheme_of(graph), frame_period_s=1.0,
        frame_period_source="not known; 1 s stands for it", channels=(), input_units="",
        output_meaning="values", normalization={}, metrics={}, parameters=0,
        tolerance=Tolerance(0.0, 0.0, 0.0), model_sha256=hashlib.sha256(data).hexdigest(),
    )  # fmt: skip
    zeros = {
        spec.name: np.zeros((ZERO_FRAMES, *spec.frame_shape), np.float32)
        for spec in contract.inputs
    }
    return StepModel(
        path, data, len(data), graph, contract, (), Golden(zeros, {}, (ZERO_FRAMES,)),
        unverified=_reason(graph, ports, fed, kept),
    )  # fmt: skip


def _renamed(tensors: Mapping[str, int], first: str) -> dict[str, int]:
    """Call the first "x" or "y", as in a contract; others may not be called so."""
    names = [first if not place else name for place, name in enumerate(tensors)]
    return {
        f"{name} " if place and name == first else name: index
        for place, (name, index) in enumerate(zip(names, tensors.values(), strict=True))
    }


def _spec(name: str, tensor: Tensor) -> TensorSpec:
    if any(n < 1 for n in tensor.shape) or tensor.byte_count is None:
        raise BadModelError(
            f"its tensor '{tensor.name}' is {tensor.dtype} of shape {list(tensor.shape)}, which "
            "cannot be stepped"
        )
    scaled = len(tensor.scales) == 1
    return TensorSpec(
        name,
        tensor.shape or (1,),
        tensor.dtype,
        tensor.scales[0] if scaled else None,
        (tensor.zero_points or (0,))[0] if scaled else None,
    )


def _same_bytes(graph: Graph, pair: StatePair) -> bool:
    return stored_alike(graph.tensors[pair.state_in], graph.tensors[pair.state_out])


def _reason(graph: Graph, ports: StepPorts, fed: list[StatePair], kept: list[StatePair]) -> str:
    """Say why nothing can be verified, and what was done with the states."""
    parts = ["it has no step contract, so nothing says whether its outputs are right"]
    if fed:
        told = ", ".join(f"{pair.given} to {pair.taken}" for pair in fed)
        parts.append(f"fed back by equal shapes: {told}")
    if kept:
        told = ", ".join(f"{pair.given} to {pair.taken}" for pair in kept)
        parts.append(f"not fed back, as scales differ: {told}")
    if ports.unclear:
        parts.append(f"not fed back, as {ports.unclear}")
    if inside := variables_of(graph):
        parts.append(f"{len(inside)} states kept inside, which no reset reaches")
    if not fed and not kept and not inside:
        parts.append("no states found")
    return "; ".join([*parts, "inputs are zeros"])


def _stored(tensor: Tensor) -> str:
    return f" {tensor.dtype} [{', '.join(map(str, tensor.shape))}]"
