"""One time step of every cell in NumPy float64, written from the equations, gate by gate.

A reference takes one frame x [inputs], the states (each [H]) and the cell's weights by name, and
gives the output and the new states. Vectors are columns here: a gate's matrix W acts on the
stacked vector [h, x] as W @ [h, x]. The only thing taken over from the cells is the layout in
which their weights are stored. A matrix of low rank is multiplied out beforehand: its rank
is no business of the equations.

Whoever adds a cell to models.cells.CELLS adds a row to REFERENCES.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Weights = dict[str, np.ndarray]
States = dict[str, np.ndarray]


class Reference(NamedTuple):
    """``step(x, states, weights, **options)``, the options that the cell is tested with, and the
    states that are never below zero."""

    step: Callable[..., tuple[np.ndarray, States]]
    options: tuple[dict[str, Any], ...] = ({},)
    positive: tuple[str, ...] = ()


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def block(stored, gate, units):
    """The columns of one gate in a stored matrix or bias."""
    return stored[..., gate * units : (gate + 1) * units]


def gate_matrix(weights, gate, units):
    """W [H, H + inputs] of one gate, acting on [h, x]."""
    return np.hstack(
        [
            block(weights["recurrent_kernel"], gate, units).T,
            block(weights["kernel"], gate, units).T,
        ]
    )


def householder(v):
    """The reflection I - 2 v v^T / v^T v."""
    return np.eye(len(v)) - 2 * np.outer(v, v) / np.dot(v, v)


def orthogonal_matrix(reflectors):
    """The reflections over the columns v_1 ... v_k multiplied one by one: H_1 H_2 ... H_k."""
    q = np.eye(len(reflectors))
    for v in reflectors.T:
        q = q @ householder(v)
    return q


def simple_rnn(x, states, weights):
    w_hx, w_hh, b_h = weights["kernel"].T, weights["recurrent_kernel"].T, weights["bias"]
    h = np.tanh(w_hx @ x + w_hh @ states["h"] + b_h)
    return h, {"h": h}


def lstm(x, states, weights):
    units = len(states["h"])
    stacked = np.concatenate([states["h"], x])

    def pre_activation(gate):
        return gate_matrix(weights, gate, units) @ stacked + block(weights["bias"], gate, units)

    input_gate, forget_gate = sigmoid(pre_activation(0)), sigmoid(pre_activation(1))
    candidate, output_gate = np.tanh(pre_activation(2)), sigmoid(pre_activation(3))
    c = forget_gate * states["c"] + input_gate * candidate
    h = output_gate * np.tanh(c)
    return h, {"h": h, "c": c}


def gru(x, states, weights, reset_after=True):
    h = states["h"]
    units = len(h)
    stacked = np.concatenate([h, x])

    def gate(index):
        bias = block(weights["bias"], index, units)
        if reset_after:
            bias = bias + block(weights["recurrent_bias"], index, units)
        return sigmoid(gate_matrix(weights, index, units) @ stacked + bias)

    z, r = gate(0), gate(1)
    from_input = block(weights["kernel"], 2, units).T @ x + block(weights["bias"], 2, units)
    u_h = block(weights["recurrent_kernel"], 2, units).T
    if reset_after:
        from_state = r * (u_h @ h + block(weights["recurrent_bias"], 2, units))
    else:
        from_state = u_h @ (r * h)
    candidate = np.tanh(from_input + from_state)
    h = z * h + (1 - z) * candidate
    return h, {"h": h}


def _oru_candidate(x, h, weights):
    stacked = np.concatenate([h, x])
    z = gate_matrix(weights, 0, len(h)) @ stacked
    r = sigmoid(gate_matrix(weights, 1, len(h)) @ stacked)
    return np.tanh(r * z)


def oru(x, states, weights, reflections=None):
    del reflections  # as many as there are reflectors
    h = orthogonal_matrix(weights["reflectors"]) @ _oru_candidate(x, states["h"], weights)
    return h, {"h": h}


def state_oru(x, states, weights):
    v = weights["reflector_kernel"].T @ states["h"] + weights["reflector_bias"]
    h = householder(v) @ _oru_candidate(x, states["h"], weights)
    return h, {"h": h}


def fast_grnn(x, states, weights, mixing="fixed"):
    w, u = weights["kernel"].T, weights["recurrent_kernel"].T
    b_z, b_h = weights["bias"], weights["candidate_bias"]
    zeta, nu = sigmoid(weights["mixing"]) if mixing == "learned" else (1, 0)
    h = states["h"]
    z = sigmoid(w @ x + u @ h + b_z)
    candidate = np.tanh(w @ x + u @ h + b_h)
    h = (zeta * (1 - z) + nu) * candidate + z * h
    return h, {"h": h}


def _from_input(x, weights, gate, units):
    return block(weights["kernel"], gate, units).T @ x + block(weights["bias"], gate, units)


def min_gru(x, states, weights, candidate="linear"):
    h = states["h"]
    z = sigmoid(_from_input(x, weights, 0, len(h)))
    candidate_h = _from_input(x, weights, 1, len(h))
    if candidate == "tanh":
        candidate_h = np.tanh(candidate_h)
    h = (1 - z) * h + z * candidate_h
    return h, {"h": h}


def min_lstm(x, states, weights, candidate="linear"):
    h = states["h"]
    f = sigmoid(_from_input(x, weights, 0, len(h)))
    i = sigmoid(_from_input(x, weights, 1, len(h)))
    candidate_h = _from_input(x, weights, 2, len(h))
    if candidate == "tanh":
        candidate_h = np.tanh(candidate_h)
    h = f / (f + i) * h + i / (f + i) * candidate_h
    return h, {"h": h}


def grouped(cell):
    """The reference of a cell of groups: the cell's own, with the matrices written out."""

    def step(x, states, weights, groups=4, split_inputs=False):
        units = len(states["h"])
        size = units // groups

        def whole(stored, rows, group_of_row, row_in_group):
            gates = stored.shape[1] // units
            result = np.zeros((rows, stored.shape[1]))
            for row in range(rows):
                for gate in range(gates):
                    first = gate * units + group_of_row(row) * size
                    columns = slice(first, first + size)
                    result[row, columns] = stored[row_in_group(row), columns]
            return result

        u = whole(weights["recurrent_kernel"], units, lambda r: r // size, lambda r: r % size)
        weights = {**weights, "recurrent_kernel": u}
        if split_inputs:
            weights["kernel"] = whole(
                weights["kernel"], len(x), lambda r: r % groups, lambda r: r // groups
            )
        return cell(x, states, weights)

    return step


def _query_key_value(x, weights, units, heads):
    """Before their activations, each [heads, H / heads]."""
    return [_from_input(x, weights, part, units).reshape(heads, -1) for part in range(3)]


def linear_attention(x, states, weights, heads=4):
    units = len(weights["bias"]) // 3
    q, k, v = _query_key_value(x, weights, units, heads)
    q, k, v = sigmoid(q), sigmoid(k), np.tanh(v)
    a = sigmoid(weights["rate"])
    s = np.empty_like(states["s"])
    z = np.empty_like(states["z"])
    outputs = []
    for head in range(heads):
        s[head] = (1 - a[head]) * states["s"][head] + a[head] * np.outer(k[head], v[head])
        z[head, :, 0] = (1 - a[head]) * states["z"][head, :, 0] + a[head] * k[head]
        normalizer = np.dot(z[head, :, 0], q[head]) + len(q[head]) / 64
        outputs.append(s[head].T @ q[head] / normalizer)
    return np.concatenate(outputs), {"s": s, "z": z}


def window_attention(x, states, weights, window=16, heads=4):
    units = len(weights["bias"]) // 3
    q, k, v = _query_key_value(x, weights, units, heads)
    keys, values = states["k"].copy(), states["v"].copy()
    outputs = []
    for head in range(heads):
        keys[head] = np.vstack([keys[head][1:], np.tanh(k[head])])
        values[head] = np.vstack([values[head][1:], np.tanh(v[head])])
        powers = [
            np.exp(np.dot(keys[head][slot], q[head]) + weights["distance_bias"][head, slot])
            for slot in range(window)
        ]
        outputs.append(
            sum(p * value for p, value in zip(powers, values[head], strict=True)) / sum(powers)
        )
    return np.concatenate(outputs), {"k": keys, "v": values}


def graph_gru(x, states, weights, nodes=2, adjacency="uniform"):
    h = states["h"].reshape(nodes, -1)
    width = h.shape[1]
    a = (np.ones((nodes, nodes)) - np.eye(nodes)) / (nodes - 1)
    if adjacency == "learned":
        powers = np.exp(weights["adjacency_logits"])
        a = powers / powers.sum(1, keepdims=True)

    def convolution(signal, stored):
        own, mixed = np.split(stored, 2)
        return signal @ own + a @ signal @ mixed

    given = convolution(np.reshape(x, (nodes, -1)), weights["kernel"])
    given = given + weights["bias"].reshape(nodes, -1)
    recurrent = convolution(h, weights["recurrent_kernel"]) + weights["recurrent_bias"]
    z = sigmoid(block(given, 0, width) + block(recurrent, 0, width))
    r = sigmoid(block(given, 1, width) + block(recurrent, 1, width))
    candidate = np.tanh(block(given, 2, width) + r * block(recurrent, 2, width))
    h = (z * h + (1 - z) * candidate).reshape(-1)
    return h, {"h": h}


REFERENCES: dict[str, Reference] = {
    "simple-rnn": Reference(simple_rnn, ({}, {"rank": 3})),
    "lstm": Reference(lstm, ({}, {"rank": 3})),
    "gru": Reference(
        gru,
        (
            {"reset_after": True},
            {"reset_after": False},
            {"reset_after": True, "rank": 3},
            {"reset_after": False, "rank": 3},
        ),
    ),
    "oru": Reference(oru, ({}, {"reflections": 3}, {"rank": 3})),
    "oru-state": Reference(state_oru, ({}, {"rank": 3})),
    "fast-grnn": Reference(
        fast_grnn,
        ({}, {"mixing": "learned"}, {"rank": 3}, {"rank": 3, "input_rank": 2, "mixing": "learned"}),
    ),
    "grouped-simple-rnn": Reference(grouped(simple_rnn), ({"groups": 2},)),
    "grouped-lstm": Reference(grouped(lstm)),
    "grouped-gru": Reference(grouped(gru), ({}, {"groups": 2, "split_inputs": True})),
    "graph-gru": Reference(graph_gru, ({}, {"adjacency": "learned"})),
    "linear-attention": Reference(linear_attention, ({}, {"heads": 1}), positive=("z",)),
    "window-attention": Reference(window_attention, ({}, {"window": 3, "heads": 2})),
    "min-gru": Reference(min_gru, ({}, {"candidate": "tanh"})),
    "min-lstm": Reference(min_lstm, ({}, {"candidate": "tanh"})),
}


def weights_by_name(cell) -> Weights:
    """A built cell's weights in float64: the part of each variable's name after the last /."""
    return {
        variable.name.rpartition("/")[2].partition(":")[0]: variable.numpy().astype(np.float64)
        for variable in cell.weights
    }


def matrix(weights, name):
    """A matrix by its name, however it is stored; None where the cell has none."""
    if f"{name}_down" in weights:
        return weights[f"{name}_down"] @ weights[f"{name}_up"]
    return weights.get(name)


def run(name, options, sequence, states, weights):
    """Outputs [steps, H] of the reference over a sequence [steps, inputs], and the states after
    every step, each [steps, H]."""
    options = {o: value for o, value in options.items() if o not in ("rank", "input_rank")}
    weights = weights | {name: matrix(weights, name) for name in ("kernel", "recurrent_kernel")}
    outputs, history = [], []
    for x in np.asarray(sequence, np.float64):
        output, states = REFERENCES[name].step(x, states, weights, **options)
        outputs.append(output)
        history.append(states)
    return np.array(outputs), {key: np.array([h[key] for h in history]) for key in states}
