"""The interpreter inside TensorFlow (``tf.lite``), for a machine that has it anyway."""

from __future__ import annotations

import os
import warnings
from typing import Any

from device_runner.backends.backend import LoadOptions, one_line, refused
from device_runner.backends.interpreter import InterpreterBackend
from device_runner.contract import StepModel
from device_runner.errors import MissingRuntimeError

NAME = "tensorflow"


def load(model: StepModel, options: LoadOptions) -> InterpreterBackend:
    """Load a step model with TensorFlow's own interpreter."""
    tf = _tensorflow()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tf.lite announces its move to LiteRT
            interpreter = tf.lite.Interpreter(
                model_content=model.flatbuffer, num_threads=options.threads
            )
    except (RuntimeError, ValueError) as error:
        raise refused(NAME, tf.__version__, model, error) from error
    return InterpreterBackend(NAME, tf.__version__, interpreter, model)


def probe() -> str:
    """TensorFlow's version."""
    return _tensorflow().__version__


def _tensorflow() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import tensorflow as tf
    except ImportError as error:
        raise MissingRuntimeError(
            f"TensorFlow is not usable ({one_line(error)}); "
            "install it with 'pip install tensorflow'"
        ) from error
    return tf
