"""Whether a network is one step of itself: it takes its states as inputs and gives them as outputs.

Its sequences have one step. So a second axis of one element is time there, and may come and go. If
its inputs are frames with other axes alone, it has no time axis at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

_ONE_STEP: ContextVar[bool] = ContextVar("one_step", default=False)
_WITH_TIME: ContextVar[bool] = ContextVar("with_time", default=True)


@contextmanager
def of_one_step(is_one_step: bool, with_time: bool = True) -> Iterator[None]:
    """Make rules for a network of one step, if it is one.

    Args:
        with_time: whether its inputs have an axis of time, of one element.
    """
    tokens = _ONE_STEP.set(is_one_step), _WITH_TIME.set(with_time)
    try:
        yield
    finally:
        _ONE_STEP.reset(tokens[0])
        _WITH_TIME.reset(tokens[1])


def is_one_step() -> bool:
    """Tell whether rules are made for a network of one step."""
    return _ONE_STEP.get()


def has_time(shape: Sequence[int | None]) -> bool:
    """Tell whether a shape in Keras has a time axis: its second axis has no size.

    Example:
        >>> has_time((None, None, 8)), has_time((None, 8))
        (True, False)
    """
    if len(shape) > 2 and shape[1] == 1 and is_one_step() and _WITH_TIME.get():
        return True
    return len(shape) > 1 and shape[1] is None
