"""Numbers that are not finite: refused where they are read, told where they come up."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from device_runner import strict_json
from device_runner.cli import main
from device_runner.errors import BadModelError, NotFiniteError
from device_runner.model.contract import CONTRACT_FILE, Contract
from device_runner.model.frames import FEW_VALUES, bind_decode
from device_runner.model.step_file import split_step_file
from device_runner.model.tensor_spec import TensorSpec
from device_runner.stream import Stream

FILE = Path("tests/step_models/lstm-float32.tflite")


@pytest.fixture(scope="module")
def contract() -> str:
    return split_step_file(FILE.read_bytes())[1][CONTRACT_FILE].decode()


def spoil(stream: Stream) -> None:
    """Write the states that a product beyond float32's range leaves."""
    nan = np.float32(np.nan).tobytes()
    states = {name: nan * (len(state) // 4) for name, state in stream.state_bytes().items()}
    stream.backend.write_state(states)


@pytest.mark.parametrize("backend", ["litert", "reference"])
def test_a_spoiled_state_is_told_and_reset_mends_it(backend):
    stream = Stream(FILE, backend)
    frame = stream.model.golden.x[0]
    first = stream.step(frame)
    spoil(stream)
    for _ in range(2):
        with pytest.raises(NotFiniteError, match=r"output 'y' is nan: .*; reset\(\)"):
            stream.step(frame)
    stream.reset()
    np.testing.assert_array_equal(stream.step(frame), first)


def test_a_sequence_is_told_at_which_step(monkeypatch):
    stream = Stream(FILE, "reference")
    frames = stream.model.golden.x[:5]
    spoil(stream)
    with pytest.raises(NotFiniteError, match=r"output 'y' is nan at step 0:"):
        stream.run(frames)
    assert np.isnan(stream.run_by_name(frames)["y"]).all()


def test_the_command_names_the_line(monkeypatch):
    frames = Stream(FILE, "reference").model.golden.x[:3].astype(float).tolist()
    lines = "\n".join(",".join(map(repr, frame)) for frame in frames)
    monkeypatch.setattr(Stream, "reset", spoil)
    result = CliRunner().invoke(main, ["stream", str(FILE), "--backend", "litert"], input=lines)
    assert result.exit_code == 3
    assert result.stderr.startswith("Error: line 1: output 'y' is nan")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("size", [1, 9, FEW_VALUES, FEW_VALUES + 1])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_any_value_of_any_output_counts(size, dtype, shape):
    decode = bind_decode([TensorSpec("y", (1, size, *shape), dtype)])
    values = np.full((size, *shape), np.finfo(dtype).max, dtype)
    for place in {0, size // 2, size - 1}:
        for wrong in (np.nan, -np.nan, np.inf, -np.inf):
            spoiled = values.copy()
            spoiled.flat[place] = wrong
            with pytest.raises(NotFiniteError):
                decode(spoiled.tobytes())


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize(
    "place", ["frame_period_s", "metrics.accuracy", "tolerance.rms", "inputs.scale"]
)
def test_a_contract_with_such_a_number_is_refused(contract, literal, place):
    raw = json.loads(contract)
    name, _, inner = place.partition(".")
    if inner:
        (raw[name][0] if isinstance(raw[name], list) else raw[name])[inner] = "HERE"
    else:
        raw[name] = "HERE"
    with pytest.raises(BadModelError, match="which is not a number"):
        Contract.from_json(json.dumps(raw).replace('"HERE"', literal))


@pytest.mark.parametrize("value", [1e300, 10**400, -1, "1", True, [], None])
@pytest.mark.parametrize("field", ["frame_period_s", "scale", "zero_point", "rms", "units"])
def test_numbers_of_a_wrong_kind_or_size_are_refused_or_harmless(contract, value, field):
    raw = json.loads(contract)
    if field in ("scale", "zero_point"):
        raw["inputs"][0][field] = value
    elif field == "rms":
        raw["tolerance"][field] = value
    else:
        raw[field] = value
    # Any other error would fail the test.
    with contextlib.suppress(BadModelError):
        json.loads(Contract.from_json(json.dumps(raw)).to_json())


def test_metrics_that_are_not_finite_are_written_as_null_with_a_reason(contract):
    made = replace(
        Contract.from_json(contract),
        metrics={"accuracy": math.nan, "by_group": {"a": [1.0, math.inf]}},
    )
    read = Contract.from_json(made.to_json()).metrics
    assert read["accuracy"] is None
    assert read["by_group"] == {"a": [1.0, None]}
    assert read["not_finite"] == ["accuracy is nan", "by_group.a.1 is inf"]
    with pytest.raises(BadModelError, match="frame_period_s is inf"):
        replace(made, frame_period_s=math.inf).to_json()


def test_a_result_has_null_and_a_warning(monkeypatch):
    from device_runner.measure import benchmark
    from device_runner.measure.latency import BenchSettings

    stream = Stream(FILE, "reference")
    facts = benchmark._model_facts
    monkeypatch.setattr(
        benchmark, "_model_facts", lambda one: {**facts(one), "metrics": {"accuracy": math.nan}}
    )
    settings = BenchSettings(steps=100, rounds=1, warmup_s=0)
    (measured,) = benchmark.bench([stream], settings, benchmark.Circumstances())
    assert measured.result["metrics"] == {"accuracy": None}
    assert "metrics.accuracy is nan, written as null" in measured.result["warnings"]
    json.dumps(measured.result, allow_nan=False)


def test_json_of_any_depth_ends_in_a_value_error():
    for text in ("[" * 100_000, '{"a":' * 100_000, b"\xff", "9" * 5000):
        with pytest.raises(ValueError, match=r"deep|decode|digit"):
            strict_json.loads(text)
