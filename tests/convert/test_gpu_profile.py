"""The GPU's profile against the GPU's answer: each operator of a step, put onto the GPU alone and
checked. Needs a Vulkan driver: 'make test-gpu'."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from convert.targets.check import check_file
from tests import operator_graphs

pytestmark = pytest.mark.gpu

# Operators that a step may get from an imported network, besides those of operator_graphs.
MORE = {
    "ABS": lambda x, h: tf.abs(h),
    "ARG_MAX": lambda x, h: tf.cast(tf.argmax(h, -1, tf.int32), tf.float32)[:, None],
    "AVERAGE_POOL_2D": lambda x, h: tf.nn.avg_pool2d(tf.reshape(h, (1, 2, 4, 1)), 2, 1, "VALID"),
    "BROADCAST_TO": lambda x, h: tf.broadcast_to(h, (4, 8)) * 1.0,
    "CAST": lambda x, h: tf.cast(tf.cast(h, tf.int32), tf.float32),
    "CONV_2D": lambda x, h: tf.nn.conv2d(
        tf.reshape(h, (1, 2, 4, 1)), tf.constant(np.ones((2, 2, 1, 3), np.float32)), 1, "VALID"
    ),
    "COS": lambda x, h: tf.cos(h),
    "CUMSUM": lambda x, h: tf.cumsum(h, axis=1),
    "DEPTHWISE_CONV_2D": lambda x, h: tf.nn.depthwise_conv2d(
        tf.reshape(h, (1, 2, 2, 2)), tf.constant(np.ones((2, 2, 2, 1), np.float32)), [1] * 4,
        "VALID",
    ),
    "ELU": lambda x, h: tf.nn.elu(h),
    "FLOOR": lambda x, h: tf.floor(h),
    "GATHER": lambda x, h: tf.gather(
        operator_graphs.MATRIX, tf.cast(tf.reshape(h, (8,)), tf.int32)
    ),
    "GATHER of two axes": lambda x, h: tf.gather(operator_graphs.MATRIX, tf.cast(x, tf.int32)),
    "GELU": lambda x, h: tf.nn.gelu(h),
    "GREATER": lambda x, h: tf.cast(h > 0.0, tf.float32),
    "HARD_SWISH": lambda x, h: h * tf.nn.relu6(h + 3.0) / 6.0,
    "LEAKY_RELU": lambda x, h: tf.nn.leaky_relu(h),
    "LOG": lambda x, h: tf.math.log(h * h + 1.0),
    "MAX_POOL_2D": lambda x, h: tf.nn.max_pool2d(tf.reshape(h, (1, 2, 4, 1)), 2, 1, "VALID"),
    "ONE_HOT": lambda x, h: tf.one_hot(tf.cast(tf.reshape(h, (8,)), tf.int32), 4),
    "PACK": lambda x, h: tf.stack([h, h * 2.0], 1),
    "PAD of two axes": lambda x, h: tf.pad(h, [[0, 0], [1, 2]]),
    "PAD of three axes": lambda x, h: tf.pad(tf.reshape(h, (1, 4, 2)), [[0, 0], [1, 2], [0, 0]]),
    "POW": lambda x, h: tf.pow(h * h + 1.0, operator_graphs.ROW * operator_graphs.ROW),
    "REDUCE_MAX": lambda x, h: tf.reduce_max(h, -1, keepdims=True),
    "SELECT": lambda x, h: tf.where(h > 0.0, h, operator_graphs.ROW),
    "SIN": lambda x, h: tf.sin(h),
    "SPLIT_V": lambda x, h: tf.split(h, [3, 5], -1)[1] * 2.0,
    "SQUARE": lambda x, h: tf.square(h),
    "SQUARED_DIFFERENCE": lambda x, h: tf.math.squared_difference(h, operator_graphs.ROW),
    "STRIDED_SLICE of the batch": lambda x, h: h[0] * 1.0,
    "TILE": lambda x, h: tf.tile(h, [1, 2]),
    "UNPACK": lambda x, h: tf.unstack(tf.reshape(h, (1, 2, 4)), axis=1)[1] * 2.0,
}  # fmt: skip
ASK = """
import os, sys
from device_runner.backends.litert_gpu import _check_device, _compile
_check_device("")
compiled, log = _compile(open(sys.argv[1], "rb").read())
taken = compiled is not None and compiled.is_fully_accelerated()
print("TAKEN" if taken else "REFUSED", flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("name", [*operator_graphs.GRAPHS, *MORE])
def test_the_profile_says_what_the_gpu_does(name, tmp_path, monkeypatch):
    monkeypatch.setattr(operator_graphs, "GRAPHS", {**operator_graphs.GRAPHS, **MORE})
    path = tmp_path / "operator.tflite"
    path.write_bytes(operator_graphs.operator_model(name, tmp_path).flatbuffer)
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(path)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    answer = done.stdout.split()
    assert answer, done.stderr[-500:]
    report = check_file(path, "gpu")
    assert report.fits == (answer[-1] == "TAKEN"), report.operators
