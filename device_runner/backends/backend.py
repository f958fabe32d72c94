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
from typing import Any

from device_runner.backends.host_step import HostMemory, HostStep
from device_runner.backends.windowed_step import WindowedStep
from device_runner.errors import BadModelError, one_line
from device_runner.model.frames import StepValues
from device_runner.model.names import PHASE_NAME
from device_runner.model.phases import phase_bytes
from device_runner.model.step_file import StepModel
from device_runner.model.stored_frames import stored_frames


@dataclass(frozen=True)
class LoadOptions:
    """How a model is to be loaded. A backend ignores the options that it has no use for.

    Args:
        threads: how many threads may compute one step.
        delegate: path of an external delegate's shared library.
        delegate_options: options for the delegate.
        device: names one of several accelerators.
        memory: megabytes that the model may take beyond its own tensors, where it is loaded in a
            child process; None for the default.
    """

    threads: int = 1
    delegate: str | None = None
    delegate_options: Mapping[str, str] = field(default_factory=dict)
    device: str | None = None
    memory: int | None = None


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
    #: Its integer kernels (:mod:`device_runner.backends.kernels`), which give the same bits
    #: wherever they have the same name; None if nothing is known of them.
    kernels: str | None = None
    #: Why "auto" chose it, in words; empty if it was named, or nothing comes before it.
    choice = ""
    #: Whether it rounds integers at each operator, as the model says, so that it can be compared
    #: with what another such runtime computed.
    rounds_each_operator = True

    def __init__(self, name: str, version: str) -> None:
        self.name = name
        self.version = version

    def step(self, frame: Any) -> bytes:
        """Do the four calls as one; a backend may have a faster way."""
        self.put(frame)
        self.invoke()
        self.advance()
        return self.get()

    def values_step(self, general: Callable[[Any], StepValues]) -> Callable[[Any], StepValues]:
        """Return the step from real values to real values, as :meth:`Stream.step` describes it.

        Args:
            general: the way that goes for every backend. One that can do more in a call of its own
                returns another function, which may leave rare cases to this one.
        """
        return general

    def another_stream(self) -> Backend | None:
        """Return the loaded model with a state of its own, at its initial state.

        The streams share nothing that a step changes, and different threads may step them at once.
        None if the runtime holds one state for each model that it loads.
        """
        return None

    @property
    def frame(self) -> int:
        """Number of the next frame since the reset, as Window.reduced counts it; 0 without one."""
        return 0

    @abc.abstractmethod
    def read_state(self) -> dict[str, bytes]:
        """Return the state that the next step starts from, as stored, by state name."""

    @abc.abstractmethod
    def write_state(self, state: Mapping[str, bytes]) -> None:
        """Set the state that the next step starts from; give all states, each in full."""

    def placement(self) -> Placement | None:
        """Return where the operators run, or None if the runtime does not tell."""
        return None


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
        self._windowed: WindowedStep | None = None
        steps = [
            HostStep(model.contract, memories[name], self._carried(phase))
            for phase, name in enumerate(self._phases)
        ]
        if len(steps) == 1:
            # Bound once, not looked up at each step: every Python instruction counts here.
            one: HostStep | WindowedStep = steps[0]
            if model.contract.window is not None:
                carried = self._carried(0)
                memory = memories[self._phases[0]]
                one = WindowedStep(model.contract, memory, carried, stored_frames(model))
                self._windowed = one
            self.put, self.invoke = one.put, one.invoke
            self.advance, self.get = one.advance, one.get
            self.step = one.step  # type: ignore[assignment, method-assign]
        else:
            self._bind_phases(steps)

    @property
    def frame(self) -> int:
        return 0 if self._windowed is None else self._windowed.frame

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

    def _bind_phases(self, steps: Sequence[HostStep]) -> None:
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
        if self._windowed is None and len(self._phases) == 1:
            return states
        return {**states, PHASE_NAME: phase_bytes(self._phase or self.frame)}

    def write_state(self, state: Mapping[str, bytes]) -> None:
        for memory in self.memories.values():
            for spec in self._contract.states:
                if spec.name in memory.inputs:
                    memory.inputs[spec.name][:] = state[spec.name]
        if self._windowed is not None:
            self._windowed.go_to(int.from_bytes(state[PHASE_NAME], "little"))
        elif len(self._phases) > 1:
            self._phase = int.from_bytes(state[PHASE_NAME], "little") % len(self._phases)


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
    reason = one_line(error) or "it gives no reason, as where memory is short; see --memory"
    return BadModelError(
        f"{model.path}: {name} {version} refuses the model ({reason}); "
        "use a newer runtime, or export with another scheme"
    )
