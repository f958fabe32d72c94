"""Take apart the recurrent operators that keep their state inside: LSTM and RNN of one step.

TFLite's UNIDIRECTIONAL_SEQUENCE_LSTM, LSTM, UNIDIRECTIONAL_SEQUENCE_RNN and RNN write their state
into tensors that are marked as variable. Here each becomes the products, sums and activations that
it stands for (tensorflow/lite/kernels/lstm_eval.cc), with the state as an input and an output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.adoption.variables import InnerState
from convert.errors import SourceModelError
from convert.tflite_editor import TfliteEditor
from device_runner.model.constants import read_constant
from device_runner.model.flatbuffer import Graph, Operator, read_graph
from device_runner.model.tflite_schema import ACTIVATIONS

LSTMS = ("UNIDIRECTIONAL_SEQUENCE_LSTM", "LSTM")
RNNS = ("UNIDIRECTIONAL_SEQUENCE_RNN", "RNN")
# Gates in the order of the operator's inputs: input, forget, cell, output.
_GATES = 4
_FROM_INPUT, _FROM_STATE, _PEEPHOLES, _BIASES = 1, 5, 9, 12
_PROJECTION, _PROJECTION_BIAS, _OUTPUT_STATE, _CELL_STATE, _NORMS = 16, 17, 18, 19, 20
_ONLY_FLOAT = (
    "adopt the float file instead (with --scheme int8 it is quantized again), or convert the model "
    "again with its states as inputs and outputs"
)


def with_explicit_cells(
    flatbuffer: bytes, integers: bool = False
) -> tuple[bytes, list[InnerState]]:
    """Take each fused recurrent operator of the first subgraph apart.

    Args:
        integers: whether the step is to be quantized. Then a limit on a state is left to the
            integers' range, which the calibrated state decides.

    Returns:
        The changed flatbuffer, whose ports are not set yet, and the states.

    Raises:
        SourceModelError: an operator keeps a state that cannot be taken out exactly.
    """
    states: list[InnerState] = []
    number = 0
    while True:
        graph = read_graph(flatbuffer)
        positions = [
            position
            for position, operator in enumerate(graph.operators)
            if any(i >= 0 and graph.tensors[i].is_variable for i in operator.inputs)
        ]
        if not positions:
            return flatbuffer, states
        cell = _Cell(flatbuffer, graph, positions[0], number, integers)
        number += 1
        states += cell.states
        flatbuffer = cell.editor.flatbuffer()


class _Cell:
    """One operator that is being taken apart.

    Attributes:
        states: what it kept inside.
    """

    def __init__(
        self, flatbuffer: bytes, graph: Graph, position: int, number: int, integers: bool
    ) -> None:
        self.flatbuffer, self.graph, self.integers = flatbuffer, graph, integers
        self.operator: Operator = graph.operators[position]
        self.editor = TfliteEditor(flatbuffer)
        self.options = self.editor.options_of(position)
        self.prefix = f"cell_{position}"
        self.states: list[InnerState] = []
        self.end = position
        self.number = number
        name = self.operator.name
        if name in LSTMS and len(self.operator.inputs) >= _CELL_STATE + 1:
            self.like = self.operator.inputs[_OUTPUT_STATE]
            self._check(self.operator.inputs[0])
            self._lstm()
        elif name in RNNS and len(self.operator.inputs) == 5:
            self.like = self.operator.inputs[4]
            self._check(self.operator.inputs[0])
            self._rnn()
        else:
            raise SourceModelError(
                f"its operator {name} keeps a state inside that cannot be taken out; convert the "
                "model again with its states as inputs and outputs"
            )
        self.editor.drop_operators({self.end}, {})

    def _check(self, index: int) -> None:
        """Raise SourceModelError unless the operator computes one step in float32."""
        tensor, state = self.graph.tensors[index], self.graph.tensors[self.like]
        name = self.operator.name
        if tensor.dtype != "float32" or state.dtype != "float32":
            raise SourceModelError(
                f"its operator {name} keeps its state in {state.dtype} inside, which no other "
                f"operator computes to the same bytes; {_ONLY_FLOAT}"
            )
        if name.startswith("UNIDIRECTIONAL"):
            steps = tensor.shape[0 if self.options.get("timeMajor") else 1]
            if steps != 1:
                raise SourceModelError(
                    f"its operator {name} takes {steps} frames at once and goes on from the state "
                    "that the call before left; convert the model again for one frame a call "
                    "(an input of shape [1, 1, values])"
                )

    # The parts of a cell: each returns the index of its result.

    def _add(
        self,
        name: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        options: tuple[str, dict[str, Any]] | None = None,
        given: int | None = None,
    ) -> int:
        result = given
        if result is None:
            result = self.editor.add_tensor(f"{self.prefix}/{name}_{self.end}", shape, self.like)
        self.editor.insert_operator(self.end, name, inputs, [result], options)
        self.end += 1
        return result

    def _constant(self, name: str, values: NDArray[Any]) -> int:
        values = np.asarray(values, np.float32)
        return self.editor.add_tensor(f"{self.prefix}/{name}", values.shape, self.like, values)

    def _weights(self, places: Sequence[int], rows: int = 0) -> NDArray[Any] | None:
        """Read and join weights of several gates; None if they are left out."""
        found = []
        for place in places:
            index = self.operator.inputs[place] if place < len(self.operator.inputs) else -1
            if index < 0:
                if not rows:
                    return None
                found.append(np.zeros(rows, np.float32))
                continue
            tensor = self.graph.tensors[index]
            if not tensor.constant_bytes:
                raise SourceModelError(
                    f"weights of its operator {self.operator.name} are computed at each step, "
                    "which cannot be taken apart; convert the model again with its states as "
                    "inputs and outputs"
                )
            found.append(read_constant(self.flatbuffer, tensor))
        return np.concatenate(found)

    def _product(self, x: int, weights: NDArray[Any], bias: NDArray[Any] | None, name: str) -> int:
        inputs = [x, self._constant(f"{name}/weights", weights)]
        inputs.append(-1 if bias is None else self._constant(f"{name}/bias", bias))
        return self._add(
            "FULLY_CONNECTED", inputs, [self.batch, len(weights)], ("FullyConnectedOptions", {})
        )

    def _both(self, name: str, one: int, other: int, shape: Sequence[int]) -> int:
        return self._add(name, [one, other], shape, (f"{name.capitalize()}Options", {}))

    def _activated(self, x: int, kind: int, shape: Sequence[int]) -> int:
        name = ACTIVATIONS[kind] if 0 <= kind < len(ACTIVATIONS) else "?"
        if name == "NONE":
            return x
        if name not in ("TANH", "RELU", "RELU6"):
            raise SourceModelError(
                f"its operator {self.operator.name} has the activation {name}, which is not known "
                "here; convert the model again with its states as inputs and outputs"
            )
        return self._add(name, [x], shape)

    def _clipped(self, x: int, limit: float, shape: Sequence[int]) -> int:
        if self.integers or not limit > 0:
            return x
        for name, bound in (("MINIMUM", limit), ("MAXIMUM", -limit)):
            edge = self._constant(f"{name}_{self.end}", np.array([bound]))
            x = self._add(name, [x, edge], shape, ("MaximumMinimumOptions", {}))
        return x

    def _frame(self) -> int:
        """Return the input as [batch, values]."""
        index = self.operator.inputs[0]
        shape = self.graph.tensors[index].shape
        self.batch = self.graph.tensors[self.like].shape[0]
        return self._reshaped(index, [self.batch, shape[-1]])

    def _reshaped(self, index: int, shape: Sequence[int], given: int | None = None) -> int:
        if given is None and list(self.graph.tensors[index].shape) == list(shape):
            return index
        sizes = self.editor.add_indices(f"{self.prefix}/shape_{self.end}", list(shape))
        options = {"newShape": np.array(shape, np.int32)}
        return self._add("RESHAPE", [index, sizes], shape, ("ReshapeOptions", options), given)

    def _state(self, name: str, taken: int, given: int) -> None:
        self.editor.make_plain(taken)
        self.states.append(InnerState(f"{name}_{self.number}", taken, given))

    def _give(self, h: int) -> None:
        """Let the operator's output hold the new h."""
        output = self.operator.outputs[0]
        self._reshaped(h, self.graph.tensors[output].shape, output)

    def _lstm(self) -> None:
        inputs = self.operator.inputs
        if any(index >= 0 for index in inputs[_NORMS:]):
            raise SourceModelError(
                f"its operator {self.operator.name} normalizes its gates, which is not known here; "
                "convert the model again with its states as inputs and outputs"
            )
        h_in, c_in = inputs[_OUTPUT_STATE], inputs[_CELL_STATE]
        x, units = self._frame(), self.graph.tensors[c_in].shape[-1]
        first = 0 if inputs[_FROM_INPUT] >= 0 else 1  # a coupled input gate has no weights
        count, shape = _GATES - first, [self.batch, units]
        places = range(first, _GATES)
        from_x, from_h = (
            self._weights([begin + place for place in places])
            for begin in (_FROM_INPUT, _FROM_STATE)
        )
        bias = self._weights([_BIASES + place for place in places], units)
        assert from_x is not None and from_h is not None  # noqa: S101, PT018 (rows are there)
        sums = self._both(
            "ADD",
            self._product(x, from_x, bias, "from_x"),
            self._product(h_in, from_h, None, "from_h"),
            [self.batch, count * units],
        )
        gates = [self.editor.add_tensor(f"{self.prefix}/gate_{n}", shape, self.like)
                 for n in range(count)]  # fmt: skip
        axis = self.editor.add_indices(f"{self.prefix}/axis", 1)
        self.editor.insert_operator(
            self.end, "SPLIT", [axis, sums], gates, ("SplitOptions", {"numSplits": count})
        )
        self.end += 1
        *rest, forget, cell, out = gates
        kind = int(self.options.get("fusedActivationFunction", 0))
        f = self._add("LOGISTIC", [self._peeped(forget, c_in, 1, shape)], shape)
        if rest:
            i = self._add("LOGISTIC", [self._peeped(rest[0], c_in, 0, shape)], shape)
        else:
            i = self._both("SUB", self._constant("one", np.ones([1, 1])), f, shape)
        kept = self._both("MUL", f, c_in, shape)
        new = self._both("MUL", i, self._activated(cell, kind, shape), shape)
        c = self._clipped(
            self._both("ADD", kept, new, shape), float(self.options.get("cellClip", 0)), shape
        )
        o = self._add("LOGISTIC", [self._peeped(out, c, 2, shape)], shape)
        h = self._projected(self._both("MUL", o, self._activated(c, kind, shape), shape))
        self._state("h", h_in, h)
        self._state("c", c_in, c)
        self._give(h)

    def _peeped(self, gate: int, c: int, number: int, shape: Sequence[int]) -> int:
        """Add what a gate sees of the cell's state, if there are weights for it."""
        weights = self._weights([_PEEPHOLES + number])
        if weights is None:
            return gate
        seen = self._both("MUL", c, self._constant(f"peephole_{number}", weights), shape)
        return self._both("ADD", gate, seen, shape)

    def _projected(self, h: int) -> int:
        weights = self._weights([_PROJECTION])
        if weights is None:
            return h
        bias = self._weights([_PROJECTION_BIAS])
        h = self._product(h, weights, bias, "projection")
        limit = float(self.options.get("projClip", 0))
        return self._clipped(h, limit, [self.batch, len(weights)])

    def _rnn(self) -> None:
        h_in = self.operator.inputs[4]
        x = self._frame()
        from_x, from_h, bias = (self._weights([place]) for place in (1, 2, 3))
        assert from_x is not None and from_h is not None  # noqa: S101, PT018 (rows are there)
        shape = [self.batch, len(from_x)]
        sums = self._both(
            "ADD",
            self._product(x, from_x, bias, "from_x"),
            self._product(h_in, from_h, None, "from_h"),
            shape,
        )
        h = self._activated(sums, int(self.options.get("fusedActivationFunction", 0)), shape)
        self._state("h", h_in, h)
        self._give(h)
