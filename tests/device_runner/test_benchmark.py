"""Results: their published form, and what makes one invalid."""

from __future__ import annotations

import json
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import get_type_hints

import jsonschema
import numpy as np
import pytest

import device_runner
from device_runner.backends.backend import Placement
from device_runner.front_ends import log_mel
from device_runner.measure import energy, machine
from device_runner.measure.benchmark import Circumstances, bench, bench_paced
from device_runner.measure.energy import measurement
from device_runner.measure.energy.meter import EnergyMeter
from device_runner.measure.latency import BenchSettings, Latency, ModelLatency
from device_runner.measure.paced import PacedLatency, PacedSettings
from device_runner.measure.result import (
    BackToBackFacts,
    Conditions,
    DeviceResult,
    EnergyFacts,
    LatencyFacts,
    MachineFacts,
    PacedFacts,
    PlacementFacts,
    RunSettings,
    TimelineFacts,
    WindowFacts,
)
from device_runner.measure.result_table import format_results
from device_runner.measure.timeline import Timeline
from device_runner.stream import Stream

SHORT = BenchSettings(steps=200, rounds=2, warmup_s=0)
SCHEMA = json.loads(
    (Path(device_runner.__file__).parent / "measure" / "result.schema.json").read_text()
)


def check_form(result: dict) -> None:
    """As a reader finds it: through JSON, against the published schema."""
    text = json.dumps(result, allow_nan=False)
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(text))


@pytest.fixture
def stream(int8_file) -> Stream:
    return Stream(int8_file, "litert")


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


PUBLISHED = {
    "": DeviceResult,
    "machine": MachineFacts,
    "settings": RunSettings,
    "placement": PlacementFacts,
    "energy": EnergyFacts,
    "window": WindowFacts,
    "$conditions": Conditions,
    "$latency": LatencyFacts,
    "$back_to_back": BackToBackFacts,
    "$paced": PacedFacts,
    "$timeline": TimelineFacts,
}


@pytest.mark.parametrize("place", PUBLISHED)
def test_types_and_schema_have_the_same_keys(place):
    kind = PUBLISHED[place]
    schema = SCHEMA
    if place:
        schema = SCHEMA["$defs"][place[1:]] if place[0] == "$" else SCHEMA["properties"][place]
    assert set(schema["properties"]) == set(get_type_hints(kind))
    # Only what was measured over ssh has a device.
    optional = kind.__optional_keys__ | ({"device"} if kind is DeviceResult else set())
    assert set(schema["required"]) == set(schema["properties"]) - optional


def test_what_is_measured_has_the_keys_of_its_type():
    for measured, kind in (
        (Latency, LatencyFacts), (ModelLatency, BackToBackFacts), (PacedLatency, PacedFacts),
        (Placement, PlacementFacts), (Timeline, TimelineFacts),
    ):  # fmt: skip
        names = {field.name for field in fields(measured)}
        assert names - {"samples"} == set(get_type_hints(kind)) - {"samples"}


def test_back_to_back_results_have_the_published_form(stream, float32_file):
    both = bench([stream, Stream(float32_file, "litert")], SHORT, Circumstances())
    for measured in both:
        check_form(measured.result)
        assert measured.result["valid"]
        assert measured.samples is None


def test_paced_results_have_the_published_form(stream):
    settings = PacedSettings(duration_s=0.2, period_s=0.002, keep_samples=True)
    measured = bench_paced(stream, settings, Circumstances(cpus=(0,), realtime=None))
    check_form(measured.result)
    assert measured.result["settings"]["mode"] == "paced"
    assert len(measured.samples) == measured.result["latency_ns"]["frames"] == 100


def test_the_form_is_strict(stream):
    (measured,) = bench([stream], SHORT, Circumstances())
    for change in ({"unknown": 1}, {"latency_ns": {}}, {"valid": "yes"}):
        with pytest.raises(jsonschema.ValidationError):
            check_form({**measured.result, **change})


@pytest.mark.parametrize(("percentile", "valid"), [(90.0, True), (95.0, True), (99.0, False)])
def test_too_few_samples_for_the_wanted_percentile_are_invalid(percentile, valid, stream):
    (measured,) = bench([stream], SHORT, Circumstances(percentile=percentile))
    assert measured.result["valid"] is valid
    if not valid:
        assert measured.result["invalid_reason"] == "p99 needs 1,000 samples, there are 200"


def test_wrong_numerics_are_invalid(stream):
    golden = stream.model.golden
    tampered = replace(stream.model, golden=replace(golden, outputs={"y": golden.y + 100}))
    (measured,) = bench([Stream(tampered, "litert")], SHORT, Circumstances())
    check_form(measured.result)
    assert measured.result["invalid_reason"].startswith("rms error 100 is above")


def conditions(**changed):
    return {**machine.describe_conditions(), "throttled": False, "throttle_events": 7, **changed}


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        ({"throttled": True}, "the machine throttled (too hot, or too little voltage)"),
        ({"throttle_events": 9}, "the CPU throttled 2 times for its temperature"),
        ({}, None),
    ],
)
def test_throttling_is_invalid(after, reason, stream, monkeypatch):
    readings = iter([conditions(), conditions(**after)])
    monkeypatch.setattr(machine, "describe_conditions", lambda: next(readings))
    (measured,) = bench([stream], SHORT, Circumstances())
    assert measured.result["invalid_reason"] == reason


@pytest.mark.parametrize(
    ("delegated", "wanted", "reason"),
    [
        ((), True, "no operator runs on the accelerator: it fell back to the CPU"),
        ((), False, None),
        (("FULLY_CONNECTED",), True, None),
    ],
)
def test_a_silent_fall_back_is_invalid(delegated, wanted, reason, stream, monkeypatch):
    placed = Placement("the accelerator", delegated, ("TANH",))
    monkeypatch.setattr(stream.backend, "placement", lambda: placed)
    monkeypatch.setattr(stream.backend, "wants_accelerator", wanted, raising=False)
    (measured,) = bench([stream], SHORT, Circumstances())
    check_form(measured.result)
    assert measured.result["invalid_reason"] == reason
    table = format_results([measured.result])
    told = f"1 of {len(delegated) + 1} operators are on the CPU, not on the accelerator" in table
    assert told == wanted
    assert any("operators are on the CPU" in one for one in measured.result["warnings"]) == wanted


def test_an_accelerator_that_tells_no_placement_is_warned_of(stream, monkeypatch):
    monkeypatch.setattr(stream.backend, "placement", lambda: None)
    monkeypatch.setattr(stream.backend, "wants_accelerator", True, raising=False)
    (measured,) = bench([stream], SHORT, Circumstances())
    check_form(measured.result)
    (warning,) = [one for one in measured.result["warnings"] if "does not tell" in one]
    assert warning in format_results([measured.result])


def test_an_emulated_cpu_is_warned_of(stream, monkeypatch):
    facts = {**machine.describe_machine(), "emulated": True}
    monkeypatch.setattr(machine, "describe_machine", lambda: facts)
    (measured,) = bench([stream], SHORT, Circumstances())
    check_form(measured.result)
    assert "this CPU is emulated: the times say nothing of a device" in measured.result["warnings"]


def test_energy_is_reported_where_there_is_a_meter(stream, monkeypatch):
    joules = iter(np.arange(100.0))
    meter = EnergyMeter("a meter made up", True, lambda: next(joules))
    monkeypatch.setattr(energy, "find_meter", lambda: meter)
    measure_energy = measurement.measure_energy
    monkeypatch.setattr(
        measurement, "measure_energy", lambda *a: measure_energy(*a, duration_s=0.05)
    )
    (measured,) = bench([stream], SHORT, Circumstances())
    check_form(measured.result)
    found = measured.result["energy"]
    assert found["joules"] == 1
    assert found["joules_per_step"] == pytest.approx(1 / found["steps"])
    assert "a meter made up" in format_results([measured.result])


def with_front_end(stream: Stream, front_end: dict | None) -> Stream:
    contract = replace(stream.model.contract, front_end=front_end)
    return Stream(replace(stream.model, contract=contract), "litert")


def test_the_front_end_of_sound_is_measured_beside_the_step(stream):
    streams = [with_front_end(stream, {"kind": "lpc-cepstrum"}), with_front_end(stream, None)]
    sound, plain = bench(streams, SHORT, Circumstances())
    check_form(sound.result)
    check_form(plain.result)
    assert plain.result["front_end_ns"] is None
    assert sound.result["front_end_ns"]["samples"] == 1000
    assert sound.result["front_end_ns"]["minimum"] > 0
    table = format_results([sound.result, plain.result])
    assert table.count("its front end takes") == 1
    assert table.splitlines()[0].split()[:3] == ["model", "front", "end"]
    assert "front end" not in format_results([plain.result])


def test_a_front_end_that_is_not_installed_is_warned_of(stream, monkeypatch):
    monkeypatch.setitem(sys.modules, "pymicro_features", None)
    streams = [with_front_end(stream, log_mel.describe(2)), with_front_end(stream, None)]
    sound, plain = bench(streams, SHORT, Circumstances())
    assert sound.result["front_end_ns"] is None
    assert sound.result["valid"]
    assert any("pip install pymicro-features" in text for text in sound.result["warnings"])
    assert not any("pymicro" in text for text in plain.result["warnings"])
