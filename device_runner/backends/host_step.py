"""The four calls of a step on memory that the CPU reads and writes, bound as closures."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from device_runner.model.contract import Contract

# Views are written with this slice, as [:] makes a new one each time.
_WHOLE = slice(None)


class HostMemory(NamedTuple):
    """Where a signature's tensors lie in memory, as writable byte views by signature name.

    ``inputs`` has the model's inputs and the states that it takes, ``outputs`` the outputs and the
    states that it gives. ``invoke`` computes the latter from the former.
    """

    inputs: Mapping[str, memoryview]
    outputs: Mapping[str, memoryview]
    invoke: Callable[[], None]


class HostStep:
    """The four calls, and all as one, on one signature's memory.

    Args:
        carried: pairs of where a state goes and where it comes from.
    """

    def __init__(
        self,
        contract: Contract,
        memory: HostMemory,
        carried: Sequence[tuple[memoryview, memoryview]],
    ) -> None:
        frames = [memory.inputs[spec.name] for spec in contract.inputs]
        results = [memory.outputs[spec.name] for spec in contract.outputs]
        self.invoke = memory.invoke
        self.advance = _bind_advance(carried)
        # One input and one output need no loop: every Python instruction counts here.
        self.put = _bind_put(frames[0]) if len(frames) == 1 else _bind_put_several(frames)
        self.get: Callable[[], bytes] = (
            results[0].tobytes if len(results) == 1 else lambda: b"".join(results)
        )
        self.step: Callable[[Any], bytes] = (
            _bind_step(frames[0], results[0], memory.invoke, carried)
            if len(frames) == len(results) == 1
            else self._four_calls
        )

    def _four_calls(self, frame: Any) -> bytes:
        self.put(frame)
        self.invoke()
        self.advance()
        return self.get()


def _bind_put(view: memoryview) -> Callable[[Any], None]:
    whole = _WHOLE

    def put(frame: Any) -> None:
        view[whole] = frame

    return put


def _bind_put_several(views: Sequence[memoryview]) -> Callable[[Any], None]:
    places = frame_places([view.nbytes for view in views])
    pairs = list(zip(views, places, strict=True))

    def put(frame: Any) -> None:
        frame = memoryview(frame)
        for view, place in pairs:
            view[:] = frame[place]

    return put


def frame_places(sizes: Sequence[int]) -> list[slice]:
    """Find where in a frame each input's bytes are, from their sizes."""
    ends = list(itertools.accumulate(sizes))
    return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]


def _bind_step(
    x: memoryview,
    y: memoryview,
    invoke: Callable[[], None],
    states: Sequence[tuple[memoryview, memoryview]],
) -> Callable[[Any], bytes]:
    """Bind the whole step as one closure over byte views: the fastest that a Python loop gets.

    It is written out for one and for two states, which most cells have: a loop costs as much as the
    copy in it.
    """
    read = y.tobytes  # twice as fast as bytes(y)
    whole = _WHOLE

    if len(states) == 1:
        ((state_in, state_out),) = states

        def step(frame: Any) -> bytes:
            x[whole] = frame
            invoke()
            state_in[whole] = state_out
            return read()

    elif len(states) == 2:
        (first_in, first_out), (second_in, second_out) = states

        def step(frame: Any) -> bytes:
            x[whole] = frame
            invoke()
            first_in[whole] = first_out
            second_in[whole] = second_out
            return read()

    else:
        advance = _bind_advance(states)

        def step(frame: Any) -> bytes:
            x[whole] = frame
            invoke()
            advance()
            return read()

    return step


def _bind_advance(states: Sequence[tuple[memoryview, memoryview]]) -> Callable[[], None]:
    whole = _WHOLE

    def advance() -> None:
        for state_in, state_out in states:
            state_in[whole] = state_out

    return advance
