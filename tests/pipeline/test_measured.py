"""What was measured of a folder's models, read back from files of ``bench`` beside them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from device_runner.model.step_file import load_step_model
from pipeline.cli import main
from pipeline.measured import MeasuredModel, read_measured
from pipeline.measured_charts import QUEUED, STEPPING, WAKING, slowest_stretch, whole_run
from pipeline.measured_part import measured_part
from tests.conftest import KEPT_STEP_MODELS

MODELS = ("gru-int8", "lstm-int8")
PERIOD_NS = 1_000_000


def bench(folder: Path, *options: str) -> None:
    files = [str(folder / f"{name}.tflite") for name in MODELS]
    short = [] if "--paced" in options else ["--steps", "1000", "--rounds", "2", "--warmup", "0"]
    done = CliRunner().invoke(main, ["bench", *files, *short, *options])
    assert done.exit_code == 0, done.output


def change(path: Path, **facts: object) -> None:
    """Say other things in all results of a file."""
    lines = [json.loads(line) | facts for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture(scope="module")
def measured_once(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("measured")
    for name in MODELS:
        shutil.copy(KEPT_STEP_MODELS / f"{name}.tflite", folder)
    for backend in ("litert", "reference"):
        bench(folder, "--backend", backend, "--output", f"{folder}/{backend}.jsonl")
    bench(folder, "--paced", "--period", "0.001", "--duration", "0.05", "--backend", "litert",
          "--output", f"{folder}/paced.jsonl")  # fmt: skip
    return folder


@pytest.fixture
def folder(measured_once, tmp_path) -> Path:
    shutil.copytree(measured_once, tmp_path / "run")
    return tmp_path / "run"


def names(folder: Path) -> dict[str, str]:
    return {load_step_model(folder / f"{name}.tflite").sha256: name for name in MODELS}


def test_each_device_and_pace_is_found(folder):
    found, remarks = read_measured(folder, names(folder))
    assert remarks == []
    assert [one.name for one in found] == ["gru-int8"] * 2 + ["lstm-int8"] * 2 + [*MODELS]
    assert [one.paced for one in found] == [False, True, False, True, False, False]
    assert [one.device.rpartition(", ")[2] for one in found] == ["litert"] * 4 + ["reference"] * 2
    assert len({one.device for one in found}) == 2


def test_the_newest_result_counts_and_other_models_are_left_out(folder):
    for path, started in (
        ("old", "2001-01-01T00:00:00+00:00"),
        ("new", "2099-01-01T00:00:00+00:00"),
    ):
        shutil.copy(folder / "litert.jsonl", folder / f"{path}.jsonl")
        change(folder / f"{path}.jsonl", started=started)
    shutil.copy(folder / "litert.jsonl", folder / "others.jsonl")
    change(folder / "others.jsonl", model_sha256="0" * 64)
    found, _ = read_measured(folder, names(folder))
    assert len(found) == 6
    assert {one.source.name for one in found if not one.paced} == {"new.jsonl", "reference.jsonl"}


def test_machines_are_told_apart(folder):
    shutil.copy(folder / "litert.jsonl", folder / "pi.jsonl")
    change(folder / "pi.jsonl", device="pi@rack")
    line, _ = (folder / "litert.jsonl").read_text().splitlines()
    machine = json.loads(line)["machine"]
    shutil.copy(folder / "litert.jsonl", folder / "twin.jsonl")
    change(folder / "twin.jsonl", machine=machine | {"memory_bytes": 1})
    found, _ = read_measured(folder, names(folder))
    devices = list(dict.fromkeys(one.device for one in found))
    assert devices == [
        f"{machine['model']}, litert",
        f"{machine['model']}, reference",
        "pi@rack, litert",
        f"{machine['model']} [2], litert",
    ]


def test_what_is_no_result_is_left_out_and_said(folder):
    whole = (folder / "litert.jsonl").read_text()
    (folder / "cut.jsonl").write_text(whole[: len(whole) // 3])
    (folder / "wrong.jsonl").write_text('{"result_format": 2}\n')
    (folder / "items.jsonl").write_text("no result, and not meant as one\n")
    found, remarks = read_measured(folder, names(folder))
    assert len(found) == 6
    assert [remark.split(" is no result")[0] for remark in remarks] == [
        "cut.jsonl, line 1,", "wrong.jsonl, line 1,",
    ]  # fmt: skip
    assert measured_part(found, remarks)["remarks"] == remarks


def test_a_command_measures_so_again(folder):
    found, _ = read_measured(folder, names(folder))
    assert found[0].command() == (
        f"edgestep bench {folder}/*.tflite --backend litert --steps 1000 --rounds 2 --warmup 0"
    )
    assert found[1].command() == (
        f"edgestep bench {folder}/*.tflite --backend litert --paced --duration 0.05 --period 0.001"
    )
    change(folder / "reference.jsonl", device="pi@rack")
    change(folder / "paced.jsonl", device="shelf")
    commands = [one.command() for one in read_measured(folder, names(folder))[0]]
    assert any(command.endswith(" --host pi@rack") for command in commands)
    assert any(command.endswith(" --host shelf --inventory INVENTORY") for command in commands)


def test_devices_are_compared_with_the_first(folder):
    found, _ = read_measured(folder, names(folder))
    part = measured_part(found)
    assert [row["model"] for row in part["rows"]] == ["gru-int8"] * 2 + ["lstm-int8"] * 2
    for first, other in zip(part["rows"][::2], part["rows"][1::2], strict=True):
        assert first["p50_times"] == first["p99_times"] == 1
        assert other["p50_times"] == pytest.approx(other["p50"] / first["p50"])
        assert other["p50_times"] > 1
        assert other["p99_times"] == pytest.approx(other["p99"] / first["p99"])
        assert (
            other["bytes"] == first["bytes"] == (folder / f"{other['model']}.tflite").stat().st_size
        )
    alone = measured_part([one for one in found if one.device.endswith("litert")])
    assert alone["rows"] == []
    assert alone["devices"] == ""


def stalled(folder: Path) -> MeasuredModel:
    """A paced run whose third frame takes three periods, and the frames behind it."""
    found, _ = read_measured(folder, names(folder))
    one = next(one for one in found if one.paced)
    facts = one.result["latency_ns"]
    facts["deadline"] = PERIOD_NS
    facts["timeline"] = {
        "frames_per_bin": 1,
        "begun": [50_000, 60_000, 70_000, 2_100_000, 1_150_000, 90_000],
        "done": [80_000, 90_000, 3_100_000, 2_150_000, 1_200_000, 120_000],
        "missed": [0, 0, 1, 1, 1, 0],
        "first": 1,
        "stretch_begun": [60_000, 70_000, 2_100_000, 1_150_000, 90_000],
        "stretch_done": [90_000, 3_100_000, 2_150_000, 1_200_000, 120_000],
    }
    return one


def values(chart: str) -> list[dict]:
    text = chart.split('<script type="application/json">')[1].split("</script>")[0]
    return json.loads(text)["data"]["values"]


def test_the_stretch_shows_what_each_frame_waited_for(folder):
    bars = values(slowest_stretch([stalled(folder)]))
    # What the first frame waited for is not known.
    assert [(bar["frame"], bar["what"]) for bar in bars] == [
        (2, WAKING), (2, STEPPING), (3, QUEUED), (3, STEPPING), (4, QUEUED), (4, STEPPING),
        (5, QUEUED), (5, STEPPING),
    ]  # fmt: skip
    assert [bar["frame"] for bar in bars if bar["missed"]] == [2, 3, 4]
    assert bars[3] | {"begin": 2.1, "end": 2.15} == bars[3]
    assert {(bar["near"], bar["deadline"]) for bar in bars} == {(1, 1.0)}


def test_the_whole_run_is_in_milliseconds(folder):
    (run,) = values(whole_run([stalled(folder)]))
    assert run["done"] == [0.08, 0.09, 3.1, 2.15, 1.2, 0.12]
    assert run["missed"] == [0, 0, 1, 1, 1, 0]
    assert (run["seconds"], run["deadline"]) == (0.001, 1.0)


def test_results_without_a_timeline_are_not_drawn(folder):
    found, _ = read_measured(folder, names(folder))
    for one in found:
        one.result["latency_ns"].pop("timeline", None)
    part = measured_part(found)
    assert part["paced"] == []
    assert part["whole_run"] == part["stretch"] == ""
