"""Compare what a runtime computes on the seeded steps with what the exporting runtime recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from device_runner.backends.backend import Backend
from device_runner.model.contract import Contract
from device_runner.model.recorded_run import STEPS, RecordedRun, seeded_steps, summarize
from device_runner.model.rows import join_rows, split_rows

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
        contract's order. Of a model that takes rows these are the steps of one row, which the
        rows share.
    """
    if contract.rows > 1:
        yield from _in_rows(contract, backend)
        return
    backend.write_state(contract.initial_state())
    carried = [state.name for state in contract.states if state.scale is None]
    state = backend.read_state() if carried else {}
    for frame, given in seeded_steps(contract):
        backend.write_state({**{name: state[name] for name in carried}, **given})
        outputs = backend.step(frame)
        state = backend.read_state()
        yield outputs + b"".join(state[spec.name] for spec in contract.states)


def _in_rows(contract: Contract, backend: Backend) -> Iterator[bytes]:
    """Share the seeded steps among the rows of a call; further rows have the first ones again."""
    one, rows = contract.of_rows(1), contract.rows
    seeded = list(seeded_steps(one))
    for start in range(0, STEPS, rows):
        chosen = [seeded[(start + row) % STEPS] for row in range(rows)]
        backend.write_state(
            {state.name: b"".join(given[state.name] for _, given in chosen) for state in one.states}
        )
        outputs = backend.step(join_rows([frame for frame, _ in chosen], one.inputs))
        state = backend.read_state()
        stored = outputs + b"".join(state[spec.name] for spec in one.states)
        yield from split_rows(stored, (*one.outputs, *one.states), rows)[: STEPS - start]


def compare_with_record(contract: Contract, recorded: RecordedRun, backend: Backend) -> Replay:
    """Step through the seeded steps and compare what they give with the record."""
    found = summarize(contract.of_rows(1), replay(contract, backend))
    expected = recorded.digests.get(backend.kernels or "")
    near = NEAR[recorded.samples.dtype.itemsize]
    distance = np.abs(found.samples - recorded.samples.astype(np.int32))
    return Replay(
        steps=STEPS,
        same_bits=found.digest in recorded.digests.values(),
        must_be_same=expected is not None,
        off=float(np.mean(distance > near)),
    )
