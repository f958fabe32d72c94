"""Make a step model that steps N independent streams a call of one that steps one.

The finished file is rewritten, so it goes for every scheme and every source: each tensor that
depends on an input or a state gets N rows along its first axis (:mod:`convert.row_rules`). Weights
stay as they are, and so do the grids of integers: each row computes what the file of one row does.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.errors import NotExportableError
from convert.row_rules import RULES, MixedRowsError, Reading
from convert.tflite_editor import TfliteEditor
from device_runner.atomic_write import write_atomically
from device_runner.errors import BadModelError
from device_runner.model.contract_checks import MOST_ROWS
from device_runner.model.flatbuffer import Operator, read_graph
from device_runner.model.graph_checks import check_contract
from device_runner.model.names import STEP_SIGNATURE
from device_runner.model.rows import check_golden_size
from device_runner.model.step_file import StepModel, pack
from device_runner.stream import Stream
from device_runner.verify import verify
from models.tensorflow_log import quiet


def write_rows(model: StepModel, rows: int, path: Path) -> StepModel:
    """Write the step model of so many rows, and prove it in every row on LiteRT.

    Args:
        model: of one row.
        rows: streams that a call steps, 2 to MOST_ROWS.
        path: the file to write.

    Raises:
        NotExportableError, BadModelError: as :func:`with_rows`.
        VerificationError: a row does not compute what the model of one row does.
    """
    written = replace(with_rows(model, rows), path=path)
    with quiet():
        found = verify(Stream(written, "litert"))
    if found.failure:
        raise found.error(path)
    packed = pack(
        written.flatbuffer, written.contract, model.labels, model.golden, written.recorded
    )
    write_atomically(path, packed)
    return replace(written, file_bytes=len(packed))


def with_rows(model: StepModel, rows: int) -> StepModel:
    """Return the step model of so many rows, which no runtime has stepped yet.

    Raises:
        NotExportableError: the step mixes what would be rows, or there are too many; the message
            names the operator.
        BadModelError: the model has a window, phases or rows already, or nothing to prove it with.
    """
    if not 2 <= rows <= MOST_ROWS:
        raise NotExportableError(f"rows must be 2 to {MOST_ROWS:,}, not {rows}")
    if model.unverified is not None:
        raise BadModelError(f"{model.path}: {model.unverified}, so rows cannot be proved")
    model.require_one_row("what rows are made of")
    model.require_one_phase("a call of several streams")
    model.require_no_window("a call of several streams")
    flatbuffer = _resized(model, rows)
    graph = read_graph(flatbuffer)
    digest = hashlib.sha256(flatbuffer).hexdigest()
    contract = replace(model.contract.of_rows(rows), model_sha256=digest)
    contract.validate()
    check_golden_size(contract, model.golden.steps)
    check_contract(graph, contract)
    # A state that counts goes on from one recorded step to the next, which rows would share.
    counts = any(state.scale is None for state in contract.states)
    recorded = None if counts else model.recorded
    return replace(model, flatbuffer=flatbuffer, graph=graph, contract=contract, recorded=recorded)


def _resized(model: StepModel, rows: int) -> bytes:
    """Rewrite the flatbuffer of one row as that of so many."""
    change = _Change(model, rows)
    for position, operator in enumerate(model.graph.operators):
        change.take(position, operator)
    return change.finished()


class _Change:
    """The flatbuffer as far as it is rewritten.

    Attributes:
        having: the tensors that have rows so far.
    """

    def __init__(self, model: StepModel, rows: int) -> None:
        self.model, self.rows = model, rows
        self.editor = TfliteEditor(model.flatbuffer)
        signature = model.graph.signature(STEP_SIGNATURE)
        self.having = set(signature.inputs.values())
        self.given = signature.outputs
        for name, index in (*signature.inputs.items(), *signature.outputs.items()):
            if not self._shape(index):
                raise self._refused(f"'{name}' is a single number, without an axis for rows")
        self._copies: dict[tuple[int, bytes], int] = {}

    def take(self, position: int, operator: Operator) -> None:
        """Give an operator's results rows, if something that it reads has them."""
        reading = Reading(
            operator,
            self.rows,
            tuple(self._shape(index) for index in operator.inputs),
            tuple(self._shape(index) for index in operator.outputs),
            frozenset(p for p, index in enumerate(operator.inputs) if index in self.having),
            tuple(map(self._constant, operator.inputs)),
        )
        if not reading.having:
            return
        if operator.name not in RULES:
            raise self._refused(f"the operator {operator.name} is not known here")
        try:
            changed = RULES[operator.name](reading)
        except MixedRowsError as error:
            raise self._refused(f"{operator.name} {error}") from None
        for place, values in changed.items():
            self.editor.read_at(position, place, self._copy(operator.inputs[place], values))
        self.having.update(operator.outputs)

    def finished(self) -> bytes:
        """Give all tensors that have rows their shape, and write the flatbuffer."""
        for name, index in self.given.items():
            if index not in self.having:
                raise self._refused(f"'{name}' depends on no input and no state")
        shapes = {index: self._shape(index) for index in self.having}
        self.editor.set_shapes(
            {index: (shape[0] * self.rows, *shape[1:]) for index, shape in shapes.items()}
        )
        return self.editor.flatbuffer()

    def _shape(self, index: int) -> tuple[int, ...]:
        return self.model.graph.tensors[index].shape if index >= 0 else ()

    def _constant(self, index: int) -> NDArray[Any] | None:
        """Read a constant as stored; None for what the step computes, or does not read."""
        tensor = self.model.graph.tensors[index] if index >= 0 else None
        if tensor is None or tensor.sparse or tensor.constant_bytes != (tensor.byte_count or 0):
            return None
        dtype = np.dtype(tensor.dtype).newbyteorder("<")
        count = tensor.constant_bytes // dtype.itemsize
        found = np.frombuffer(self.model.flatbuffer, dtype, count, tensor.constant_start)
        return found.reshape(tensor.shape)

    def _copy(self, index: int, values: NDArray[Any]) -> int:
        """Add a constant with other values, once for all who read the same."""
        key = (index, values.tobytes())
        if key not in self._copies:
            name = f"{self.model.graph.tensors[index].name}/rows"
            self._copies[key] = self.editor.add_tensor(name, values.shape, index, values)
        return self._copies[key]

    def _refused(self, reason: str) -> NotExportableError:
        return NotExportableError(
            f"{self.model.path}: a call cannot step several streams of this model: {reason}; step "
            "them one after another on one loaded model (edgestep's Streams)"
        )
