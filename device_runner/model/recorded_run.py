"""A recorded run: what the exporting runtime computed, to tell whether another computes the same.

The golden sequences tell whether a quantized model is good: its outputs are compared with the float
model's, from which they are far in integers. A recorded run tells whether a runtime does the same
computation. It has many steps, whose inputs and states are not stored but computed from a seed, and
no state is carried from one to the next, so that no difference grows. In the file are

- a digest of all stored outputs and states for each kind of kernels that was run. A runtime whose
  kernels must give the same bits must have one of them;
- some of the values, for all other runtimes, which round differently.

A model has one if all its real inputs, outputs and states are stored as integers.

The seed's numbers are those of a counter, mixed as the finalizer of MurmurHash3 does
(A. Appleby, public domain): integer arithmetic on 32 bits, which is the same everywhere.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.errors import BadModelError
from device_runner.model.contract import Contract
from device_runner.model.names import PHASE_NAME
from device_runner.model.phases import phase_bytes
from device_runner.model.tensor_spec import TensorSpec

RECORDED_FILE = "recorded.bin"
STEPS = 512
# Of all the values of a run, how many are stored.
SAMPLES = 1024
DIGEST_BYTES = 8
_SEED = 0x9E3779B9
_MASK = np.uint64(0xFFFFFFFF)
# How the values of step t are spread: a quarter of the steps have the whole range, others half or
# a quarter of it around zero, and some have zeros in between. So neither large nor small weights
# hide behind saturated gates.
_SHIFTS = (0, 1, 0, 2)
_SPARSE = 2
# The header's length comes first.
_LENGTH = struct.Struct("<H")


@dataclass(frozen=True)
class RecordedRun:
    """What the exporting runtime computed on the seeded steps.

    Args:
        digests: of everything that the steps gave, by kind of kernels
            (:attr:`device_runner.backends.backend.Backend.kernels`).
        samples: [SAMPLES] some of the values, two of each step, as stored.
    """

    digests: dict[str, bytes]
    samples: NDArray[Any] = field(compare=False)

    def to_bytes(self) -> bytes:
        """Write what the file holds: a header in JSON, and the samples."""
        header = json.dumps(
            {
                "digests": {kernels: digest.hex() for kernels, digest in self.digests.items()},
                "dtype": self.samples.dtype.name,
            },
            sort_keys=True,
            separators=(",", ":"),
        ).encode()
        values = self.samples.astype(self.samples.dtype.newbyteorder("<"))
        return _LENGTH.pack(len(header)) + header + values.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> RecordedRun:
        """Read what :meth:`to_bytes` wrote.

        Raises:
            BadModelError: it is damaged.
        """
        try:
            (length,) = _LENGTH.unpack_from(data)
            header = json.loads(data[_LENGTH.size : _LENGTH.size + length])
            digests = {
                str(kernels): bytes.fromhex(text) for kernels, text in header["digests"].items()
            }
            dtype = {"int8": "<i1", "uint8": "<u1", "int16": "<i2"}[header["dtype"]]
            samples = np.frombuffer(data[_LENGTH.size + length :], dtype)
        except (ValueError, TypeError, KeyError, AttributeError, struct.error, RecursionError) as e:
            raise BadModelError(
                f"{RECORDED_FILE} is damaged ({type(e).__name__}); export the model again"
            ) from e
        if len(samples) != SAMPLES or not all(len(d) == DIGEST_BYTES for d in digests.values()):
            raise BadModelError(f"{RECORDED_FILE} is cut short; export or copy the model again")
        return cls(digests, samples)


def can_be_recorded(contract: Contract) -> bool:
    """Tell whether all real values that a step takes and gives are stored as narrow integers."""
    specs = (*contract.inputs, *contract.outputs, *contract.states)
    real = [spec for spec in specs if not spec.is_plain_integer]
    return all(spec.scale is not None for spec in real) and len(_dtypes(contract)) > 0


@dataclass(frozen=True)
class Summary:
    """What is kept of a run: a digest of everything, and [SAMPLES] of its values as int32."""

    digest: bytes
    samples: NDArray[np.int32]


def summarize(contract: Contract, steps: Iterable[bytes]) -> Summary:
    """Summarize a run.

    Args:
        steps: each step's bytes: the outputs, if it gives any, and then the states, in the
            contract's order (:func:`device_runner.replay.replay`).
    """
    digest, samples = hashlib.sha256(), np.zeros((STEPS, SAMPLES // STEPS), np.int32)
    chosen = _draws(_SEED, SAMPLES).reshape(samples.shape)
    for number, step in enumerate(steps):
        digest.update(step)
        values = _scaled_values(contract, step)
        samples[number] = values[chosen[number] % len(values)] if len(values) else 0
    return Summary(digest.digest()[:DIGEST_BYTES], samples.ravel())


def record(contract: Contract, summaries: Mapping[str, Summary]) -> RecordedRun:
    """Make what the file holds of the runs of each kind of kernels; samples are the first's."""
    dtype = max(_dtypes(contract), key=lambda one: np.dtype(one).itemsize)
    first = next(iter(summaries.values()))
    digests = {kernels: summary.digest for kernels, summary in summaries.items()}
    return RecordedRun(digests, first.samples.astype(dtype))


def seeded_steps(contract: Contract) -> Iterator[tuple[bytes, dict[str, bytes]]]:
    """Compute the frames and states of the steps.

    Yields:
        The frame, as stored, and the states, as stored, by name. States that are counts or
        positions are left out: any number may be wrong there.
    """
    window, counts = contract.window, PHASE_NAME in contract.initial_state()
    states = [state for state in contract.states if state.scale is not None]
    sizes = [math.prod(spec.shape) for spec in (*contract.inputs, *states)]
    ends = np.cumsum(sizes).tolist()
    for step in range(STEPS):
        draws = _draws(step << 20, ends[-1])
        stored = [
            _seeded(spec, step, draws[end - size : end])
            for spec, size, end in zip((*contract.inputs, *states), sizes, ends, strict=True)
        ]
        frame = b"".join(stored[: len(contract.inputs)])
        names = (spec.name for spec in states)
        given = dict(zip(names, stored[len(contract.inputs) :], strict=True))
        if counts:
            # With a window, all frames from here on give an answer.
            number = step + window.steps if window else step % len(contract.phases)
            given[PHASE_NAME] = phase_bytes(number)
        yield frame, given


def _seeded(spec: TensorSpec, step: int, draws: NDArray[np.int64]) -> bytes:
    """Compute the stored values of one tensor from a draw each."""
    if spec.scale is None:
        return (draws % (spec.vocabulary or 1)).astype(spec.dtype).tobytes()
    limits = np.iinfo(spec.dtype)
    zero = spec.zero_point or 0
    wide = limits.min + (draws >> 8) % (limits.max - limits.min + 1)
    values = zero + ((wide - zero) >> _SHIFTS[step % len(_SHIFTS)])
    if step % len(_SHIFTS) == _SPARSE:
        values = np.where(draws & 1, values, zero)
    return values.astype(spec.dtype).tobytes()


def _draws(start: int, count: int) -> NDArray[np.int64]:
    """Mix the numbers from ``start`` on.

    Example:
        >>> _draws(1, 3).tolist()
        [2527132011, 3024231355, 3984711379]
    """
    mixed = (np.arange(start, start + count, dtype=np.uint64) + np.uint64(_SEED)) & _MASK
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        mixed ^= mixed >> np.uint64(shift)
        mixed = (mixed * np.uint64(factor)) & _MASK
    return (mixed ^ (mixed >> np.uint64(16))).astype(np.int64)


def _dtypes(contract: Contract) -> set[str]:
    specs = (*contract.outputs, *contract.states)
    return {spec.dtype for spec in specs if spec.scale is not None}


def _scaled_values(contract: Contract, step: bytes) -> NDArray[np.int32]:
    """Return the scaled values of one step's outputs and states one after another."""
    specs: tuple[TensorSpec, ...] = contract.states
    if len(step) > sum(spec.byte_count for spec in specs):
        specs = (*contract.answers, *specs)
    values, start = [np.zeros(0, np.int32)], 0
    for spec in specs:
        end = start + spec.byte_count
        if spec.scale is not None:
            values.append(np.frombuffer(step[start:end], spec.dtype).astype(np.int32))
        start = end
    return np.concatenate(values)
