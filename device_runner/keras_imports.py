"""Spare TensorFlow's start what Keras 3 imports beside it.

TensorFlow imports all of Keras 3 as it starts, and Keras imports scikit-learn, pandas and
Matplotlib where they are installed: for wrappers, data adapters and plots, which nothing here uses.
That is a third of the start.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import FrameType

EXTRAS = ("sklearn", "pandas", "matplotlib")
_KERAS = ("keras", "tf_keras")
_IMPORT_SYSTEM = ("importlib", "_frozen_importlib")


def leave_out_extras() -> None:
    """Let no module of Keras import EXTRAS in this process; other modules still can.

    Only for a process that runs nothing but a command of ours: a program of a user's may want
    what is left out.
    """
    if not any(isinstance(finder, _NotForKeras) for finder in sys.meta_path):
        sys.meta_path.insert(0, _NotForKeras())


class _NotForKeras:
    """Finds nothing, and ends the search where Keras asks for EXTRAS, as if they were missing."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        if name.partition(".")[0] in EXTRAS and _importer().partition(".")[0] in _KERAS:
            raise ModuleNotFoundError(f"{name} is left out of Keras", name=name)


def _importer() -> str:
    """Return the name of the module whose import statement is carried out."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if not name.startswith(_IMPORT_SYSTEM):
            return name
        frame = frame.f_back
    return ""
