"""The recurrent operators LSTM, GRU and RNN.

Over time each is one step with states, computed by the cells of
:mod:`convert.layers.keras_recurrent`, whose quantized states are known. Over another axis, such as
the frequencies of one frame, or the few frames of a step that takes its states as inputs, all its
steps are in the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from convert.importers.onnx.elementwise import Rule, one_step, soft_plus
from convert.importers.onnx.value import Call, Plan, Value
from convert.layers import activations
from convert.layers.keras_recurrent import CellStep, gru_cell, lstm_cell, simple_rnn_cell
from convert.layers.layer_rule import Joined, LayerValues, State, product

# How many steps may be in one graph.
STEP_LIMIT = 600
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
STATES = {"RNN": ("h",), "GRU": ("h",), "LSTM": ("h", "c")}
# From ONNX's gates i, o, f, c to Keras' i, f, c, o. Those of the GRU are z, r, h in both.
LSTM_ORDER = (0, 2, 3, 1)


@dataclass(frozen=True)
class Cell:
    """Weights as the cells of Keras have them, for their step rules."""

    name: str
    units: int
    kernel: NDArray[Any]
    recurrent_kernel: NDArray[Any]
    bias: NDArray[Any] | None
    activation: Any
    recurrent_activation: Any = None
    reset_after: bool = False

    @property
    def use_bias(self) -> bool:
        return self.bias is not None


def _activation(
    call: Call, number: int, default: str, direction: int = 0, clipped: bool = True
) -> Any:
    """Return a recurrence's activation, its input cut to the clip if there is one."""
    given = call.attribute("activations") or []
    count = {"RNN": 1, "GRU": 2, "LSTM": 3}[call.node.kind]
    place = direction * count + number
    name = (given[place] if place < len(given) else default).lower()
    if name not in FUNCTIONS:
        raise call.refusal(f"has the activation '{name[:40]}', which is not known")
    alphas, betas = call.attribute("activation_alpha"), call.attribute("activation_beta")
    function = FUNCTIONS[name](
        alphas[place] if alphas and place < len(alphas) else None,
        betas[place] if betas and place < len(betas) else None,
    )
    clip = call.attribute("clip")
    if not clip or not clipped:
        return function
    limit = float(clip)
    form = activations.step_form(function)
    return lambda x: form(activations.minimum(tf.maximum(x, -limit), limit))


def _hard_sigmoid(alpha: float | None, beta: float | None) -> Any:
    alpha, beta = 0.2 if alpha is None else alpha, 0.5 if beta is None else beta
    if (round(alpha, 6), round(beta, 6)) == (0.2, 0.5):
        return keras.activations.hard_sigmoid
    if (round(alpha, 6), round(beta, 6)) == (0.166667, 0.5):
        return activations.hard_sigmoid_3
    return lambda x: tf.nn.relu6(x * (6 * alpha) + 6 * beta) * (1 / 6)


def _affine(alpha: float | None, beta: float | None) -> Any:
    return lambda x: x * (1.0 if alpha is None else alpha) + (beta or 0.0)


def _scaled_tanh(alpha: float | None, beta: float | None) -> Any:
    return lambda x: (
        tf.tanh(x * (1.0 if beta is None else beta)) * (1.0 if alpha is None else alpha)
    )


# By the standard's names, from alpha and beta.
FUNCTIONS: dict[str, Callable[[float | None, float | None], Any]] = {
    "affine": _affine,
    "elu": lambda alpha, beta: keras.activations.elu,
    "hardsigmoid": _hard_sigmoid,
    "leakyrelu": lambda alpha, beta: (
        lambda x: activations.leaky_relu(x, 0.01 if alpha is None else alpha)
    ),
    "relu": lambda alpha, beta: keras.activations.relu,
    "scaledtanh": _scaled_tanh,
    "sigmoid": lambda alpha, beta: keras.activations.sigmoid,
    "softplus": lambda alpha, beta: soft_plus,
    "softsign": lambda alpha, beta: keras.activations.softsign,
    "tanh": lambda alpha, beta: keras.activations.tanh,
    "thresholdedrelu": lambda alpha, beta: (
        lambda x: tf.where(x > (1.0 if alpha is None else alpha), x, tf.zeros_like(x))
    ),
}


def _cell(call: Call, direction: int) -> CellStep:
    """Make the cell of one direction from the operator's weights."""
    kind = call.node.kind
    weights, recurrent = call.constant(1)[direction], call.constant(2)[direction]
    units = recurrent.shape[-1]
    rows = (GATES[kind] * units,)
    if weights.shape[:1] != rows or recurrent.shape != (*rows, units):
        raise call.refusal("has weights whose shapes do not fit each other")
    bias = np.zeros(2 * rows[0], np.float32)
    if call.optional(3) is not None:
        bias = np.asarray(call.constant(3)[direction], np.float32)
        if bias.shape != (2 * rows[0],):
            raise call.refusal("has a bias that does not fit its weights")
    given_bias, recurrent_bias = bias[: rows[0]], bias[rows[0] :]
    kernel, recurrent_kernel = weights.T, recurrent.T
    if kind == "RNN":
        cell = Cell(
            call.node.described, units, _f(kernel), _f(recurrent_kernel),
            _f(given_bias + recurrent_bias), _activation(call, 0, "Tanh", direction),
        )  # fmt: skip
        return simple_rnn_cell(cell)
    gate = _activation(call, 0, "Sigmoid", direction)
    function = _activation(call, 1, "Tanh", direction)
    if kind == "GRU":
        after = bool(call.attribute("linear_before_reset", 0))
        both = np.stack([given_bias, recurrent_bias])
        cell = Cell(
            call.node.described, units, _f(kernel), _f(recurrent_kernel),
            _f(both if after else both.sum(0)), function, gate, after,
        )  # fmt: skip
        return gru_cell(cell)
    order = np.concatenate([np.arange(n * units, (n + 1) * units) for n in LSTM_ORDER])
    cell = Cell(
        call.node.described, units, _f(kernel[:, order]), _f(recurrent_kernel[:, order]),
        _f((given_bias + recurrent_bias)[order]), function, gate,
    )  # fmt: skip
    # The standard cuts the input of every activation, ONNX Runtime not that of the state: its issue
    # 27224. A step computes what ONNX Runtime does.
    last = _activation(call, 2, "Tanh", direction, clipped=False)
    names = [str(name).lower() for name in call.attribute("activations") or []]
    alike = len(names) < 3 or names[3 * direction + 1] == names[3 * direction + 2]
    peepholes = _peepholes(call, direction, units)
    coupled = bool(call.attribute("input_forget", 0))
    if alike and not call.attribute("clip") and not coupled and peepholes is None:
        return lstm_cell(cell)
    return _general_lstm(cell, last, coupled, peepholes)


def _peepholes(call: Call, direction: int, units: int) -> NDArray[Any] | None:
    """Return what the gates i, o and f read of the LSTM's c, [3, units]; None if nothing."""
    if call.optional(7) is None or not np.any(call.constant(7)[direction]):
        return None
    weights = call.constant(7)[direction]
    if weights.shape != (3 * units,):
        raise call.refusal("has peepholes that do not fit its weights")
    return _f(weights.reshape(3, units))


def _f(array: Any) -> NDArray[Any]:
    return np.ascontiguousarray(array, np.float32)


def _general_lstm(cell: Cell, last: Any, coupled: bool, peepholes: NDArray[Any] | None) -> CellStep:
    """Step an LSTM that Keras has not.

    It has another activation of the state, coupled gates (f = 1 - i), or gates that read c
    (Gers, Schraudolph & Schmidhuber 2002): i and f the old one, o the new one."""
    gate, function, last = map(
        activations.step_form, (cell.recurrent_activation, cell.activation, last)
    )

    def step(x: Any, states: LayerValues) -> tuple[Any, LayerValues]:
        h, c = states
        given = product(x, cell.kernel, cell.bias) + tf.matmul(h, cell.recurrent_kernel)
        i, f, candidate, o = tf.split(given, 4, axis=-1)
        if peepholes is not None:
            i, f = i + peepholes[0] * c, f + peepholes[2] * c
        entry = gate(i)
        kept = 1.0 - entry if coupled else gate(f)
        c = kept * c + entry * function(candidate)
        if peepholes is not None:
            o = o + peepholes[1] * c
        h = gate(o) * last(c)
        return h, (h, c)

    return CellStep((State("h", (cell.units,)), State("c", (cell.units,))), step)


def recurrence(call: Call) -> Plan:
    """LSTM, GRU or RNN."""
    value = call.value()
    if len(value.shape) != 3:
        raise call.refusal(f"takes a value with {len(value.shape)} axes, not 3")
    batch_first = bool(call.attribute("layout", 0))
    sequence, batch = (1, 0) if batch_first else (0, 1)
    if value.axis == 2:
        raise call.refusal("has time as its channels")
    if (lengths := call.optional(4)) is not None:
        length = value.full_shape(call.steps)[sequence]
        if lengths.constant is None or np.any(lengths.constant != length):
            raise call.refusal("is told the lengths of its sequences; a stream has no end")
    if value.axis == sequence:
        return _over_time(call, call.at_frames(value), sequence, batch)
    return _unrolled(call, value, sequence, batch)


def _rows(x: Any) -> Any:
    """Return a value as [batch, channels], its parts still apart."""
    if isinstance(x, Joined):
        return Joined(tuple(tf.reshape(part, (-1, int(part.shape[-1]))) for part in x.parts))
    return tf.reshape(x, (-1, int(x.shape[-1])))


def _over_time(call: Call, value: Value, sequence: int, batch: int) -> Plan:
    """Plan one step of a recurrence over time."""
    direction = str(call.attribute("direction", "forward")).lower()
    if direction != "forward":
        raise call.refusal(
            f"runs {'backwards' if direction == 'reverse' else 'in both directions'} over time, so "
            "its first step needs the last one; train it forwards"
        )
    cell, count = _cell(call, 0), value.shape[batch]
    states = []
    for number, state in enumerate(cell.states):
        shape = state.shape if count == 1 else (count, *state.shape)
        initial = call.optional(5 + number)
        begin = None
        if initial is not None:
            if initial.constant is None:
                raise call.refusal(
                    "begins with a state that is computed from an input, which is not given back; "
                    "pair it with an output by --state IN=OUT"
                )
            if np.any(initial.constant):
                begin = np.broadcast_to(_f(initial.constant).reshape(-1, *state.shape), (
                    count, *state.shape)).reshape(shape)  # fmt: skip
        states.append(State(state.name, shape, state.bound, initial=begin))
    units = cell.states[0].shape[0]
    y_shape = (1, 1, count, units) if sequence == 0 else (count, 1, 1, units)
    h_shape = (1, count, units) if sequence == 0 else (count, 1, units)

    def compute(operands: tuple[Any, ...], old: Any) -> Any:
        # Rows are independent sequences, with one input for all or an own one for each.
        rows = int(old[0].shape[0])
        given = tuple(tf.reshape(item, (rows * count, units)) for item in old)
        output, new = cell.step(_rows(operands[0]), given)
        front = () if rows == 1 else (rows,)
        outputs = (
            tf.reshape(output, (*front, *y_shape)),
            *(tf.reshape(item, (*front, *h_shape)) for item in new),
        )
        kept = [tf.reshape(n, (rows, *state.shape)) for n, state in zip(new, states, strict=True)]
        return outputs, tuple(kept)

    return Plan(
        compute,
        (0 if sequence == 0 else 1, *(None for _ in states)),
        value.frames._replace(zeros=False),
        states=tuple(states),
        sums_up=(False, *(True for _ in states)),
        takes_deferred=True,
        # With rows the cell's product is one for all; a batch in each row is computed apart.
        rowwise=count == 1,
        cell=(call.node.kind.lower(), units),
    )


def _unrolled(call: Call, value: Value, sequence: int, batch: int) -> Plan:
    """Plan all steps of a recurrence that runs over another axis than time."""
    length, count = value.shape[sequence], value.shape[batch]
    if length > STEP_LIMIT:
        raise call.refusal(f"runs over {length} values of one frame, which is too large a graph")
    direction = str(call.attribute("direction", "forward")).lower()
    backwards = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[direction]
    cells = [_cell(call, number) for number in range(len(backwards))]
    units = cells[0].states[0].shape[0]
    operands = {
        place: one_step(call, begin.constant, batch)
        for place in (5, 6)
        if value.axis == batch
        and (begin := call.optional(place)) is not None
        and begin.constant is not None
    }
    axis = None if value.axis is None else (2 if sequence == 0 else 0)
    # The axes of [directions, batch, units] or [batch, directions, units] where time is.
    ends = None if value.axis is None else (1 if sequence == 0 else 0)

    def compute(operands: tuple[Any, ...], old: Any) -> Any:
        x = operands[0]
        parts = [x] if length == 1 else tf.split(x, length, sequence)
        rows = [_rows(part) for part in parts]
        ways, finals = [], []
        for number, (cell, back) in enumerate(zip(cells, backwards, strict=True)):
            states = _begin(operands, number, cell, count, sequence)
            outputs = []
            for row in reversed(rows) if back else rows:
                output, states = cell.step(row, states)
                outputs.append(output)
            ways.append(outputs[::-1] if back else outputs)
            finals.append(states)
        if sequence == 0:
            shape, join = (1, 1, count, units), (0, 1)
            last, side = (1, count, units), 0
        else:
            shape, join = (count, 1, 1, units), (1, 2)
            last, side = (count, 1, units), 1
        steps = [_joined([tf.reshape(way[n], shape) for way in ways], join[1])
                 for n in range(length)]  # fmt: skip
        given = [_joined([tf.reshape(one[k], last) for one in finals], side)
                 for k in range(len(cells[0].states))]  # fmt: skip
        return (_joined(steps, join[0]), *given), ()

    return Plan(
        compute, (axis, *(ends for _ in cells[0].states)), value.frames._replace(zeros=False),
        operands=operands, takes_deferred=length == 1, cell=(call.node.kind.lower(), units),
        bounds=(cells[0].states[0].bound, *(state.bound for state in cells[0].states)),
    )  # fmt: skip


def _joined(parts: list[Any], axis: int) -> Any:
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis)


def _begin(
    operands: tuple[Any, ...], number: int, cell: CellStep, count: int, sequence: int
) -> tuple[Any, ...]:
    """Return the states that one direction begins with, each [batch, units]."""
    found = []
    for place, state in enumerate(cell.states):
        given = operands[5 + place] if 5 + place < len(operands) else None
        if given is None:
            found.append(tf.zeros((count, *state.shape)))
            continue
        # No slice that takes an axis away: a GPU has none.
        side = 0 if sequence == 0 else 1
        ways = int(given.shape[side])
        own = given if ways == 1 else tf.split(given, ways, side)[number]
        found.append(tf.reshape(own, (count, *state.shape)))
    return tuple(found)


ROWS: dict[str, Rule] = dict.fromkeys(GATES, recurrence)
