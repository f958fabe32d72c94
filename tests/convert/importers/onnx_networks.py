"""Small ONNX networks of random weights, as exporters write them."""

from __future__ import annotations

import numpy as np

onnx = __import__("pytest").importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

UNITS, CHANNELS = 8, 3


def values(seed, *shape, scale=0.5):
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


def recurrence(kind, units=UNITS, channels=CHANNELS, ways=1, seed=0):
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[kind] * units
    return {
        "W": values(seed, ways, gates, channels),
        "R": values(seed + 1, ways, gates, units),
        "B": values(seed + 2, ways, 2 * gates),
    }


def node(kind, inputs, outputs, **attributes):
    return helper.make_node(kind, inputs.split(" "), outputs.split(" "), **attributes)


def model(nodes, inputs, outputs, constants, opset=17):
    def port(name, shape, kind=TensorProto.FLOAT):
        return helper.make_tensor_value_info(name, kind, shape)

    graph = helper.make_graph(
        nodes,
        "net",
        [port(*item) for item in inputs],
        [port(*item) for item in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.checker.check_model(made)
    return made


def sequence(kind="LSTM", time="time", opset=17, **attributes):
    """A recurrence over [batch, time, channels] and a product of each step, as torch exports it."""
    nodes = [
        node("Transpose", "x", "xt", perm=[1, 0, 2]),
        node(kind, "xt W R B", "Y", hidden_size=UNITS, **attributes),
        node("Squeeze", "Y one", "Ys"),
        node("Transpose", "Ys", "Yt", perm=[1, 0, 2]),
        node("MatMul", "Yt D", "m"),
        node("Add", "m b", "y"),
    ]
    constants = {**recurrence(kind), "one": np.array([1]), "D": values(5, 8, 2), "b": values(6, 2)}
    return model(nodes, [("x", ["batch", time, 3])], [("y", ["batch", time, 2])], constants, opset)


def window(steps=20):
    """A GRU fixed to windows of some steps, whose last output is classified."""
    nodes = [
        node("Transpose", "x", "xt", perm=[1, 0, 2]),
        node("GRU", "xt W R B", "Y", hidden_size=UNITS, linear_before_reset=0),
        node("Reshape", "Y shape", "Ys"),
        node("Transpose", "Ys", "Yt", perm=[1, 0, 2]),
        node("Gather", "Yt last", "h", axis=1),
        node("Gemm", "h D b", "m", transB=1),
        node("Softmax", "m", "y"),
    ]
    constants = {
        **recurrence("GRU"), "shape": np.array([steps, 1, 8]), "last": np.array(-1),
        "D": values(5, 4, 8), "b": values(6, 4),
    }  # fmt: skip
    return model(nodes, [("x", [1, steps, 3])], [("y", [1, 4])], constants)


def step(names=("h_in", "c_in", "h_out", "c_out")):
    """An LSTM that takes its states and gives new ones."""
    h, c, new_h, new_c = names
    nodes = [
        node("Unsqueeze", "x zero", "xt"),
        node("LSTM", f"xt W R B  {h} {c}", f"Y {new_h} {new_c}", hidden_size=UNITS),
        node("Squeeze", f"{new_h} zero", "hs"),
        node("Gemm", "hs D b", "y", transB=1),
    ]
    constants = {
        **recurrence("LSTM"), "zero": np.array([0]), "D": values(5, 2, 8), "b": values(6, 2),
    }  # fmt: skip
    state = [1, 1, UNITS]
    return model(
        nodes,
        [("x", [1, 3]), (h, state), (c, state)],
        [("y", [1, 2]), (new_h, state), (new_c, state)],
        constants,
    )


def causal_convolution():
    """Two convolutions over time, padded at the start and cut at the end, and a GRU."""
    nodes = [
        node("Transpose", "x", "xc", perm=[0, 2, 1]),
        node("Pad", "xc pads", "xp"),
        node("Conv", "xp K1 k1", "a", kernel_shape=[3]),
        node("Relu", "a", "ar"),
        node("Conv", "ar K2 k2", "b1", kernel_shape=[3], dilations=[2], pads=[4, 4]),
        node("Slice", "b1 from to axis", "b2"),
        node("LeakyRelu", "b2", "br", alpha=0.1),
        node("Transpose", "br", "bt", perm=[2, 0, 1]),
        node("GRU", "bt W R B", "Y", hidden_size=UNITS, linear_before_reset=1),
        node("Squeeze", "Y one", "Ys"),
        node("Transpose", "Ys", "y", perm=[1, 0, 2]),
    ]
    constants = {
        **recurrence("GRU", channels=5), "pads": np.array([0, 0, 2, 0, 0, 0]),
        "K1": values(7, 4, 3, 3), "k1": values(8, 4), "K2": values(9, 5, 4, 3), "k2": values(4, 5),
        "from": np.array([0]), "to": np.array([-4]), "axis": np.array([2]), "one": np.array([1]),
    }  # fmt: skip
    return model(nodes, [("x", [1, "T", 3])], [("y", [1, "T", 8])], constants)


def normalized():
    """A GRU and a layer normalization in single operators, as exporters of old opsets write it."""
    nodes = [
        node("Transpose", "x", "xt", perm=[1, 0, 2]),
        node("GRU", "xt W R B", "Y", hidden_size=UNITS, linear_before_reset=1),
        node("Squeeze", "Y one", "Ys"),
        node("Transpose", "Ys", "h", perm=[1, 0, 2]),
        node("MatMul", "h E", "m"),
        node("ReduceMean", "m", "mean", axes=[-1]),
        node("Sub", "m mean", "centred"),
        node("Mul", "centred centred", "squares"),
        node("ReduceMean", "squares", "variance", axes=[-1]),
        node("Sqrt", "variance", "deviation"),
        node("Div", "centred deviation", "normal"),
        node("MatMul", "normal D", "y"),
    ]
    constants = {
        **recurrence("GRU"), "one": np.array([1]), "E": values(8, 8, 6), "D": values(5, 6, 2),
    }  # fmt: skip
    return model(nodes, [("x", [1, "time", 3])], [("y", [1, "time", 2])], constants)


def voice_detector():
    """Like Silero VAD: `sr` chooses a branch, a reflected border, products with a Fourier basis as
    a convolution, convolutions, and an LSTM whose states are one value."""
    bins, units = 9, 6
    branch = [
        node("Unsqueeze", "padded one", "framed"),
        node("Conv", "framed basis", "spectrum", kernel_shape=[16], strides=[8]),
        node("Slice", "spectrum zeros bins one", "real"),
        node("Slice", "spectrum bins ends one", "imaginary"),
        node("Pow", "real two", "real2"),
        node("Pow", "imaginary two", "imaginary2"),
        node("Add", "real2 imaginary2", "power"),
        node("Sqrt", "power", "magnitude16"),
    ]
    other = [node("Unsqueeze", "padded one", "magnitude8")]
    output = helper.make_tensor_value_info
    graphs = {
        "then_branch": helper.make_graph(branch, "a", [], [output("magnitude16", 1, None)]),
        "else_branch": helper.make_graph(other, "b", [], [output("magnitude8", 1, None)]),
    }
    nodes = [
        node("Pad", "input pads", "padded", mode="reflect"),
        node("Equal", "sr rate", "is16"),
        helper.make_node("If", ["is16"], ["magnitude"], **graphs),
        node("Conv", "magnitude K1 k1", "a1", kernel_shape=[3], pads=[1, 1]),
        node("Relu", "a1", "r1"),
        node("Conv", "r1 K2 k2", "a2", kernel_shape=[3], strides=[2], pads=[1, 1]),
        node("Relu", "a2", "r2"),
        node("ReduceMean", "r2", "mean", axes=[2], keepdims=0),
        node("Unsqueeze", "mean zeros", "xt"),
        node("Split", "state", "h c", axis=0),
        node("LSTM", "xt W R B  h c", "Y Yh Yc", hidden_size=units),
        node("Concat", "Yh Yc", "stateN", axis=0),
        node("Squeeze", "Yh zeros", "hs"),
        node("Relu", "hs", "hr"),
        node("Gemm", "hr D b", "m", transB=1),
        node("Sigmoid", "m", "output"),
    ]
    constants = {
        **recurrence("LSTM", units, 8), "pads": np.array([0, 0, 0, 8]), "rate": np.array(16000),
        "basis": values(3, 2 * bins, 1, 16), "one": np.array([1]), "zeros": np.array([0]),
        "bins": np.array([bins]), "ends": np.array([2 * bins]), "two": np.array(2, np.float32),
        "K1": values(11, 7, bins, 3), "k1": values(12, 7), "K2": values(13, 8, 7, 3),
        "k2": values(14, 8), "D": values(5, 1, units), "b": values(6, 1),
    }  # fmt: skip
    state = [2, "batch", units]
    inputs = [("input", ["batch", 32]), ("state", state), ("sr", [], TensorProto.INT64)]
    return model(nodes, inputs, [("output", ["batch", 1]), ("stateN", state)], constants)


def front_end(*convolutions, time="T"):
    """Operators from "xc" to "c" over [1, channels, time], and a GRU behind them."""
    nodes = [
        node("Transpose", "x", "xc", perm=[0, 2, 1]),
        *convolutions,
        node("Transpose", "c", "ct", perm=[2, 0, 1]),
        node("GRU", "ct W R B", "Y", hidden_size=UNITS, linear_before_reset=1),
        node("Squeeze", "Y one", "Ys"),
        node("Transpose", "Ys", "y", perm=[1, 0, 2]),
    ]
    constants = {
        **recurrence("GRU", channels=5), "one": np.array([1]), "pads": np.array([0, 0, 2, 0, 0, 0]),
        "K1": values(7, 5, 3, 3), "k1": values(8, 5), "K2": values(9, 5, 5, 3), "k2": values(4, 5),
        "first": np.array([2]), "end": np.array([2**31]), "axis": np.array([2]),
    }  # fmt: skip
    return model(nodes, [("x", [1, time, 3])], [("y", [1, None, 8])], constants)


def both_ways(steps=12):
    """A bidirectional GRU over a window, whose last states are classified."""
    nodes = [
        node("Transpose", "x", "xt", perm=[1, 0, 2]),
        node("GRU", "xt W R B", "Y Yh", hidden_size=UNITS, direction="bidirectional"),
        node("Transpose", "Yh", "Yt", perm=[1, 0, 2]),
        node("Reshape", "Yt shape", "h"),
        node("Gemm", "h D b", "m", transB=1),
        node("Softmax", "m", "y"),
    ]
    constants = {
        **recurrence("GRU", ways=2), "shape": np.array([1, 2 * UNITS]),
        "D": values(5, 4, 2 * UNITS), "b": values(6, 4),
    }  # fmt: skip
    return model(nodes, [("x", [1, steps, 3])], [("y", [1, 4])], constants)


def scan(last=False):
    """A gated recurrence written by hand as the body of a Scan over time, [time, batch, channels].

    Args:
        last: give what the last step leaves instead of every step's output.
    """
    body = helper.make_graph(
        [
            node("Concat", "h frame", "both", axis=1),
            node("MatMul", "both G", "g0"),
            node("Add", "g0 g", "g1"),
            node("Sigmoid", "g1", "gate"),
            node("MatMul", "both N", "n0"),
            node("Tanh", "n0", "new"),
            node("Sub", "new h", "apart"),
            node("Mul", "gate apart", "moved"),
            node("Add", "h moved", "h_next"),
            node("Identity", "h_next", "given"),
        ],
        "body",
        [helper.make_tensor_value_info(*one) for one in (
            ("h", TensorProto.FLOAT, [1, UNITS]), ("frame", TensorProto.FLOAT, [1, CHANNELS]))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, UNITS])
         for name in ("h_next", "given")],
        [numpy_helper.from_array(values(4, UNITS), "g")],
    )  # fmt: skip
    nodes = [
        helper.make_node("Scan", ["begin", "x"], ["end", "all"], body=body, num_scan_inputs=1),
        node("MatMul", "end D" if last else "all D", "y"),
    ]
    both = UNITS + CHANNELS
    constants = {
        "begin": np.zeros((1, UNITS), np.float32), "G": values(2, both, UNITS),
        "N": values(3, both, UNITS), "D": values(5, UNITS, 2),
    }  # fmt: skip
    given = [1, 2] if last else ["time", 1, 2]
    return model(nodes, [("x", ["time", 1, CHANNELS])], [("y", given)], constants)
