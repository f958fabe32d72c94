"""The queue of a device: what is thrown out, what is measured again, and what a frame costs."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("optuna", reason="needs Optuna: pip install edgestep[sweep]")

from pipeline.errors import PipelineError
from pipeline.sweep.measuring import MeasuringQueue, frame_ns
from pipeline.sweep.settings import MeasuringSection

CONTROL, FILE = Path("control.tflite"), Path("model.tflite")


def result(p50, p99=None, invalid=None, front_end=None):
    """What bench says of a file, as far as the queue reads it."""
    steps = {"percentiles": {"p50": p50, "p99": p99 or 2 * p50}}
    made = front_end and {"percentiles": {"p50": front_end // 2, "p99": front_end}}
    return {"file": "x", "valid": invalid is None, "invalid_reason": invalid,
            "latency_ns": {"step": steps}, "front_end_ns": made}  # fmt: skip


def queue(*measurements, usual=1000, **settings):
    """A queue whose bench gives these results of (control, file), one after the other."""
    left = list(measurements)

    def bench(files):
        assert files == [CONTROL, FILE]
        return list(left.pop(0))

    section = MeasuringSection(**{"repeats": 2, "attempts": 3, **settings})
    made = MeasuringQueue("pi", section, CONTROL, usual, bench=bench)
    return made, left


def test_what_is_invalid_or_was_disturbed_is_measured_again():
    made, left = queue(
        (result(1300), result(600)),  # the control model moved
        (result(1000), result(500, 900)),
        (result(1010), result(510, invalid="it was throttled")),
        (result(990), result(520, 1100)),
        (result(1000), result(9)),
    )
    found = made.measure(FILE)
    assert found.thrown_out == (
        "the control model took +30% of its usual time",
        "INVALID: it was throttled",
    )
    assert found.steady
    assert (found.p50_ns, found.p99_ns) == (510, 1000)
    assert (found.low_ns, found.high_ns) == (900, 1100)
    assert found.control_p50_ns == 995
    assert len(left) == 1


def test_a_device_that_never_calms_down_is_said_so():
    made, left = queue(
        (result(1300), result(600)),
        (result(1000), result(500, 900)),
        (result(2000), result(900)),
        (result(1250), result(610, 1300)),
        (result(1000), result(500)),
    )
    found = made.measure(FILE)
    assert not found.steady
    assert len(found.thrown_out) == 3
    # What was taken, and of what was thrown out the one with the steadiest control.
    assert (found.low_ns, found.high_ns) == (900, 1300)
    assert len(left) == 1


def test_results_that_are_all_invalid_are_none():
    bad = (result(1000), result(500, invalid="golden sequence 3 differs"))
    made, _ = queue(bad, bad, bad)
    with pytest.raises(PipelineError, match="pi: no measurement can be trusted: INVALID: golden"):
        made.measure(FILE)


def test_a_frame_costs_its_front_end_too():
    assert frame_ns(result(100, 150), "p99") == 150
    assert frame_ns(result(100, 150, front_end=40), "p99") == 190
    one = (result(1000), result(500, 900, front_end=3000))
    made, _ = queue(one, one)
    found = made.measure(FILE)
    assert (found.p99_ns, found.p50_ns, found.front_end_p99_ns) == (3900, 2000, 3000)
