"""Exported files prove themselves, and a wrong conversion leaves no file."""

import dataclasses
import os

import numpy as np
import pytest

import convert.export
from convert.errors import ContractViolationError, UnknownSchemeError
from convert.evaluation import step_outputs
from convert.export import export
from convert.model_metrics import Drift
from convert.schemes import float32, int8
from convert.verify import verify_on_runtimes
from device_runner.errors import BadModelError, VerificationError
from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream
from device_runner.verify import verify
from models.metrics import decisions
from models.prediction import predict
from tests.conftest import CELL_NAMES, QUICK_CELLS
from tests.models.random_networks import INPUTS, random_network, random_task


def test_contract_says_what_the_model_is(step_models, vowels, trained):
    model = load_step_model(step_models("lstm", "int8"))
    contract = model.contract
    assert (contract.cell, contract.units, contract.scheme) == ("lstm", (16,), "int8")
    assert contract.task == "japanese-vowels"
    assert contract.frame_period_s == vowels.frame_period_s
    assert model.labels == vowels.labels
    assert contract.channels == vowels.channels
    # 12 x 64 + 16 x 64 + 64 in the cell, 16 x 9 + 9 in the head
    assert contract.parameters == 12 * 64 + 16 * 64 + 64 + 16 * 9 + 9
    np.testing.assert_allclose(contract.normalization["mean"], vowels.normalization[0], rtol=1e-4)
    assert set(contract.versions) >= {"tensorflow", "litert-quantizer", "edgestep"}


def test_golden_sequences_are_real_and_the_networks_own(step_models, vowels, trained):
    golden = load_step_model(step_models("gru", "float32")).golden
    network, _ = trained("gru")
    start = 0
    for length in golden.lengths:
        x, y = golden.x[start : start + length], golden.y[start : start + length]
        source = [
            s[:length].astype(np.float16) for s in vowels.validation.sequences if len(s) >= length
        ]
        assert any((x == s.astype(np.float32)).all() for s in source)
        np.testing.assert_allclose(network(x[np.newaxis]).numpy()[0], y, atol=1e-6)
        start += length


def test_golden_outputs_are_rounded_far_below_the_tolerance(step_models):
    """In the int8 file, where half the bytes are enough; the float32 file keeps them all."""
    exact, rounded = (load_step_model(step_models("gru", scheme)) for scheme in ("float32", "int8"))
    np.testing.assert_array_equal(exact.golden.x, rounded.golden.x)
    difference = np.abs(exact.golden.y - rounded.golden.y).max()
    assert 0 < difference < 0.1 * rounded.contract.tolerance.rms
    assert (rounded.golden.y == rounded.golden.y.astype(np.float16)).all()
    assert not (exact.golden.y == exact.golden.y.astype(np.float16)).all()


@pytest.mark.parametrize("size", [1e6, 1e-7])
def test_inputs_that_float16_cannot_hold_are_golden_as_they_are(tmp_path, size):
    """Such as a pressure in pascal, or a current in ampere."""
    task = random_task()
    network, architecture = random_network("gru")
    # Small weights: a network of large ones is chaotic, and any rounding grows.
    network.set_weights([0.3 * weight for weight in network.get_weights()])
    normalization = network.get_layer("normalization")
    normalization.adapt(size * np.ones(INPUTS), size * np.ones(INPUTS))
    known = task.validation
    sequences = [(size * sequence).astype(np.float32) for sequence in known.sequences]
    task = dataclasses.replace(task, validation=dataclasses.replace(known, sequences=sequences))
    path = tmp_path / "large.tflite"
    export(network, architecture, task, "float32", path)
    golden = load_step_model(path).golden
    first = golden.sequences()[0]["x"]
    assert any(np.array_equal(first, sequence[: len(first)]) for sequence in sequences)
    assert verify(Stream(path, "litert")).failure is None


def test_accuracy_in_the_contract_is_that_of_the_stepped_file(step_models, vowels):
    path = step_models("gru", "int8")
    decided = decisions(step_outputs(Stream(path, "litert"), vowels.test), vowels.test.lengths)
    accuracy = load_step_model(path).contract.metrics["accuracy"]
    assert accuracy == pytest.approx(np.mean(decided == vowels.test.labels), abs=1e-4)


def test_stepped_float_decides_as_the_network(step_models, vowels, trained):
    network, _ = trained("oru")
    whole = decisions(predict(network, vowels.test), vowels.test.lengths)
    stream = Stream(step_models("oru", "float32"), "litert")
    stepped = decisions(step_outputs(stream, vowels.test), vowels.test.lengths)
    assert np.mean(whole == stepped) > 0.99


def test_same_inputs_give_the_same_file(trained, vowels, tmp_path):
    network, architecture = trained("simple-rnn")
    for name in ("a", "b"):
        export(network, architecture, vowels, "float32", tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    "cells", [QUICK_CELLS, pytest.param(CELL_NAMES, marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_every_runtime_verifies_every_cell(step_models, cells):
    files = [step_models(cell, scheme) for cell in cells for scheme in ("float32", "int8")]
    found = verify_on_runtimes(files)
    assert {item["backend"] for item in found} >= {"litert", "tensorflow"}
    assert [item for item in found if item["failure"]] == []


def test_verification_survives_a_file_that_a_runtime_refuses(step_models, tmp_path):
    good = step_models("gru", "float32")
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(good.read_bytes()[:2000])
    answers = {
        (item["backend"], item["file"]): item["failure"] for item in verify_on_runtimes([bad, good])
    }
    assert answers["litert", good.name] is None
    assert "bad.tflite" in answers["litert", "bad.tflite"]


def test_a_conversion_that_computes_something_else_leaves_no_file(
    trained, vowels, tmp_path, monkeypatch
):
    """Fake float32: the network's graph with some weights overwritten."""

    def spoil(step, ranges, spec):
        spoiled = bytearray(step.flatbuffer)
        graph_end = len(spoiled) // 2
        values = np.frombuffer(spoiled, np.float32, 64, (graph_end // 4) * 4)
        spoiled[(graph_end // 4) * 4 : (graph_end // 4) * 4 + 256] = (values + 1).tobytes()
        return bytes(spoiled)

    monkeypatch.setattr(float32, "SCHEME", dataclasses.replace(float32.SCHEME, apply=spoil))
    network, architecture = trained("gru")
    path = tmp_path / "model.tflite"
    with pytest.raises((VerificationError, BadModelError)):
        export(network, architecture, vowels, "float32", path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("agreement", "error"), [(0.9, 0.0), (0.9, 99.0), (0.3, 0.0)])
def test_close_calls_on_the_golden_steps_are_judged_by_a_long_stream(
    trained, calibrated, vowels, tmp_path, monkeypatch, agreement, error
):
    """A golden sequence between two classes says nothing of a scheme that keeps to the values and
    decides as the float model does over thousands of steps."""

    def undecided(stream):
        return dataclasses.replace(verify(stream), argmax_agreement=0.3, max_abs=error)

    def long_stream(*_):
        return Drift(10_000, 0.01, 0.01, 0.01, 0.1, argmax_agreement=agreement)

    monkeypatch.setattr(convert.export, "verify", undecided)
    monkeypatch.setattr(convert.export, "drift", long_stream)
    network, architecture = trained("gru")
    path = tmp_path / "model.tflite"
    if agreement < 0.5 or error:
        with pytest.raises(VerificationError, match="is too coarse"):
            export(network, architecture, vowels, "int8", path, *calibrated("gru"))
        assert not path.exists()
    else:
        export(network, architecture, vowels, "int8", path, *calibrated("gru"))
        assert load_step_model(path).contract.tolerance.argmax_agreement == 0


def test_float_tensors_in_an_int8_graph_are_refused(trained, vowels, tmp_path, monkeypatch):
    """Fake int8 that leaves the float graph as it is."""
    fake = dataclasses.replace(int8.SCHEME, apply=lambda step, ranges, spec: step.flatbuffer)
    monkeypatch.setattr(int8, "SCHEME", fake)
    network, architecture = trained("gru")
    with pytest.raises(ContractViolationError, match="float32 in scheme int8"):
        export(network, architecture, vowels, "int8", tmp_path / "model.tflite")


def test_an_unknown_scheme_suggests_the_nearest(trained, vowels, tmp_path):
    network, architecture = trained("gru")
    with pytest.raises(UnknownSchemeError, match="did you mean 'int8'"):
        export(network, architecture, vowels, "int-8", tmp_path / "model.tflite")


def test_a_full_disk_leaves_no_half_written_file(trained, vowels, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    network, architecture = trained("gru")
    with pytest.raises(OSError, match="No space left"):
        export(network, architecture, vowels, "float32", tmp_path / "model.tflite")
    assert list(tmp_path.iterdir()) == []
