"""Compare what a runtime computes on the seeded steps with what the exporting runtime recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from device_runner.backends.backend import Backend
from device_runner.model.contract import Contract
from device_runner.model.recorded_run import STEPS, RecordedRun, seeded_steps, summarize

# A value is off if it is further from the recorded one than this many steps of its grid: of int8,
# and of int16, where kernels round sums of products otherwise.
NEAR = {1: 2, 2: 64}
# The share of values that may be off. "python -m benchmarks.runtime_agreement" measures it.
MOST_OFF = 0.02


@dataclass(frozen=True)
class Replay:
    """How a runtime did on the seeded steps.

    Args:
        steps: how many there were.
        same_bits: whether everything is bit by bit what one of the recorded kernels gave.
        must_be_same: whether it must be, as the runtime has the same kernels.
        off: share of the stored values that are off by more than a few steps of their grid.
    """

    steps: int
    same_bits: bool
    must_be_same: bool
    off: float

    @property
    def failure(self) -> str | None:
        """What is wrong, in words, or None."""
        if self.same_bits:
            return None
        if self.must_be_same:
            return (
                f"in {self.steps} steps from seeded states it does not give the bits that the same "
                "kernels gave at export"
            )
        if self.off > MOST_OFF:
            return (
                f"in {self.steps} steps from seeded states {self.off:.1%} of the values are off by "
                f"more than a few steps from what was computed at export, {MOST_OFF:.0%} may be"
            )
        return None


def replay(contract: Contract, backend: Backend) -> Iterator[bytes]:
    """Step through the seeded steps.

    Yields:
        What each step gave: the outputs' bytes, if it gives any, and then the states', in the
        contract's order.
    """
    backend.write_state(contract.initial_state())
    carried = [state.name for state in contract.states if state.scale is None]
    state = backend.read_state() if carried else {}
    for frame, given in seeded_steps(contract):
        backend.write_state({**{name: state[name] for name in carried}, **given})
        outputs = backend.step(frame)
        state = backend.read_state()
        yield outputs + b"".join(state[spec.name] for spec in contract.states)


def compare_with_record(contract: Contract, recorded: RecordedRun, backend: Backend) -> Replay:
    """Step through the seeded steps and compare what they give with the record."""
    found = summarize(contract, replay(contract, backend))
    expected = recorded.digests.get(backend.kernels or "")
    near = NEAR[recorded.samples.dtype.itemsize]
    distance = np.abs(found.samples - recorded.samples.astype(np.int32))
    return Replay(
        steps=STEPS,
        same_bits=found.digest in recorded.digests.values(),
        must_be_same=expected is not None,
        off=float(np.mean(distance > near)),
    )
