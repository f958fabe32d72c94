"""The whole way on real data, small; and what happens when it is killed or asked for nonsense."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from tensorflow.core.util import event_pb2

from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream
from models.tasks import load_task
from pipeline.cli import main
from pipeline.stages import verify

RECIPE = """
name = "mini"
task = "japanese-vowels"
seeds = [1, 2]
[training]
epochs = 3
[calibration]
steps = 500
[bench]
steps = 200
rounds = 2
warmup_s = 0.0
[[models]]
cell = "gru"
units = 8
[[models]]
cell = "simple-rnn"
units = 8
prune = { sparsity = 0.5, epochs = 3 }
"""


@pytest.fixture(scope="module")
def finished(made_once, tmp_path_factory):
    """(recipe file, runs folder, output) of a finished run, a copy for each worker."""

    def run(folder: Path) -> None:
        folder.mkdir()
        recipe = folder / "mini.toml"
        recipe.write_text(RECIPE)
        result = CliRunner().invoke(main, ["run", str(recipe), "--runs-dir", str(folder / "runs")])
        assert result.exit_code == 0, result.output
        (folder / "output.txt").write_text(result.output)

    folder = tmp_path_factory.mktemp("run") / "finished"
    shutil.copytree(made_once("mini-run", run), folder)
    return folder / "mini.toml", folder / "runs", (folder / "output.txt").read_text()


def test_it_leaves_step_models_results_and_report(finished):
    _, runs, output = finished
    folder = runs / "mini"
    files = sorted(path.name for path in folder.glob("*.tflite"))
    # Two models and the longer training that the pruned one is held against.
    assert len(files) == 3 * 2 * 2
    assert "gru-8-s1-int8.tflite" in files
    results = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert sorted(result["file"] for result in results) == files
    assert all(result["latency_ns"]["step"]["samples"] == 200 for result in results)
    verification = (folder / "verification.jsonl").read_text().splitlines()
    assert {json.loads(line)["failure"] for line in verification} == {None}
    assert "simple-rnn-8-longer3-s1-float32.tflite" in files
    items = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    assert sorted(item["file"] for item in items) == files
    assert {item["sequences"] for item in items} == {370}
    assert "gru-8" in output
    assert "headroom" in output
    assert "against longer training" in output


def test_the_report_is_complete_in_itself(finished):
    _, runs, _ = finished
    html = (runs / "mini" / "report.html").read_text()
    html = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    assert html.count('class="chart"') == 7
    assert "<svg" not in html  # drawn when it is opened
    for name in ("gru-8", "simple-rnn-8-pruned50"):
        assert name in html
    fetched = re.findall(r'(?:src|href)="(?!#)[^"]*"|@import|url\((?!#)', html)
    assert fetched == []
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', html)) <= {
        pair for name in ids for pair in ((name, ""), ("", name))
    }


def test_pruned_weights_are_zero_and_reported(finished):
    _, runs, _ = finished
    path = runs / "mini" / "simple-rnn-8-pruned50-s1-float32.tflite"
    sparsity = load_step_model(path).contract.metrics["sparsity_reached"]
    assert all(share == pytest.approx(0.5, abs=0.02) for share in sparsity.values())


def test_trainings_as_tensorboard_reads_them(finished, tmp_path):
    recipe, runs, _ = finished
    for _ in range(2):  # the second time, the first events go
        command = ["run", recipe, "--runs-dir", runs, "--until", "train", "--tensorboard", tmp_path]
        result = CliRunner().invoke(main, [str(word) for word in command])
        assert result.exit_code == 0, result.output
    (file,) = (tmp_path / "gru-8-s1").iterdir()
    assert "tfevents" in file.name  # what TensorBoard looks for
    tags = []
    for record in tf.data.TFRecordDataset(str(file)):
        event = event_pb2.Event.FromString(record.numpy())
        tags += [(value.tag, event.step) for value in event.summary.value]
    assert {("loss/training", 1), ("score/validation", 1), ("loss/validation", 3)} <= set(tags)
    assert len(tags) == len(set(tags))


def test_a_second_run_does_nothing_again(finished):
    recipe, runs, _ = finished
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()}
    result = CliRunner().invoke(main, ["run", str(recipe), "--runs-dir", str(runs)])
    assert result.exit_code == 0
    changed = [p.name for p, stamp in before.items() if p.stat().st_mtime_ns != stamp]
    assert changed == ["report.html"]


def test_until_and_again(finished):
    recipe, runs, _ = finished
    stamp = (runs / "mini" / "results.jsonl").stat().st_mtime_ns
    arguments = ["run", str(recipe), "--runs-dir", str(runs)]
    assert CliRunner().invoke(main, [*arguments, "--until", "verify"]).exit_code == 0
    assert (runs / "mini" / "results.jsonl").stat().st_mtime_ns == stamp
    assert CliRunner().invoke(main, [*arguments, "--again", "bench"]).exit_code == 0
    assert (runs / "mini" / "results.jsonl").stat().st_mtime_ns != stamp


def run_in_process(recipe: Path, runs: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "run", str(recipe)]
    return subprocess.Popen(
        [*command, "--runs-dir", str(runs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background inherits an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.slow
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_killed_it_keeps_finished_stages_and_goes_on(tmp_path, kill):
    """Killed while the second network trains; the first one's stage is kept."""
    recipe, runs = tmp_path / "mini.toml", tmp_path / "runs"
    endless = RECIPE.replace("seeds = [1, 2]", "seeds = [1]").replace(
        'cell = "simple-rnn"\nunits = 8', 'cell = "simple-rnn"\nunits = 9'
    )
    recipe.write_text(endless)
    process = run_in_process(recipe, runs)
    stage_folder = runs / "mini" / "stages"
    deadline = time.monotonic() + 120
    while not list(stage_folder.glob("gru-8-s1/train-*[0-9a-f]/network.weights.h5")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(kill)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in stderr
    if kill == signal.SIGINT:
        assert process.returncode == 130
        assert "run the same command to go on" in stderr
    assert list((runs / "mini").glob("*.tflite")) == []
    (kept,) = stage_folder.glob("gru-8-s1/train-*")
    stamp = kept.stat().st_mtime_ns
    result = CliRunner().invoke(
        main, ["run", str(recipe), "--runs-dir", str(runs), "--until", "prune"]
    )
    assert result.exit_code == 0, result.output
    assert kept.stat().st_mtime_ns == stamp
    second = stage_folder / "simple-rnn-9-pruned50-s1"
    assert len(list(second.glob("prune-*[0-9a-f]/network.weights.h5"))) == 1


@pytest.mark.parametrize(
    ("change", "message", "code"),
    [
        (('"gru"', '"gruu"'), "unknown cell 'gruu'; did you mean 'gru'", 2),
        (('"japanese-vowels"', '"japanese-vowel"'), "did you mean 'japanese-vowels'", 2),
        (("seeds = [1, 2]", 'schemes = ["int9"]'), "unknown scheme 'int9'; did you mean 'int8'", 2),
        (("epochs = 3", "epoch = 3"), "did you mean 'epochs'", 2),
        (
            ("steps = 200", 'steps = 200\nbackend = "lite"'),
            "unknown backend 'lite'; did you mean 'litert'",
            2,
        ),
    ],
)
def test_unknown_names_suggest_the_nearest_before_any_work(tmp_path, change, message, code):
    recipe = tmp_path / "mini.toml"
    recipe.write_text(RECIPE.replace(*change, 1))
    result = CliRunner().invoke(main, ["run", str(recipe), "--runs-dir", str(tmp_path / "runs")])
    assert result.exit_code == code
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error")]
    assert message in line
    assert list((tmp_path / "runs").rglob("train-*")) == []


def test_an_unwritable_runs_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    recipe = tmp_path / "mini.toml"
    recipe.write_text(RECIPE)
    result = CliRunner().invoke(
        main, ["run", str(recipe), "--runs-dir", str(tmp_path / "file" / "x")]
    )
    assert result.exit_code != 0
    assert "choose another folder" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_full_disk_is_one_line_and_keeps_what_is_done(finished, monkeypatch):
    recipe, runs, _ = finished

    def full(path, items):
        raise OSError(28, os.strerror(28), str(path))

    monkeypatch.setattr(verify, "write_json_lines", full)
    before = sorted((runs / "mini").glob("*.tflite"))
    arguments = ["run", str(recipe), "--runs-dir", str(runs), "--again", "verify"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code != 0
    assert "No space left on device; free space" in result.stderr
    assert sorted((runs / "mini").glob("*.tflite")) == before


def test_a_failing_benchmark_is_one_line(finished, monkeypatch):
    recipe, runs, _ = finished
    (runs / "mini" / "results.jsonl").unlink()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    arguments = ["run", str(recipe), "--runs-dir", str(runs), "--again", "bench"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 3
    assert "the benchmark failed" in result.stderr


@pytest.mark.slow
def test_compressions_follow_each_other(tmp_path):
    """Factorized, pruned in a pattern, clustered; what each says of its result is kept."""
    recipe = tmp_path / "mini.toml"
    recipe.write_text(
        RECIPE.split("[[models]]")[0]
        .replace("seeds = [1, 2]", "seeds = [1]\ncontrols = false")
        .replace("[training]", 'schemes = ["int8"]\n[training]')
        + '[[models]]\ncell = "gru"\nunits = 16\n'
        + "factorize = { rank = 8, epochs = 2 }\n"
        + 'prune = { sparsity = 0.5, pattern = "2:4", epochs = 2 }\n'
        + "cluster = { clusters = 8, epochs = 2 }\n"
    )
    result = CliRunner().invoke(main, ["run", str(recipe), "--runs-dir", str(tmp_path / "runs")])
    assert result.exit_code == 0, result.output
    name = "gru-16-rank8-pruned50-2of4-clustered8-s1-int8.tflite"
    metrics = load_step_model(tmp_path / "runs" / "mini" / name).contract.metrics
    assert set(metrics["sparsity_reached"].values()) == {0.5}
    assert max(metrics["distinct_values"].values()) <= 8
    assert 0 < metrics["energy_kept"]["recurrence_0"] < 1
    assert re.search(r"cpu: \S+ for gru-16-rank8", result.output)


@pytest.mark.slow
def test_stages_combine(tmp_path):
    """Distilled, then half of its units and two thirds of its inputs removed, then trained for
    int8, with the channels alone that are left."""
    recipe = tmp_path / "mini.toml"
    recipe.write_text(
        RECIPE.split("[[models]]")[0]
        .replace("seeds = [1, 2]", "seeds = [1]")
        .replace("[training]", 'schemes = ["int8:qat"]\n[qat]\nepochs = 1\n[training]')
        + '[[models]]\ncell = "lstm"\nunits = 12\n'
        + '[[models]]\ncell = "gru"\nunits = 8\ndistil = { teacher = "lstm-12" }\n'
        + "prune = { keep = 0.5, keep_inputs = 0.34, rounds = 2, epochs = 2 }\n"
    )
    arguments = ["run", str(recipe), "--runs-dir", str(tmp_path / "runs"), "--until", "convert"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    path = tmp_path / "runs" / "mini" / "gru-8-distilled-kept50-inputs34-s1-int8-qat.tflite"
    contract = load_step_model(path).contract
    assert contract.units == (4,)
    assert contract.scheme == "int8:qat"
    task = load_task("japanese-vowels")
    indices = [task.channels.index(channel) for channel in contract.channels]
    assert indices == sorted(indices)
    assert len(indices) == 4
    mean, deviation = (values[indices] for values in task.normalization)
    np.testing.assert_allclose(contract.normalization["mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(contract.normalization["deviation"], deviation, rtol=1e-5)
    y = Stream(path).run(task.test.sequences[0][:, indices])
    assert y.shape == (len(task.test.sequences[0]), 9)


@pytest.mark.slow
def test_a_task_of_values_goes_the_whole_way(tmp_path):
    """An error in a unit, where lower is better, in place of the accuracy."""
    text = RECIPE.replace("japanese-vowels", "stocks").replace("seeds = [1, 2]", "seeds = [1]")
    text = text[: text.index('[[models]]\ncell = "simple-rnn"')]
    recipe = tmp_path / "mini.toml"
    # After so short a training the outputs hardly move, and any rounding is large beside them.
    recipe.write_text(text.replace("[training]", 'schemes = ["float32"]\n[training]'))
    result = CliRunner().invoke(main, ["run", str(recipe), "--runs-dir", str(tmp_path / "runs")])
    assert result.exit_code == 0, result.output
    assert "mean absolute error: test data (5 sequences, 1 value)" in result.output
    assert "lower is better" in result.output
    assert "last value 115.3 bp" in result.output
    html = (tmp_path / "runs" / "mini" / "report.html").read_text()
    assert "Mean absolute error by stock" in html
    assert " bp</td>" in html


@pytest.mark.slow
def test_teachers_of_all_seeds_teach_together(tmp_path):
    """On augmented data; the student has epochs of its own."""
    recipe = tmp_path / "mini.toml"
    recipe.write_text(
        RECIPE.split("[[models]]")[0].replace("epochs = 3", "epochs = 1")
        + "[training.augmentation]\nstretch = 0.1\n"
        + '[[models]]\ncell = "simple-rnn"\nunits = 8\n'
        + '[[models]]\ncell = "simple-rnn"\nunits = 4\ntraining = { epochs = 2 }\n'
        + 'distil = { teacher = "simple-rnn-8", ensemble = true }\n'
    )
    arguments = ["run", str(recipe), "--runs-dir", str(tmp_path / "runs"), "--until", "train"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    stages_of = tmp_path / "runs" / "mini" / "stages"

    def facts(subject, file):
        (path,) = (stages_of / subject).glob(f"train-*/{file}")
        return json.loads(path.read_text())

    taught = [facts(f"simple-rnn-4-distilled-s{seed}", "depends_on.json") for seed in (1, 2)]
    assert len(set(taught[0]["teachers"])) == 2
    assert taught[0]["teachers"] == taught[1]["teachers"]
    assert len(facts("simple-rnn-4-distilled-s1", "history.json")["loss"]) == 2
    assert len(facts("simple-rnn-8-s1", "history.json")["loss"]) == 1
