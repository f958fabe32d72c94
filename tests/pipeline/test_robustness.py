"""``edgestep robustness``: scores on disturbed data, kept as they are known."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream
from models.metrics import MetricDescription
from pipeline.cli import main
from pipeline.errors import PipelineError
from pipeline.robustness import study as study_module
from pipeline.robustness.bit_flips import with_flipped_weights
from pipeline.robustness.disturbances import DISTURBANCES
from pipeline.robustness.labelled import of_files, of_task
from pipeline.robustness.page import robustness_part
from pipeline.robustness.recovery import GAP_STEPS, Recovery, recovery
from pipeline.robustness.study import Kept, ModelStudy
from pipeline.robustness.trial import UNDISTURBED, Trial, score


@pytest.fixture
def models(step_models):
    return [step_models("gru", scheme) for scheme in ("float32", "int8")]


@pytest.fixture
def files(vowels, tmp_path):
    """Six sequences of one length and their speakers, as a user has them."""
    chosen = [i for i, sequence in enumerate(vowels.test.sequences) if len(sequence) >= 12][:6]
    data, wanted = tmp_path / "data.npy", tmp_path / "wanted.csv"
    np.save(data, np.stack([vowels.test.sequences[i][:12] for i in chosen]))
    wanted.write_text("\n".join(vowels.labels[vowels.test.labels[i]] for i in chosen))
    return data, wanted


def run(models, data, wanted, output, *more):
    command = ["robustness", *map(str, models), "--data", str(data), "--wanted", str(wanted)]
    command += ["--seeds", "1", "--backend", "litert", "--output", str(output), *more]
    return CliRunner().invoke(main, command)


def test_it_tries_each_disturbance_and_goes_on(models, files, tmp_path, monkeypatch):
    page = tmp_path / "page.html"
    result = run(models, *files, page)
    assert result.exit_code == 0, result.output
    assert all(name in result.output for name in DISTURBANCES)
    text = page.read_text()
    assert all(name in text for name in DISTURBANCES)
    assert text.count("<svg") == 1
    assert not re.search(r"<script|<link|src=", text)
    kept = page.with_suffix(".jsonl").read_text()
    lines = [json.loads(line) for line in kept.splitlines()]
    assert {line["key"]["disturbance"] for line in lines} == {UNDISTURBED, *DISTURBANCES}
    assert {line["file"] for line in lines} == {path.name for path in models}

    # An interrupted run computes what is missing, and nothing else.
    page.with_suffix(".jsonl").write_text("\n".join(kept.splitlines()[:-1]))
    computed = []

    def counted(model, data, trial, backend):
        computed.append(trial)
        return score(model, data, trial, backend)

    monkeypatch.setattr(study_module, "score", counted)
    assert run(models, *files, page).exit_code == 0
    assert len(computed) == 1
    assert page.with_suffix(".jsonl").read_text() == kept


def test_undisturbed_it_is_what_the_contract_says(models):
    for path in models:
        model = load_step_model(path)
        found = score(model, of_task(model), Trial(UNDISTURBED, 0.0, 0), "litert")
        assert found == pytest.approx(model.contract.metrics["accuracy"], abs=1e-4)


@pytest.mark.parametrize(
    ("name", "severity"),
    [("noise", 2.0), ("dead channels", 0.5), ("bit flips in the weights", 1e-2)],
)
def test_what_is_strong_costs_accuracy(models, name, severity):
    model = load_step_model(models[1])
    data = of_task(model)
    before = score(model, data, Trial(UNDISTURBED, 0.0, 0), "litert")
    assert score(model, data, Trial(name, severity, 0), "litert") < before - 0.1


def test_bits_of_the_state_flip_between_two_steps(models, files):
    model = load_step_model(models[1])
    data = of_files(model, str(files[0]), files[1])
    trial = Trial("bit flips in the state", 0.5, 0)
    # Half of all bits: the state says nothing any more.
    assert score(model, data, trial, "litert") < 0.7
    rare = Trial("bit flips in the state", 1e-12, 0)
    undisturbed = score(model, data, Trial(UNDISTURBED, 0.0, 0), "litert")
    assert score(model, data, rare, "litert") == undisturbed


def test_flipped_weights_are_those_of_the_copy_alone(models, vowels):
    model = load_step_model(models[1])
    sequence = vowels.test.sequences[0]
    before = Stream(model, "litert").run(sequence)
    flipped = with_flipped_weights(model, 0.01, np.random.default_rng(1))
    assert not np.array_equal(Stream(flipped, "litert").run(sequence), before)
    np.testing.assert_array_equal(Stream(model, "litert").run(sequence), before)
    changed = np.frombuffer(flipped.flatbuffer, np.uint8) != np.frombuffer(
        model.flatbuffer, np.uint8
    )
    share = changed.sum() / model.contract.parameters
    assert 0.02 < share < 0.2


def test_recovery_is_counted_in_steps(models):
    model = load_step_model(models[0])
    found = recovery(model, of_task(model), "litert")
    assert 0 < found.median <= found.slowest_tenth < GAP_STEPS
    assert 0 <= found.never < 0.5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nobody\n" * 6, "'nobody' is neither an index nor one of the model's labels"),
        ("0\n" * 3, "3 answers are wanted of 6 sequences"),
        ("99\n" * 6, "outside of the model's 9 outputs"),
    ],
)
def test_what_does_not_fit_is_one_line(models, files, tmp_path, content, message):
    files[1].write_text(content)
    result = run(models, *files, tmp_path / "page.html")
    assert result.exit_code == 3
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.full(12, 9), "classes are numbers from 0 to 8, one for each step"),
        (np.full(12, -2), "classes are numbers from 0 to 8, one for each step"),
        (np.zeros(11, np.int64), "has 12 steps and 11 answers"),
        (np.int64(3), "has 12 steps and no answers"),
        (np.full((12, 9), np.nan), "values are 9 finite numbers for each step"),
        (np.zeros((12, 2)), "values are 9 finite numbers for each step"),
        (np.full(12, "a"), "answers are integers or floats, not <U1"),
        (np.full(12, None), "Object arrays cannot be loaded"),
        (np.zeros(1 << 20, np.uint8), "its arrays would unpack to"),
    ],
)
def test_answers_at_steps_that_do_not_fit_are_one_line(
    models, files, tmp_path, monkeypatch, answer, message
):
    monkeypatch.setattr("device_runner.model.array_files.UNPACKED_BYTES", 1 << 19)
    wanted = tmp_path / "wanted.npz"
    np.savez_compressed(wanted, **{str(number): answer for number in range(6)})
    result = run(models, files[0], wanted, tmp_path / "page.html")
    assert result.exit_code == 3
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_an_archive_that_is_none_is_one_line(models, files, tmp_path):
    wanted = tmp_path / "wanted.npz"
    wanted.write_bytes(b"PK\3\4" + bytes(40))
    result = run(models, files[0], wanted, tmp_path / "page.html")
    assert result.exit_code == 3
    assert "wanted.npz: cannot be read" in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_data_without_what_is_wanted_is_refused(models, files):
    result = CliRunner().invoke(main, ["robustness", str(models[0]), "--data", str(files[0])])
    assert result.exit_code == 2
    assert "--data and --wanted belong together" in result.output


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            "basic-motions",
            "the model takes 'LPC cepstrum 1', which the task basic-motions does not",
        ),
        ("vowels", "did you mean 'japanese-vowels'"),
    ],
)
def test_a_task_that_does_not_fit_is_one_line(models, task, message):
    result = CliRunner().invoke(main, ["robustness", str(models[0]), "--task", task])
    assert result.exit_code in (2, 3)
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_another_tasks_outputs_are_not_the_models(models, vowels, monkeypatch):
    model = load_step_model(models[0])
    monkeypatch.setattr("models.tasks.load_task", lambda _: replace(vowels, labels=("a", "b")))
    with pytest.raises(PipelineError, match="not those of the task"):
        of_task(model, "other")
    monkeypatch.setattr("models.tasks.load_task", lambda _: vowels)
    assert of_task(model, "other").metric == of_task(model).metric


def test_files_of_others_are_left(models, files, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<html>mine</html>")
    result = run(models, *files, page)
    assert result.exit_code == 2
    assert "is not a page of 'edgestep robustness'" in result.output
    page.unlink()
    page.with_suffix(".jsonl").write_text('{"mine": 1}\n')
    result = run(models, *files, page)
    assert result.exit_code == 3
    assert page.with_suffix(".jsonl").read_text() == '{"mine": 1}\n'


def test_a_damaged_score_is_named_with_its_line(tmp_path):
    path = tmp_path / "scores.jsonl"
    path.write_text('{"robustness_format": 1, "key"')
    with pytest.raises(PipelineError, match="line 1"):
        Kept(path)


def test_a_study_is_kept_in_json(models, files):
    model = load_step_model(models[0])
    data = of_files(model, str(files[0]), files[1])
    scores = {Trial(UNDISTURBED, 0.0, 0): 0.9, Trial("noise", 0.5, 1): 0.7}
    found = ModelStudy("a.tflite", "int8", "gru", data.metric, scores, Recovery(1, 2, 0))
    again = ModelStudy.read(json.loads(json.dumps(found.to_json())))
    assert again.scores == scores
    assert again.recovery == found.recovery
    assert again.metric.facts() == found.metric.facts()


def test_curves_without_bounds_keep_to_what_a_browser_can_draw():
    error = MetricDescription("mean absolute error", "mg/dL", False)
    scores = {Trial(UNDISTURBED, 0.0, 0): 10.0}
    scores |= {Trial("noise", severity, 0): 10 + severity for severity in (0.1, 1.0)}
    scores |= {Trial("bit flips in the state", severity, 0): 1e37 for severity in (1e-5, 1e-4)}
    study = ModelStudy("gru-float32.tflite", "float32", "gru", error, scores, Recovery(1, 2, 0.0))
    page = str(robustness_part([study]))
    assert "go on outside" in page
    paths = " ".join(re.findall(r' d="([^"]*)"', page))
    assert max(abs(float(found)) for found in re.findall(r"-?[\d.]+", paths)) < 1e5
