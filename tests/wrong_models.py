"""Int8 models that are wrong on purpose, made of a right one: a seeded choice, 28 of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from convert.tflite_editor import TfliteEditor
from device_runner.model.flatbuffer import Tensor
from device_runner.model.step_file import StepModel
from device_runner.model.tflite_schema import OPERATOR_NAMES

# By how many steps of its grid one weight is wrong.
WEIGHT_STEPS = (3, 3, 3, 4, 4, 5, 6, 8, 10, 12, 16, 20)


def wrong_models(model: StepModel, seed: int = 1) -> Iterator[tuple[str, StepModel]]:
    """Make the wrong models, each with what is wrong; they are signed as if they were right."""
    random = np.random.default_rng(seed)
    yield from _wrong_weights(model, random)
    yield from _wrong_rows(model, random)
    moving = [t for t in model.graph.tensors if t.dtype == "int8" and not t.constant_bytes]
    given = {*model.graph.inputs, *model.graph.outputs}
    inner = [tensor for tensor in moving if tensor.index not in given]
    for tensor in (inner[0], inner[len(inner) // 2]):
        editor = TfliteEditor(model.flatbuffer)
        stored = editor.tree.subgraphs[0].tensors[tensor.index].quantization
        stored.zeroPoint = np.array(stored.zeroPoint) + 3
        yield f"zero point of {tensor.name}", signed(model, editor.flatbuffer())
    for old, new in (("TANH", "LOGISTIC"), ("LOGISTIC", "TANH")):
        yield f"{new} for {old}", signed(model, other_operator(model, old, new))


def _wrong_weights(
    model: StepModel, random: np.random.Generator
) -> Iterator[tuple[str, StepModel]]:
    """Change single weights, and single values of biases."""
    for steps in WEIGHT_STEPS:
        matrices = _matrices(model)
        tensor = matrices[int(random.integers(len(matrices)))]
        place = tuple(int(random.integers(size)) for size in tensor.shape)

        def move(values: np.ndarray, place: tuple[int, ...] = place, steps: int = steps) -> None:
            old = int(values[place])
            values[place] = old + steps if old + steps <= 127 else old - steps

        yield f"a weight of {tensor.name} off by {steps}", _changed(model, tensor, move)
    biases = [t for t in model.graph.tensors if t.constant_bytes > 4 and t.dtype == "int32"]
    biases = [tensor for tensor in biases if tensor.scales]
    for tensor in (*biases, *biases)[:3]:
        which = int(random.integers(tensor.shape[-1]))

        def add(values: np.ndarray, which: int = which) -> None:
            values[..., which] += 600

        yield f"a bias of {tensor.name}", _changed(model, tensor, add)


def _wrong_rows(model: StepModel, random: np.random.Generator) -> Iterator[tuple[str, StepModel]]:
    """Zero rows of matrices, and swap the gates of two."""
    matrices = _matrices(model)
    largest = max(matrices, key=lambda tensor: tensor.constant_bytes)
    chosen = [(tensor, int(random.integers(tensor.shape[0]))) for tensor in (*matrices, *matrices)]
    cuts = [(tensor, slice(row, row + 1)) for tensor, row in chosen[:5]]
    quarter = largest.shape[0] // 4
    cuts += [(largest, slice(0, quarter)), (largest, slice(quarter, 2 * quarter))]
    for tensor, rows in cuts:

        def zero(values: np.ndarray, rows: slice = rows) -> None:
            values[rows] = 0

        yield f"rows {rows} of {tensor.name} zeroed", _changed(model, tensor, zero)
    for tensor in (largest, matrices[0]):

        def swap(values: np.ndarray) -> None:
            values[:] = np.roll(values, len(values) // 2, axis=0)

        yield f"gates of {tensor.name} swapped", _changed(model, tensor, swap)


def _matrices(model: StepModel) -> list[Tensor]:
    return [
        tensor
        for tensor in model.graph.tensors
        if tensor.constant_bytes and tensor.dtype == "int8" and min(tensor.shape, default=0) > 1
    ]


def _changed(model: StepModel, tensor: Tensor, change: Callable[[np.ndarray], None]) -> StepModel:
    """Change the values of a constant in place."""
    start = tensor.constant_start
    data = model.flatbuffer[start : start + tensor.constant_bytes]
    values = np.frombuffer(data, tensor.dtype).reshape(tensor.shape).copy()
    change(values)
    editor = TfliteEditor(model.flatbuffer)
    editor.set_constant(tensor.index, values)
    return signed(model, editor.flatbuffer())


def signed(model: StepModel, flatbuffer: bytes) -> StepModel:
    """Give a model another flatbuffer, with its hash in the contract."""
    contract = replace(model.contract, model_sha256=hashlib.sha256(flatbuffer).hexdigest())
    return replace(model, flatbuffer=flatbuffer, contract=contract)


def other_operator(model: StepModel, old: str, new: str) -> bytes:
    """Return the model's flatbuffer with each operator of one kind made another."""
    editor = TfliteEditor(model.flatbuffer)
    for code in editor.tree.operatorCodes:
        if OPERATOR_NAMES[code.builtinCode] == old:
            code.builtinCode = code.deprecatedBuiltinCode = OPERATOR_NAMES.index(new)
    return editor.flatbuffer()
