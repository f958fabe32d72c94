"""Ctrl-C that is not lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable


def catch_interrupt() -> Callable[[], None]:
    """Remember Ctrl-C, and return a function that raises it.

    A KeyboardInterrupt that reaches Python inside a callback of TensorFlow, or while a process is
    forked, is lost. As every stage, epoch and step asks for it, it is only lost for a moment.
    """
    caught: list[int] = []

    def remember(number: int, frame: object) -> None:
        caught.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, remember)

    def check() -> None:
        if caught:
            raise KeyboardInterrupt

    return check
