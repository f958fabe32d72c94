"""The interpreter inside TensorFlow (``tf.lite``), for a machine that has it anyway."""

from __future__ import annotations

import os
import warnings

from device_runner.backends.interpreter import InterpreterBackend, one_line, refused
from device_runner.contract import StepModel
from device_runner.errors import MissingRuntimeError


def load(model: StepModel, threads: int = 1) -> InterpreterBackend:
    """Load a step model with TensorFlow's own interpreter."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import tensorflow as tf
    except ImportError as error:
        raise MissingRuntimeError(
            f"TensorFlow is not usable ({one_line(error)}); "
            "install it with 'pip install tensorflow'"
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tf.lite announces its move to LiteRT
            interpreter = tf.lite.Interpreter(model_content=model.flatbuffer, num_threads=threads)
    except (RuntimeError, ValueError) as error:
        raise refused("tensorflow", tf.__version__, model, error) from error
    return InterpreterBackend("tensorflow", tf.__version__, interpreter, model)
