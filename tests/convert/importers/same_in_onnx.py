"""The networks of :mod:`tests.convert.importers.same_weights` in ONNX, written operator by
operator."""

from __future__ import annotations

import numpy as np

from tests.convert.importers.onnx_networks import model, node
from tests.convert.importers.same_weights import weights_of

TO_FIRST, TO_CHANNELS = {"perm": [1, 0, 2]}, {"perm": [0, 2, 1]}


def _lstm(name, arrays):
    """From Keras' gates i, f, c, o to i, o, f, c."""

    def ordered(array):
        i, f, c, o = np.split(array, 4)
        return np.concatenate([i, o, f, c])

    kernel, recurrent, bias = arrays
    return {
        f"{name}_W": ordered(kernel.T)[np.newaxis],
        f"{name}_R": ordered(recurrent.T)[np.newaxis],
        f"{name}_B": np.concatenate([ordered(bias), np.zeros_like(bias)])[np.newaxis],
    }


def _gru(name, arrays):
    """The gates are in the same order; of both directions, if there are two."""
    ways = [arrays[start : start + 3] for start in range(0, len(arrays), 3)]
    return {
        f"{name}_W": np.stack([way[0].T for way in ways]),
        f"{name}_R": np.stack([way[1].T for way in ways]),
        f"{name}_B": np.stack([way[2].ravel() for way in ways]),
    }


def _conv(name, arrays):
    kernel = np.ascontiguousarray(np.moveaxis(arrays[0], (-1, -2), (0, 1)))
    return {f"{name}_K": kernel, **({f"{name}_k": arrays[1]} if len(arrays) > 1 else {})}


def _dense(name, arrays):
    return {f"{name}_D": arrays[0], f"{name}_b": arrays[1]}


def silero():
    """A step of one chunk; both states are one value, as in the original."""
    w = weights_of("Silero")
    nodes, constants, last = [node("Transpose", "x", "r", **TO_CHANNELS)], {}, "r"
    for number, stride in enumerate((1, 2, 2, 2)):
        name = f"conv_{number}"
        constants |= _conv(name, w[name])
        nodes += [
            node("Conv", f"{last} {name}_K {name}_k", f"a{number}", kernel_shape=[3],
                 strides=[stride], pads=[1, 1]),
            node("Relu", f"a{number}", f"r{number}"),
        ]  # fmt: skip
        last = f"r{number}"
    nodes += [
        node("Squeeze", f"{last} two", "flat"),
        node("Unsqueeze", "flat zero", "xt"),
        node("Split", "state", "h c", axis=0),
        node("LSTM", "xt cell_W cell_R cell_B  h c", "Y Yh Yc", hidden_size=16),
        node("Concat", "Yh Yc", "stateN", axis=0),
        node("Squeeze", "Yh zero", "hs"),
        node("Relu", "hs", "hr"),
        node("Gemm", "hr speech_D speech_b", "m"),
        node("Sigmoid", "m", "y"),
    ]
    constants |= {**_lstm("cell", w["cell"]), **_dense("speech", w["speech"]),
                  "zero": np.array([0]), "two": np.array([2])}  # fmt: skip
    state = [2, "batch", 16]
    inputs = [("x", ["batch", 8, 17]), ("state", state)]
    return model(nodes, inputs, [("y", ["batch", 1]), ("stateN", state)], constants)


def dtln():
    """A step of one frame; all states are one value of four axes, as in the original."""
    w = weights_of("DTLN")
    nodes = [
        node("Transpose", "x", "xc", **TO_CHANNELS),
        node("Conv", "xc encoder_K", "code_c", kernel_shape=[1]),
        node("Transpose", "code_c", "code", **TO_CHANNELS),
        node("LayerNormalization", "code gain shift", "normal", axis=-1, epsilon=1e-7),
        node("Transpose", "normal", "n1", **TO_FIRST),
        node("Split", "states", "s1 s2 s3 s4", axis=0),
        node("LSTM", "n1 lstm_1_W lstm_1_R lstm_1_B  s1 s2", "Y1 h1 c1", hidden_size=12),
        node("Squeeze", "Y1 one", "n2"),
        node("LSTM", "n2 lstm_2_W lstm_2_R lstm_2_B  s3 s4", "Y2 h2 c2", hidden_size=12),
        node("Squeeze", "Y2 one", "n3"),
        node("Transpose", "n3", "n4", **TO_FIRST),
        node("MatMul", "n4 mask_D", "m0"),
        node("Add", "m0 mask_b", "m1"),
        node("Sigmoid", "m1", "mask"),
        node("Mul", "code mask", "masked"),
        node("Transpose", "masked", "masked_c", **TO_CHANNELS),
        node("Conv", "masked_c decoder_K", "y_c", kernel_shape=[1]),
        node("Transpose", "y_c", "y", **TO_CHANNELS),
        node("Concat", "h1 c1 h2 c2", "states_out", axis=0),
    ]
    constants = {
        **_conv("encoder", w["encoder"]), **_conv("decoder", w["decoder"]),
        **_lstm("lstm_1", w["lstm_1"]), **_lstm("lstm_2", w["lstm_2"]), **_dense("mask", w["mask"]),
        "gain": w["norm"][0], "shift": w["norm"][1], "one": np.array([1]),
    }  # fmt: skip
    state = [4, 1, 12]
    inputs = [("x", [1, 1, 32]), ("states", state)]
    return model(nodes, inputs, [("y", [1, 1, 32]), ("states_out", state)], constants)


def gtcrn():
    """A step of one frame, whose convolution keeps its past in a cache."""
    w = weights_of("GTCRN")
    nodes = [
        node("Transpose", "x", "xc", perm=[0, 3, 1, 2]),
        node("Concat", "conv_cache xc", "seen", axis=2),
        node("Slice", "seen one end axis", "conv_cache_out"),
        node("Conv", "seen conv_K conv_k", "c0", kernel_shape=[3, 3], strides=[1, 2],
             pads=[0, 1, 0, 1]),
        node("BatchNormalization", "c0 gain shift mean variance", "c1"),
        node("PRelu", "c1 slopes", "c2"),
        node("Squeeze", "c2 axis", "c3"),
        node("Transpose", "c3", "bands", perm=[2, 0, 1]),
        node("Split", "bands", "low high", axis=2),
    ]  # fmt: skip
    for name in ("low", "high"):
        nodes += [
            node("GRU", f"{name} {name}_W {name}_R {name}_B", f"{name}_Y", hidden_size=2,
                 direction="bidirectional", linear_before_reset=1),
            node("Transpose", f"{name}_Y", f"{name}_t", perm=[0, 2, 1, 3]),
            node("Reshape", f"{name}_t banded", f"{name}_r"),
        ]  # fmt: skip
    nodes += [
        node("Concat", "low_r high_r", "along", axis=2),
        node("Add", "bands along", "added"),
        node("Transpose", "added", "added_t", **TO_FIRST),
        node("Reshape", "added_t flat", "f"),
        node("Split", "f", "fa fb", axis=2),
        node("GRU", "fa time_a_W time_a_R time_a_B  ha", "Ya ha_out", hidden_size=24,
             linear_before_reset=1),
        node("GRU", "fb time_b_W time_b_R time_b_B  hb", "Yb hb_out", hidden_size=24,
             linear_before_reset=1),
        node("Concat", "ha_out hb_out", "both", axis=2),
        node("MatMul", "both mask_D", "m0"),
        node("Add", "m0 mask_b", "m1"),
        node("Tanh", "m1", "m2"),
        node("Reshape", "m2 framed", "mask"),
        node("Mul", "mask x", "y"),
    ]  # fmt: skip
    norm = dict(zip(("gain", "shift", "mean", "variance"), w["norm"], strict=True))
    constants = {
        **_conv("conv", w["conv"]), **norm, "slopes": w["prelu"][0].reshape(8, 1, 1),
        **_gru("low", w["low"]), **_gru("high", w["high"]), **_gru("time_a", w["time_a"]),
        **_gru("time_b", w["time_b"]), **_dense("mask", w["mask"]), "one": np.array([1]),
        "end": np.array([9]), "axis": np.array([2]), "banded": np.array([8, 1, 4]),
        "flat": np.array([1, 1, 64]), "framed": np.array([1, 1, 16, 2]),
    }  # fmt: skip
    states = [("conv_cache", [1, 2, 2, 16]), ("ha", [1, 1, 24]), ("hb", [1, 1, 24])]
    frame = [1, 1, 16, 2]
    given = [("y", frame), *((f"{name}_out", shape) for name, shape in states)]
    return model(nodes, [("x", frame), *states], given, constants)


def _over_time(name, given, result, units):
    """A GRU over [1, time, channels]."""
    return [
        node("Transpose", given, f"{name}_t", **TO_FIRST),
        node("GRU", f"{name}_t {name}_W {name}_R {name}_B", f"{name}_Y", hidden_size=units,
             linear_before_reset=1),
        node("Squeeze", f"{name}_Y one", f"{name}_s"),
        node("Transpose", f"{name}_s", result, **TO_FIRST),
    ]  # fmt: skip


def _product(name, given, result, function=""):
    return [
        node("MatMul", f"{given} {name}_D", f"{name}_m"),
        node("Add", f"{name}_m {name}_b", f"{name}_a" if function else result),
        *([node(function, f"{name}_a", result)] if function else []),
    ]


def rnnoise():
    w = weights_of("RNNoise")
    nodes = [
        *_product("dense", "x", "d", "Tanh"),
        *_over_time("vad_gru", "d", "v", 24),
        *_product("vad", "v", "voice", "Sigmoid"),
        node("Concat", "d v x", "dvx", axis=2),
        *_over_time("noise_gru", "dvx", "n", 48),
        node("Concat", "v n x", "vnx", axis=-1),
        *_over_time("denoise_gru", "vnx", "g", 96),
        *_product("gains", "g", "y", "Sigmoid"),
    ]
    constants = {"one": np.array([1])}
    for name in ("dense", "vad", "gains"):
        constants |= _dense(name, w[name])
    for name in ("vad_gru", "noise_gru", "denoise_gru"):
        constants |= _gru(name, w[name])
    outputs = [("y", [1, "time", 22]), ("voice", [1, "time", 1])]
    return model(nodes, [("x", [1, "time", 42])], outputs, constants)


def neuralpi():
    w = weights_of("NeuralPi")
    nodes = [
        node("Transpose", "x", "xt", **TO_FIRST),
        node("LSTM", "xt lstm_W lstm_R lstm_B", "Y", hidden_size=20),
        node("Squeeze", "Y one", "s"),
        node("Transpose", "s", "h", **TO_FIRST),
        *_product("dense", "h", "d"),
        node("Add", "d x", "y"),
    ]
    constants = {**_lstm("lstm", w["lstm"]), **_dense("dense", w["dense"]), "one": np.array([1])}
    return model(nodes, [("x", [1, "time", 1])], [("y", [1, "time", 1])], constants)


MADE = {
    "Silero": silero, "DTLN": dtln, "GTCRN": gtcrn, "RNNoise": rnnoise, "NeuralPi": neuralpi,
}  # fmt: skip
