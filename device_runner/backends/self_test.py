"""Test in a few steps whether a backend computes what a model's file says that it computes.

It is short, because it is done whenever a file is opened: ``verify`` compares all there is.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from device_runner.backends.backend import Backend
from device_runner.golden_rows import step_golden_rows
from device_runner.model.contract import Contract
from device_runner.model.frames import decode_sequence, stored_frames
from device_runner.model.recorded_run import STEPS, summarize
from device_runner.model.step_file import StepModel
from device_runner.replay import MOST_OFF, NEAR, replay

# Of the float model's sequences, and of the exporting runtime's seeded steps.
GOLDEN_STEPS, SEEDED_STEPS = 64, 16

# What passed in this process, by model and contract: a test is not done again.
_passed: set[tuple[str, str, str]] = set()


def self_test(model: StepModel, backend: Backend) -> str | None:
    """Step the first golden frames and seeded steps, and compare; the state is reset afterwards.

    Returns:
        What is wrong, in words; None if nothing is.
    """
    contract = model.contract
    key = (backend.name, model.sha256, contract.to_json())
    if key in _passed:
        return None
    if model.unverified is not None:
        return "the file has nothing to test it with"
    failure = _golden_failure(model, backend) or _seeded_failure(model, backend)
    backend.write_state(contract.initial_state())
    if failure is None:
        _passed.add(key)
    return failure


def _golden_failure(model: StepModel, backend: Backend) -> str | None:
    """Compare with the float model at the beginning of the first golden sequence."""
    contract, golden = model.contract, model.golden
    if contract.rows > 1:
        return _golden_failure_in_rows(model, backend)
    window = contract.window
    steps = min(golden.lengths[0], GOLDEN_STEPS + (window.steps if window else 0))
    inputs = {name: values[:steps] for name, values in golden.inputs.items()}
    backend.write_state(contract.initial_state())
    given = [backend.step(frame) for frame in stored_frames(inputs, contract.inputs)]
    outputs = decode_sequence(given, contract.answers)
    answered = golden.answered(window)[:steps]
    name = contract.output.name
    expected, found = golden.outputs[name][:steps][answered], outputs[name][answered]
    if not len(expected):
        return None
    return _too_far(np.abs(found - expected).max(), steps, contract)


def _golden_failure_in_rows(model: StepModel, backend: Backend) -> str | None:
    """Do the same in all rows, which are at different steps."""
    contract, name = model.contract, model.contract.output.name
    steps = min(model.golden.steps, GOLDEN_STEPS)
    outputs, places = step_golden_rows(backend, contract, model.golden, steps)
    errors = np.abs(outputs[name] - model.golden.outputs[name][places])
    return _too_far(errors.max(), steps, contract)


def _too_far(error: float, steps: int, contract: Contract) -> str | None:
    if error <= contract.tolerance.max_abs:
        return None
    return (
        f"in the first {steps} golden steps the largest error is {error:.3g}, "
        f"above {contract.tolerance.max_abs:.3g}"
    )


def _seeded_failure(model: StepModel, backend: Backend) -> str | None:
    """Compare with what the exporting runtime computed in the first seeded steps."""
    if model.recorded is None:
        return None
    found = summarize(model.contract.of_rows(1), _first(replay(model.contract, backend)))
    expected = model.recorded.samples.astype(np.int32)
    first = SEEDED_STEPS * len(expected) // STEPS
    near = NEAR[model.recorded.samples.dtype.itemsize]
    off = np.abs(found.samples[:first] - expected[:first]) > near
    if off.sum() > max(1, MOST_OFF * first):
        return (
            f"{off.sum()} of {first} values of the first {SEEDED_STEPS} seeded steps are off "
            "from what was computed at export"
        )
    return None


def _first(steps: Iterable[bytes]) -> Iterable[bytes]:
    return itertools.islice(steps, SEEDED_STEPS)
