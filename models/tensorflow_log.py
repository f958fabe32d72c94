"""Keeps TensorFlow's C++ chatter out of a user's terminal; Python errors still come through."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Discard what is written to the process' standard error, from Python or C++."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "w") as null:
            os.dup2(null.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        logger.setLevel(level)


def load_tensorflow() -> None:
    """Import TensorFlow and let it look for GPUs, without the messages of either."""
    with quiet():
        import tensorflow as tf

        tf.config.list_physical_devices()
