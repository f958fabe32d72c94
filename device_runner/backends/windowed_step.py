"""The four calls of a step that answers for its last frames; see :mod:`device_runner.model.window`.

A lane begins anew in ``advance``, when its state has just been handed on. So the state that the
next step starts from, which can be saved, is already the one that the contract describes.

A window that is computed as a whole is computed for its answers alone. At other frames the new
frame is stored behind the last ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from device_runner.backends.host_step import HostMemory, HostStep
from device_runner.model.contract import Contract
from device_runner.model.window import Window

_WHOLE = slice(None)

#: A row of a state's memory, and the bytes that it begins with.
_Beginning = tuple[memoryview, bytes]


class _Turn(NamedTuple):
    """See :class:`device_runner.model.window.Turn`: what to write, what to return, what follows."""

    beginning: tuple[_Beginning, ...]
    read: Callable[[], bytes]
    following: int


class _Move(NamedTuple):
    """The memory of an input, and of the frames that a state holds of it: all but the last, all but
    the first, and the last."""

    x: memoryview
    earlier: memoryview
    later: memoryview
    last: memoryview


class WindowedStep:
    """The four calls, and all as one, on the memory of a model with a window.

    ``get`` and ``step`` return b"" at a frame that gives nothing.

    Args:
        contract: it has a window.
        memory: of the signature "step".
        carried: pairs of where a state goes and where it comes from.
        stored: by state, the input whose last frames it holds
            (:func:`device_runner.model.stored_frames.stored_frames`); empty if every frame is to be
            computed.
    """

    def __init__(
        self,
        contract: Contract,
        memory: HostMemory,
        carried: Sequence[tuple[memoryview, memoryview]],
        stored: Mapping[str, str],
    ) -> None:
        if contract.window is None:
            raise ValueError("the contract has no window")
        self.window = contract.window
        #: The next frame's number, as Window.reduced counts it.
        self.frame = 0
        self._turns = _turns(contract, self.window, memory)
        self._read: Callable[[], bytes] = bytes
        plain = HostStep(contract, memory, carried)
        self.put, self.invoke = plain.put, plain.invoke
        self._carry = plain.advance
        self.step: Callable[[Any], bytes] = self._four_calls
        one_input = len(contract.inputs) == 1
        if stored:
            moves = _moves(memory, stored)
            self.invoke = self._bind_due(memory.invoke)
            self._carry = _bind_store(moves)
            if one_input:
                self.step = self._bind_stored_step(moves[0], memory.invoke)
        elif one_input and 1 <= len(carried) <= 2:
            x = memory.inputs[contract.input.name]
            self.step = self._bind_step(x, memory.invoke, carried)

    def go_to(self, frame: int) -> None:
        """Set the next frame's number."""
        self.frame = self.window.reduced(frame)

    def advance(self) -> None:
        """Hand the state on, begin a lane anew, and count the frame."""
        self._carry()
        beginning, self._read, self.frame = self._turns[self.frame]
        for row, initial in beginning:
            row[:] = initial

    def get(self) -> bytes:
        """Return the bytes of the last frame's answer, or none."""
        return self._read()

    def _four_calls(self, frame: Any) -> bytes:
        self.put(frame)
        self.invoke()
        self.advance()
        return self._read()

    def _bind_step(
        self,
        x: memoryview,
        invoke: Callable[[], None],
        states: Sequence[tuple[memoryview, memoryview]],
    ) -> Callable[[Any], bytes]:
        """Bind the whole step as one closure, as :mod:`device_runner.backends.host_step` does."""
        turns, whole = self._turns, _WHOLE
        (first_in, first_out), (last_in, last_out) = states[0], states[-1]
        two = len(states) > 1

        def step(frame: Any) -> bytes:
            beginning, read, following = turns[self.frame]
            x[whole] = frame
            invoke()
            first_in[whole] = first_out
            if two:
                last_in[whole] = last_out
            for row, initial in beginning:
                row[whole] = initial
            self.frame = following
            return read()

        return step

    def _bind_due(self, invoke: Callable[[], None]) -> Callable[[], None]:
        """Bind an invoke that computes answers alone."""
        turns = self._turns

        def invoke_if_due() -> None:
            if turns[self.frame].read is not bytes:
                invoke()

        return invoke_if_due

    def _bind_stored_step(self, move: _Move, invoke: Callable[[], None]) -> Callable[[Any], bytes]:
        """Bind the whole step of one input as one closure."""
        turns, whole = self._turns, _WHOLE
        x, earlier, later, last = move

        def step(frame: Any) -> bytes:
            _, read, following = turns[self.frame]
            x[whole] = frame
            if read is not bytes:
                invoke()
            earlier[whole] = later
            last[whole] = x
            self.frame = following
            return read()

        return step


def _moves(memory: HostMemory, stored: Mapping[str, str]) -> list[_Move]:
    """Cut the memory of states that hold frames."""
    found = []
    for state, name in stored.items():
        x, frames = memory.inputs[name], memory.inputs[state]
        end = frames.nbytes - x.nbytes
        found.append(_Move(x, frames[:end], frames[x.nbytes :], frames[end:]))
    return found


def _bind_store(moves: Sequence[_Move]) -> Callable[[], None]:
    def store() -> None:
        for x, earlier, later, last in moves:
            earlier[:] = later
            last[:] = x

    return store


def _turns(contract: Contract, window: Window, memory: HostMemory) -> list[_Turn]:
    """Bind the turns of a window to rows of a step's memory."""
    lanes = max(window.lanes, 1)
    outputs = [_rows(memory.outputs[spec.name], lanes) for spec in contract.outputs]
    reads = [_bind_read([rows[lane] for rows in outputs]) for lane in range(lanes)]
    beginnings: list[tuple[_Beginning, ...]] = []
    if window.lanes:
        states = [
            (_rows(memory.inputs[state.name], lanes), state.initial_row(lanes))
            for state in contract.states
        ]
        beginnings = [
            tuple((rows[lane], initial) for rows, initial in states) for lane in range(lanes)
        ]
    return [
        _Turn(
            () if turn.beginning is None else beginnings[turn.beginning],
            bytes if turn.given is None else reads[turn.given],
            turn.following,
        )
        for turn in window.turns()
    ]


def _rows(view: memoryview, count: int) -> list[memoryview]:
    """Cut a tensor's memory into the rows of its first axis."""
    size = view.nbytes // count
    return [view[row * size : (row + 1) * size] for row in range(count)]


def _bind_read(views: Sequence[memoryview]) -> Callable[[], bytes]:
    return views[0].tobytes if len(views) == 1 else lambda: b"".join(views)
