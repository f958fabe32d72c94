"""What a runtime must offer to step a model.

One step is four calls, which the benchmark times separately::

    put(frame)    copy the inputs' bytes to where the runtime reads them
    invoke()      compute the step
    advance()     hand the new state on as the next step's input
    y = get()     return the outputs' bytes

All bytes are in the stored dtype of the model's input and output tensors; nothing is converted.
The bytes of several inputs follow each other in the contract's order, and so do several outputs'.
"""

from __future__ import annotations

import abc
import ctypes
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from device_runner.errors import BadModelError, one_line
from device_runner.model.contract import Contract
from device_runner.model.names import PHASE_NAME
from device_runner.model.phases import phase_bytes
from device_runner.model.step_file import StepModel

# Views are written with this slice, as [:] makes a new one each time.
_WHOLE = slice(None)


@dataclass(frozen=True)
class LoadOptions:
    """How a model is to be loaded. A backend ignores the options that it has no use for.

    Args:
        threads: how many threads may compute one step.
        delegate: path of an external delegate's shared library.
        delegate_options: options for the delegate.
        device: names one of several accelerators.
    """

    threads: int = 1
    delegate: str | None = None
    delegate_options: Mapping[str, str] = field(default_factory=dict)
    device: str | None = None


@dataclass(frozen=True)
class Placement:
    """Which operators run on the accelerator and which on the CPU.

    Both are operator names in the order of the graph. A runtime that does not tell has no
    placement.
    """

    accelerator: str
    delegated: tuple[str, ...]
    on_cpu: tuple[str, ...]


class Backend(abc.ABC):
    """A step model loaded into a runtime; see the module for the four calls.

    Args:
        name: as listed in :data:`device_runner.backends.BACKENDS`.
        version: the runtime's version.
    """

    #: Set by subclasses. These are attributes instead of methods, because a small model's step
    #: costs no more than some Python calls.
    put: Callable[[Any], None]
    invoke: Callable[[], None]
    advance: Callable[[], None]
    get: Callable[[], bytes]
    #: Whether it was chosen for an accelerator, so that using only the CPU is a failure.
    wants_accelerator = False

    def __init__(self, name: str, version: str) -> None:
        self.name = name
        self.version = version

    def step(self, frame: Any) -> bytes:
        """Do the four calls as one; a backend may have a faster way."""
        self.put(frame)
        self.invoke()
        self.advance()
        return self.get()

    @abc.abstractmethod
    def read_state(self) -> dict[str, bytes]:
        """Return the state that the next step starts from, as stored, by state name."""

    @abc.abstractmethod
    def write_state(self, state: Mapping[str, bytes]) -> None:
        """Set the state that the next step starts from; give all states, each in full."""

    def placement(self) -> Placement | None:
        """Return where the operators run, or None if the runtime does not tell."""
        return None


class HostMemory(NamedTuple):
    """Where a signature's tensors lie in memory, as writable byte views by signature name.

    ``inputs`` has the model's inputs and the states that it takes, ``outputs`` the outputs and the
    states that it gives. ``invoke`` computes the latter from the former.
    """

    inputs: Mapping[str, memoryview]
    outputs: Mapping[str, memoryview]
    invoke: Callable[[], None]


def view_of_memory(address: int, size: int, owner: object) -> memoryview:
    """Make a writable view of the bytes at an address that a runtime gave.

    Args:
        address: address of the first byte.
        size: size in bytes.
        owner: frees this memory when it is collected. The view keeps it alive, so that a step that
            outlives its stream does not read memory that was given back.
    """
    memory = (ctypes.c_ubyte * size).from_address(address)
    memory.owner = owner  # type: ignore[attr-defined]
    return memoryview(memory).cast("B")


class HostMemoryBackend(Backend):
    """A backend whose tensors lie at fixed addresses that the CPU reads and writes.

    Args:
        memories: the memory of each of the contract's phases, by signature name.
    """

    def __init__(
        self, name: str, version: str, model: StepModel, memories: Mapping[str, HostMemory]
    ) -> None:
        super().__init__(name, version)
        self.memories = memories
        self._contract = model.contract
        self._phases = model.contract.phases
        self._phase = 0
        steps = [
            _HostStep(model.contract, memories[name], self._carried(phase))
            for phase, name in enumerate(self._phases)
        ]
        if len(steps) == 1:
            # Bound once, not looked up at each step: every Python instruction counts here.
            (one,) = steps
            self.put, self.invoke = one.put, one.invoke
            self.advance, self.get = one.advance, one.get
            self.step = one.step  # type: ignore[assignment, method-assign]
        else:
            self._bind_phases(steps)

    def _carried(self, phase: int) -> list[tuple[memoryview, memoryview]]:
        """List for each state that a phase gives where it goes and where it comes from.

        It goes to each signature that reads it before it is given again.
        """
        pairs = []
        given = self.memories[self._phases[phase]].outputs
        for state in self._contract.states:
            if phase % state.period:
                continue
            next_phases = range(phase + 1, phase + state.period + 1)
            readers = {self._phases[number % len(self._phases)] for number in next_phases}
            for name in sorted(readers):
                if state.name in self.memories[name].inputs:
                    pairs.append((self.memories[name].inputs[state.name], given[state.name]))
        return pairs

    def _bind_phases(self, steps: Sequence[_HostStep]) -> None:
        """Bind the four calls and the step if each phase of a cycle has its own."""
        count = len(steps)
        whole = [step.step for step in steps]

        def step(frame: Any) -> bytes:
            phase = self._phase
            self._phase = (phase + 1) % count
            return whole[phase](frame)

        def advance() -> None:
            steps[self._phase].advance()
            self._phase = (self._phase + 1) % count

        self.put = lambda frame: steps[self._phase].put(frame)
        self.invoke = lambda: steps[self._phase].invoke()
        self.advance = advance
        self.get = lambda: steps[self._phase - 1].get()
        self.step = step  # type: ignore[method-assign]

    def _state_view(self, name: str) -> memoryview:
        """Return where the next signature that takes a state will read it; "step" takes all."""
        phases = itertools.islice(itertools.cycle(self._phases), self._phase, None)
        return next(
            self.memories[phase].inputs[name]
            for phase in phases
            if name in self.memories[phase].inputs
        )

    def read_state(self) -> dict[str, bytes]:
        states = {
            state.name: self._state_view(state.name).tobytes() for state in self._contract.states
        }
        return {**states, PHASE_NAME: phase_bytes(self._phase)} if len(self._phases) > 1 else states

    def write_state(self, state: Mapping[str, bytes]) -> None:
        for memory in self.memories.values():
            for spec in self._contract.states:
                if spec.name in memory.inputs:
                    memory.inputs[spec.name][:] = state[spec.name]
        if len(self._phases) > 1:
            self._phase = int.from_bytes(state[PHASE_NAME], "little") % len(self._phases)


class _HostStep:
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


def distribution_version(name: str) -> str:
    """Return an installed distribution's version; "unknown" if it came under another name."""
    # Imported here: it imports parsers of mail headers, which take a third of NumPy's import time.
    import importlib.metadata

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def refused(name: str, version: str, model: StepModel, error: Exception) -> BadModelError:
    """Make the one-line error for a runtime that refuses a model."""
    return BadModelError(
        f"{model.path}: {name} {version} refuses the model ({one_line(error)}); "
        "use a newer runtime, or export with another scheme"
    )
