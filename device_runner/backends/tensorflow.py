"""The backend for TensorFlow's interpreter (``tf.lite``), for machines that have it anyway."""

from __future__ import annotations

import os
import warnings
from typing import Any

from device_runner.backends.backend import LoadOptions
from device_runner.backends.interpreter import InterpreterBackend, load_interpreter
from device_runner.backends.kernels import xnnpack_of_tensorflow
from device_runner.containment import in_child
from device_runner.errors import MissingRuntimeError, one_line
from device_runner.keras_imports import leave_out_extras
from device_runner.model.step_file import StepModel

NAME = "tensorflow"


def load(model: StepModel, options: LoadOptions) -> InterpreterBackend:
    """Load a step model with TensorFlow's own interpreter."""
    tf = _tensorflow()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tf.lite announces its move to LiteRT
        version: str = tf.__version__
        kernels = xnnpack_of_tensorflow(version)
        return load_interpreter(NAME, version, tf.lite.Interpreter, model, options, kernels)


def probe() -> str:
    """Return TensorFlow's version."""
    version: str = _tensorflow().__version__
    return version


def _tensorflow() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if in_child():
        leave_out_extras()
    try:
        import tensorflow as tf
    except ImportError as error:
        raise MissingRuntimeError(
            f"TensorFlow is not usable ({one_line(error)}); "
            "install it with 'pip install tensorflow'"
        ) from error
    return tf
