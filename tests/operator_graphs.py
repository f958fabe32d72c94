"""Small step graphs, one for each operator that may be in a step, converted by TensorFlow."""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

from convert.schemes.scheme import FloatStep
from convert.step.contract_fields import contract_fields
from convert.step.step_module import to_float_graph
from device_runner.model.contract import Contract, Tolerance
from device_runner.model.flatbuffer import read_graph
from device_runner.model.golden import Golden
from device_runner.model.step_file import StepModel

INPUTS, UNITS = 6, 8
_values = np.random.default_rng(5).normal(0, 0.7, (UNITS, UNITS)).astype(np.float32)
MATRIX, ROW = tf.constant(_values), tf.constant(_values[:1])
INPUT_MATRIX = tf.constant(_values[:INPUTS])


def _batched(x, h):
    """Outer product of two rows, and its product with one of them, as in linear attention."""
    outer = tf.matmul(x[:, :, None], h[:, None, :])  # [1, 6, 8]
    return tf.matmul(outer, h[:, :, None])[:, :, 0]


# Operator (and what of it): a function of x [1, 6] and h [1, 8] whose graph holds it.
GRAPHS = {
    "ABS": lambda x, h: tf.abs(h),
    "ADD": lambda x, h: h + ROW,
    "ADD with RELU": lambda x, h: tf.nn.relu(h + ROW),
    "BATCH_MATMUL": _batched,
    "BATCH_MATMUL adjoint": lambda x, h: tf.matmul(
        tf.reshape(h, (1, 4, 2)), tf.reshape(h * 2.0, (1, 4, 2)), transpose_a=True
    ),
    "CONCATENATION": lambda x, h: tf.concat([x, h], -1),
    "DIV": lambda x, h: ROW / (h * h + 1.0),
    "ELU": lambda x, h: tf.nn.elu(h * 3.0),
    "EXP": lambda x, h: tf.exp(h),
    "FULLY_CONNECTED": lambda x, h: tf.matmul(x, INPUT_MATRIX) + ROW[0],
    "FULLY_CONNECTED with RELU6": lambda x, h: tf.nn.relu6(tf.matmul(h, MATRIX) * 1.0),
    "FULLY_CONNECTED of three axes": lambda x, h: tf.tensordot(
        tf.reshape(h, (1, 2, 4)), MATRIX[:4], 1
    ),
    "GATHER": lambda x, h: tf.gather(h, [5, 0, 5], axis=1),
    "GELU": lambda x, h: tf.nn.gelu(h * 3.0, approximate=False),
    "LEAKY_RELU": lambda x, h: tf.nn.leaky_relu(h, 0.3),
    "LOG": lambda x, h: tf.math.log(h * h + 0.1),
    "LOGISTIC": lambda x, h: tf.sigmoid(h * 20.0),
    "LOG_SOFTMAX": lambda x, h: tf.nn.log_softmax(h * 3.0),
    "MAXIMUM": lambda x, h: tf.maximum(h, ROW),
    "MEAN": lambda x, h: tf.reduce_mean(h, -1),
    "MINIMUM": lambda x, h: tf.minimum(h, ROW),
    "MUL": lambda x, h: h * ROW,
    "NEG": lambda x, h: -h,
    "RELU": lambda x, h: tf.nn.relu(h),
    "RELU6": lambda x, h: tf.nn.relu6(tf.split(h, 2, -1)[0]),
    "RESHAPE": lambda x, h: tf.reshape(h, (1, 2, 4)) * 2.0,
    "RSQRT": lambda x, h: tf.math.rsqrt(h * h + 0.1),
    "SLICE": lambda x, h: tf.slice(h, [0, 2], [1, 3]),
    "SLICE to the end": lambda x, h: tf.slice(h, [0, 2], [-1, -1]),
    "SOFTMAX": lambda x, h: tf.nn.softmax(h * 3.0),
    "SPLIT": lambda x, h: tf.split(h, 4, -1)[2] * 2.0,
    "SQRT": lambda x, h: tf.sqrt(h * h + 0.1),
    "STRIDED_SLICE": lambda x, h: h[:, 1:-1:2],
    "STRIDED_SLICE backwards": lambda x, h: h[:, ::-3],
    "STRIDED_SLICE of one": lambda x, h: h[:, -1] * 2.0,
    "SUB": lambda x, h: ROW - h,
    "SUM": lambda x, h: tf.reduce_sum(h * h, -1, keepdims=True),
    "SUM of two axes": lambda x, h: tf.reduce_sum(tf.reshape(h, (1, 2, 4)), (0, 2)),
    "TANH": lambda x, h: tf.tanh(h * 3.0),
    "TRANSPOSE": lambda x, h: tf.transpose(tf.reshape(h, (1, 2, 4)), (0, 2, 1)) * 2.0,
}


KERNEL = tf.reshape(MATRIX[:3, :6], (3, 3, 1, 2))
WIDE = tf.reshape(tf.concat([MATRIX, MATRIX * 2.0, MATRIX * 0.5, -MATRIX], -1), (UNITS, 32))
TWICE = tf.reshape(MATRIX[:3], (2, 3, 2, 2))


def _image(h):
    """[1, 2, 4, 1] of h."""
    return tf.reshape(h, (1, 2, 4, 1))


def _wide(h):
    """[1, 4, 4, 2] of h."""
    return tf.reshape(tf.matmul(h, WIDE), (1, 4, 4, 2))


def _flat(image):
    """One row of an image's values."""
    return tf.reshape(image, (1, int(np.prod(image.shape))))


GRAPHS |= {
    "AVERAGE_POOL_2D": lambda x, h: _flat(tf.nn.avg_pool2d(_wide(h), 3, 2, "SAME")),
    "CONV_2D": lambda x, h: _flat(tf.nn.conv2d(_image(h), KERNEL, (1, 2), "SAME")),
    "CONV_2D dilated with RELU": lambda x, h: _flat(
        tf.nn.relu(tf.nn.conv2d(_wide(h), TWICE[:, :2], 1, "VALID", dilations=(2, 3)) + ROW[0, :2])
    ),
    "DEPTHWISE_CONV_2D": lambda x, h: _flat(
        tf.nn.depthwise_conv2d(_wide(h), TWICE, (1, 1, 1, 1), "SAME")
    ),
    "MAX_POOL_2D": lambda x, h: _flat(tf.nn.max_pool2d(_wide(h), (2, 3), (1, 2), "SAME")),
    "PAD": lambda x, h: _flat(tf.pad(_image(h), ((0, 0), (1, 0), (0, 2), (0, 0)))) * 2.0,
    "RESIZE_BILINEAR": lambda x, h: _flat(tf.image.resize(_wide(h), (6, 3))),
    "RESIZE_NEAREST_NEIGHBOR": lambda x, h: _flat(
        tf.image.resize(_wide(h), (7, 3), tf.image.ResizeMethod.NEAREST_NEIGHBOR)
    ),
    "TRANSPOSE_CONV": lambda x, h: _flat(
        tf.nn.conv2d_transpose(_image(h), KERNEL[..., :1], (1, 4, 8, 1), 2, "SAME")
    ),
    "TRANSPOSE_CONV longer": lambda x, h: _flat(
        tf.nn.conv2d_transpose(_image(h), KERNEL[:2, :2, :, :1], (1, 5, 11, 1), (2, 3), "VALID")
        + ROW[0, 0]
    ),
}


class _Module(tf.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function
        self.step = tf.function(
            self._step,
            input_signature=[
                tf.TensorSpec((1, INPUTS), tf.float32, name="x"),
                tf.TensorSpec((1, UNITS), tf.float32, name="h"),
            ],
        )

    def _step(self, x, h):
        return {
            "y": self.function(x, h),
            "h": tf.tanh(tf.matmul(h, MATRIX) + tf.matmul(x, INPUT_MATRIX)),
        }


@functools.cache
def operator_flatbuffer(name: str) -> bytes:
    """Return the float32 step graph whose ``y`` is the named function."""
    return to_float_graph(_Module(GRAPHS[name]))


def operator_model(name: str, folder, flatbuffer: bytes | None = None) -> StepModel:
    """Make a step model whose ``y`` is the named function, without golden sequences; in float32, or
    ``flatbuffer``, which a scheme has made of its step graph."""
    flatbuffer = flatbuffer or operator_flatbuffer(name)
    graph = read_graph(flatbuffer)
    contract = Contract(
        **contract_fields(graph, FloatStep(flatbuffer, {})),
        task="",
        cell="",
        units=(UNITS,),
        scheme="float32",
        frame_period_s=1.0,
        frame_period_source="",
        channels=(),
        input_units="",
        output_meaning="",
        normalization={},
        metrics={},
        parameters=0,
        tolerance=Tolerance(0, 0, 0),
        model_sha256="00" * 32,
    )
    nothing = Golden({"x": np.zeros((0, INPUTS))}, {"y": np.zeros((0, 1))}, ())
    return StepModel(folder / "operator.tflite", flatbuffer, 0, graph, contract, (), nothing)


def outputs(backend, frames: np.ndarray) -> list[np.ndarray]:
    """Compute a backend's outputs step by step, as flat float32 arrays."""
    found = []
    backend.write_state({"h": np.zeros((1, UNITS), np.float32).tobytes()})
    for frame in frames:
        backend.put(frame.tobytes())
        backend.invoke()
        backend.advance()
        found.append(np.frombuffer(backend.get(), np.float32))
    return found


def random_frames(steps: int = 5) -> np.ndarray:
    """[steps, inputs] float32."""
    return np.random.default_rng(6).normal(0, 1, (steps, INPUTS)).astype(np.float32)
