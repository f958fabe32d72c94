"""The state loop: step models through streams of inputs."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.backends import AUTOMATIC, load_backend
from device_runner.backends.backend import Backend, LoadOptions
from device_runner.errors import BadInputError
from device_runner.model.frames import (
    StepValues,
    bind_decode,
    bind_decode_answer,
    bind_decode_rows,
    bind_encode,
    check_finite,
    decode_sequence,
    stored_frames,
)
from device_runner.model.input_checks import check_inputs
from device_runner.model.names import PHASE_NAME
from device_runner.model.rows import with_rows_anew
from device_runner.model.step_file import StepModel, load_step_model

# A saved state begins with this. Then come the SHA-256 of the model's flatbuffer, that of the
# states, and the states in the contract's order.
STATE_MAGIC = b"edgestep state 1\n"
_HASH_BYTES = hashlib.sha256().digest_size


class Stream:
    """Steps a model through a stream of inputs, carrying the state from step to step.

    Example::

        stream = Stream("gru-64-s1-int8.tflite")
        for frame in frames:            # each a vector in the input's real units
            scores = stream.step(frame)

    The state is never dequantized. Its bytes are handed from the output to the input, on an
    accelerator without leaving it.

    A model with a window answers for its last frames, at some frames only
    (:mod:`device_runner.model.window`); :attr:`answered` tells whether the last step did.

    A model that takes rows (:attr:`Contract.rows`) steps as many independent streams a call: what
    is [inputs] and [outputs] below has a row for each of them, [rows, inputs] and [rows, outputs],
    and :meth:`reset` begins some of them anew.

    One stream belongs to one thread at a time. For many streams on one loaded model, perhaps from
    several threads, see :class:`Streams`.

    Args:
        model: path of a .tflite step model, or one already loaded.
        backend: name of the runtime, or "auto" for the first that is installed.
        options: threads, delegate, device.

    Raises:
        BadModelError: the file is not a step model, or the runtime refuses it.
        MissingRuntimeError: the runtime, or what it needs, is not installed.
        UnknownBackendError: there is no such backend.
    """

    #: One step as stored. It takes the bytes of all inputs, one after another in the contract's
    #: order, and returns those of all outputs; of a model with a window, b"" at a frame that gives
    #: nothing. It is the fastest way to step, checks neither what it gets nor what it returns, and
    #: may outlive the stream.
    step_bytes: Callable[[Any], bytes]
    _step: Callable[[Any], StepValues]

    def __init__(
        self,
        model: StepModel | str | Path,
        backend: str = AUTOMATIC,
        options: LoadOptions | None = None,
    ) -> None:
        self.model = model if isinstance(model, StepModel) else load_step_model(model)
        start = time.perf_counter_ns()
        loaded = load_backend(self.model, backend, options)
        #: Nanoseconds that the runtime took to load the model.
        self.load_ns = time.perf_counter_ns() - start
        self._own(loaded)

    def _own(self, backend: Backend) -> None:
        """Bind the steps of a runtime that holds this stream's state and no other's."""
        shared = _Shared(backend)
        self._attach(shared)
        shared.take(self)
        self.step_bytes = backend.step
        general = self._general_step
        self._step = general if self.model.contract.rows > 1 else backend.values_step(general)
        if type(self) is Stream:
            # Called without the method around it, whose call costs as much as a small step's sums.
            self.step = self._step  # type: ignore[assignment, method-assign]

    def _attach(self, shared: _Shared) -> None:
        self._shared = shared
        self._initial = self.model.contract.initial_state()
        self._parked = self._initial
        contract = self.model.contract
        self._encode = bind_encode(contract.inputs)
        bind = bind_decode if contract.window is None else bind_decode_answer
        self._decode = (bind_decode_rows if contract.rows > 1 else bind)(contract.answers)
        self._step = self._general_step

    def _general_step(self, x: Any) -> StepValues:
        return self._decode(self.step_bytes(self._encode(x)))

    @property
    def backend(self) -> Backend:
        """The runtime, with this stream's state in it."""
        with self._shared.lock:
            self._shared.take(self)
            return self._shared.backend

    @property
    def answered(self) -> bool:
        """Whether the last step gave an answer: always, unless the model has a window.

        Before the first window is full there is none, though lanes give what the model says of the
        frames so far.
        """
        window = self.model.contract.window
        if window is None:
            return True
        with self._shared.lock:
            owned = self._shared.owner is self
            parked = int.from_bytes(self._parked[PHASE_NAME], "little")
            frame = self._shared.backend.frame if owned else parked
        return window.answers(window.reduced(frame) - 1)

    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Begin a new sequence: write the initial states.

        Args:
            rows: those whose stream begins anew, of a model that takes rows; the others go on.
                None: all.

        Raises:
            BadInputError: there is no such row.
        """
        if rows is None:
            self._write_state(self._initial)
        else:
            self._write_state(with_rows_anew(self.state_bytes(), self.model.contract, rows))

    def step(self, x: Any) -> StepValues:
        """Compute one time step.

        Args:
            x: the input in real units, [inputs] float. For a model of tokens, a token id: an int or
                an integer array of one. If there are several inputs: a dict of them by name, or a
                tuple in the contract's order.

        Returns:
            [outputs] float32; if there are several outputs, a dict of them by name. NaN: nothing
            at this frame, which only models with a window have; see :attr:`answered`.

        Raises:
            BadInputError: ``x`` has the wrong shape or dtype, holds NaN or infinity, or is outside
                the vocabulary.
            NotFiniteError: an output is NaN or infinite. So is what follows, until :meth:`reset`
                or :meth:`load_state`. (:attr:`step_bytes` does not look at what it returns.) With
                rows nothing is raised, as the others are sound: the row stays NaN until its reset.
        """
        return self._step(x)

    def run(self, x: Any) -> StepValues:
        """Step through a sequence without a reset.

        Args:
            x: [steps, inputs] float in real units, or [steps, 1] token ids. If there are several
                inputs: a dict of such arrays by name, or a tuple in the contract's order.

        Returns:
            [steps, outputs] float32; if there are several outputs, a dict of them by name. NaN in
            the rows of frames that give nothing; see :attr:`answered`.

        Raises:
            BadInputError: as :meth:`step`, or the inputs differ in length.
            NotFiniteError: as :meth:`step`; all of the sequence was stepped through.
        """
        outputs, answered = self._run(x)
        if self.model.contract.rows == 1:
            check_finite(outputs, answered)
        return outputs if len(outputs) > 1 else outputs[self.model.contract.output.name]

    def run_by_name(self, x: Any) -> dict[str, NDArray[Any]]:
        """Step through a sequence as :meth:`run` does, and leave NaN and infinity as they are.

        Returns:
            Each output by name, [steps, outputs] float32.

        Raises:
            BadInputError: as :meth:`run`.
        """
        return self._run(x)[0]

    def _run(self, x: Any) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_]]:
        """Return the outputs of a sequence by name, and which steps have an answer."""
        contract = self.model.contract
        frames = stored_frames(check_inputs(x, contract.inputs), contract.inputs)
        given = list(map(self.step_bytes, frames))
        return decode_sequence(given, contract.answers), np.array(list(map(bool, given)), bool)

    def state_bytes(self) -> dict[str, bytes]:
        """Return the current state, as stored, by state name."""
        with self._shared.lock:
            owned = self._shared.owner is self
            return self._shared.backend.read_state() if owned else dict(self._parked)

    def save_state(self) -> bytes:
        """Return the current state as bytes.

        :meth:`load_state` continues from them later, in another process or on another device.
        """
        states = b"".join(self.state_bytes().values())
        checksum = hashlib.sha256(states).digest()
        return STATE_MAGIC + self._model_hash() + checksum + states

    def load_state(self, saved: bytes) -> None:
        """Continue from what :meth:`save_state` returned.

        Raises:
            BadInputError: ``saved`` is not a saved state, is damaged, or is another model's.
        """
        if not isinstance(saved, bytes | bytearray | memoryview):
            raise BadInputError(
                f"a saved state is bytes, not {type(saved).__name__}; give what "
                "Stream.save_state() returned"
            )
        saved = bytes(saved)
        body = len(STATE_MAGIC) + 2 * _HASH_BYTES
        if not saved.startswith(STATE_MAGIC) or len(saved) < body:
            raise BadInputError("this is not a saved state; save one with Stream.save_state()")
        model_hash = saved[len(STATE_MAGIC) : len(STATE_MAGIC) + _HASH_BYTES]
        if model_hash != self._model_hash():
            raise BadInputError(
                f"this state was saved from another model than {self.model.path.name}; "
                "load it into the model that it came from, or reset()"
            )
        checksum, rest = saved[body - _HASH_BYTES : body], saved[body:]
        sizes = {name: len(initial) for name, initial in self._initial.items()}
        if hashlib.sha256(rest).digest() != checksum or len(rest) != sum(sizes.values()):
            raise BadInputError("the saved state is damaged; load another copy, or reset()")
        states = {}
        for name, size in sizes.items():
            states[name], rest = rest[:size], rest[size:]
        self._write_state(states)

    def _model_hash(self) -> bytes:
        return bytes.fromhex(self.model.contract.model_sha256)

    def _write_state(self, states: dict[str, bytes]) -> None:
        with self._shared.lock:
            if self._shared.owner is self:
                self._shared.backend.write_state(states)
            else:
                self._parked = states


class Streams:
    """Many independent streams on one loaded model.

    Example::

        streams = Streams("gru-64-s1-int8.tflite")
        left, right = streams.open(), streams.open()

    Different threads may step different streams. In libedgestep (``native``) each has a block of
    memory of its own, so streams that take turns cost nothing more, and none waits for another.
    Other runtimes hold one state: there a stream only costs the memory of its state, switching to
    another costs a copy of the states, and steps wait for each other.

    Args:
        model: path of a .tflite step model, or one already loaded.
        backend: name of the runtime, or "auto".
        options: threads, delegate, device.

    Raises:
        As :class:`Stream`.
    """

    def __init__(
        self,
        model: StepModel | str | Path,
        backend: str = AUTOMATIC,
        options: LoadOptions | None = None,
    ) -> None:
        self._first = Stream(model, backend, options)

    def open(self) -> Stream:
        """Open another stream, at its initial state."""
        stream = object.__new__(Stream)
        stream.model, stream.load_ns = self._first.model, self._first.load_ns
        shared = self._first._shared
        if (own := shared.backend.another_stream()) is not None:
            stream._own(own)
            return stream
        stream._attach(shared)
        stream.step_bytes = _bind_shared_step(stream, shared)
        return stream


class _Shared:
    """A loaded model and the stream whose state it holds; the other streams keep their own."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.lock = threading.RLock()
        self.owner: Stream | None = None

    def take(self, stream: Stream) -> None:
        """Put the stream's state into the runtime. The lock must be held."""
        if self.owner is stream:
            return
        if self.owner is not None:
            self.owner._parked = self.backend.read_state()
        self.backend.write_state(stream._parked)
        self.owner = stream


def _bind_shared_step(stream: Stream, shared: _Shared) -> Callable[[Any], bytes]:
    """Make the step of one of several streams.

    It waits for the others and puts its own state in place.
    """
    lock, step = shared.lock, shared.backend.step

    def step_bytes(frame: Any) -> bytes:
        with lock:
            if shared.owner is not stream:
                shared.take(stream)
            return step(frame)

    return step_bytes
