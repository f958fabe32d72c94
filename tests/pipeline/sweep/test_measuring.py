"""The queue of a device: what is thrown out, what is measured again, and what a frame costs."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("optuna", reason="needs Optuna: pip install edgestep[sweep]")

from pipeline.errors import PipelineError
from pipeline.sweep.measuring import MeasuringQueue, front_end_of
from pipeline.sweep.settings import MeasuringSection

CONTROL, FILE = Path("control.tflite"), Path("model.tflite")


def result(p50, p99=None, invalid=None, front_end=None, rounds=()):
    """What bench says of a file, as far as the queue reads it."""
    steps = {"percentiles": {"p50": p50, "p99": p99 or 2 * p50}, "round_p99": list(rounds)}
    made = front_end and {"percentiles": {"p50": front_end // 2, "p99": front_end}}
    return {"file": "x", "valid": invalid is None, "invalid_reason": invalid,
            "latency_ns": {"step": steps}, "front_end_ns": made}  # fmt: skip


def queue(*measurements, usual=1000, told=lambda file: "", **settings):
    """A queue whose bench gives these results of (control, file), one after the other."""
    left = list(measurements)

    def bench(files):
        assert files == [CONTROL, FILE]
        return list(left.pop(0))

    section = MeasuringSection(**{"repeats": 2, "attempts": 3, **settings})
    made = MeasuringQueue("pi", section, CONTROL, usual, bench=bench, told=told)
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


def test_a_few_disturbed_rounds_are_not_what_a_step_costs():
    made, _ = queue(
        (result(1000), result(500, 4000, rounds=[600, 610, 9000, 620])),
        (result(1000), result(500, 640, rounds=[630, 640, 630, 625])),
    )
    found = made.measure(FILE)
    assert found.p99_ns == 628  # 625 and 630 are in the middle of eight
    assert (found.low_ns, found.high_ns) == (615, 630)
    assert found.whole_p99_ns == 2320  # what a deadline is held against


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


def test_a_frame_costs_its_front_end_too_and_each_front_end_is_measured_once():
    heard = {"name": "mel"}
    made, _ = queue(
        (result(1000), result(500, 900, front_end=3000)),
        (result(1000), result(500, 1100, front_end=70_000)),  # held up by another program
        (result(1000), result(300, 400, front_end=5000)),
        (result(1000), result(300, 400, front_end=5000)),
        (result(1000), result(300, 400, front_end=2000)),
        (result(1000), result(300, 400, front_end=2200)),
        told=lambda file: heard["name"],
    )
    first, second = made.measure(FILE), made.measure(FILE)
    assert (first.p99_ns, first.low_ns, first.high_ns) == (4000, 3900, 4100)
    assert (second.p99_ns, second.front_end_p99_ns) == (3400, 3000)
    heard["name"] = "log-mel"
    assert made.measure(FILE).p99_ns == 2400
    assert made.front_ends == {"mel": 3000, "log-mel": 2000}


def test_files_tell_their_front_ends():
    kept = Path(__file__).parents[2] / "step_models"
    assert front_end_of(kept / "gru-int8.tflite") == '{"kind": "lpc-cepstrum"}'
    assert front_end_of(kept / "window-7-3-lanes-int8.tflite") == ""
