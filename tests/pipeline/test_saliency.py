"""``edgestep saliency``: what counts, asked in two ways; what gates do and states remember."""

from __future__ import annotations

import re

import numpy as np
import pytest
from click.testing import CliRunner

from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream
from pipeline.cli import main
from pipeline.errors import PipelineError
from pipeline.interpretation.explanation import explain
from pipeline.interpretation.gradient import gradient_times_input, why_no_gradient
from pipeline.interpretation.memory import gates, half_lives
from pipeline.interpretation.occlusion import decision, occlusion
from pipeline.interpretation.patches import MOST, Patches
from pipeline.robustness.labelled import of_task
from tests.hand_made_steps import MADE, step_model


@pytest.fixture
def float_file(step_models):
    return step_models("gru", "float32")


def test_patches_cover_a_sequence_once():
    patches = Patches.of(100, 3)
    assert patches.shape == (MOST, 3)
    x = np.random.default_rng(1).normal(size=(100, 3))
    assert patches.sums(x).sum() == pytest.approx(x.sum())
    assert Patches.of(1, 1).shape == (1, 1)


def test_patches_of_a_long_sequence_are_short_at_its_end():
    ends = Patches.of(670, 1).steps
    lengths = np.diff(ends)
    assert (ends[0], ends[-1], len(lengths)) == (0, 670, MOST)
    assert lengths[-1] == 1
    assert (np.diff(lengths) <= 0).all()


def test_gradient_is_that_of_the_stepped_model(float_file, vowels):
    model = load_step_model(float_file)
    sequence = vowels.test.sequences[0].astype(np.float32)
    nothing = np.zeros(12, np.float32)
    stream = Stream(model, "litert")
    index = decision(model, stream, sequence).index
    found = gradient_times_input(model, sequence, nothing, index)
    assert found.shape == sequence.shape
    # Against a difference of the stepped model's own outputs.
    for step, channel in [(0, 0), (5, 3), (len(sequence) - 1, 7)]:
        size = 0.02
        values = []
        for sign in (1, -1):
            moved = sequence.copy()
            moved[step, channel] += sign * size
            stream.reset()
            values.append(float(stream.run(moved)[-1, index]))
        slope = (values[0] - values[1]) / (2 * size)
        assert found[step, channel] == pytest.approx(slope * sequence[step, channel], abs=2e-3)


def test_occlusion_finds_the_only_channel_that_counts(float_file, vowels):
    model = load_step_model(float_file)
    stream = Stream(model, "litert")
    sequence = vowels.test.sequences[3].astype(np.float32)
    nothing = sequence[0].copy()
    # All but one channel say nothing anyway.
    one = np.tile(nothing, (len(sequence), 1))
    one[:, 4] = sequence[:, 4]
    decided = decision(model, stream, one)
    effects = occlusion(stream, one, nothing, decided, Patches.of(*one.shape))
    assert np.abs(np.delete(effects, 4, axis=1)).max() < 1e-6
    assert np.abs(effects[:, 4]).max() > 1e-3


def test_the_two_ways_agree_and_gates_and_states_are_told(float_file):
    model = load_step_model(float_file)
    data = of_task(model).frames
    found = explain(model, data, 2, "litert")
    assert found.left_out == []
    assert len({one.decision.index for one in found.sequences}) == 2
    for one in found.sequences:
        assert one.agreement > 0.6
        assert len(one.gates) == 2
        assert all(0 <= gate.values.min() <= gate.values.max() <= 1 for gate in one.gates)
    assert [life.state for life in found.half_lives] == ["h"]
    assert 0 < found.half_lives[0].median < 400


def test_what_integers_and_tokens_do_not_have_is_said(step_models):
    model = load_step_model(step_models("gru", "int8"))
    found = explain(model, of_task(model).frames, 1, "litert")
    assert found.sequences[0].gradient is None
    assert "give the float32 file" in found.left_out[0]
    assert found.half_lives == []


def test_tokens_are_covered_by_padding(tmp_path):
    made = MADE["tokens"]
    model = step_model("tokens", tmp_path)
    assert why_no_gradient(model) == "token ids have no gradient"
    found = explain(model, [made.frames(20, 1)], 1, "litert")
    assert np.abs(found.sequences[0].occlusion).max() > 0
    assert found.sequences[0].occlusion.shape == (20, 1)


def test_several_inputs_are_refused(tmp_path):
    model = step_model("two", tmp_path)
    with pytest.raises(PipelineError, match="several inputs"):
        explain(model, [], 1, "litert")


def test_the_page_stands_alone_and_the_command_says_what_it_found(step_models, tmp_path):
    page = tmp_path / "why.html"
    command = ["saliency", str(step_models("gru", "float32")), "--output", str(page)]
    result = CliRunner().invoke(main, [*command, "--sequences", "1", "--backend", "litert"])
    assert result.exit_code == 0, result.output
    assert "half of what counts is in the last" in result.output
    assert "state h: a push is half forgotten after" in result.output
    assert re.search(r"the inputs that count most: LPC cepstrum \d+ \(\d+%\); ", result.output)
    text = page.read_text()
    assert text.count("<svg") == 2
    assert "<script" not in text


def test_a_gate_of_a_known_step_is_what_it_computes(float_file, vowels):
    model = load_step_model(float_file)
    sequence = vowels.test.sequences[0].astype(np.float32)
    (first, second) = gates(model, {"x": sequence})
    assert first.values.shape == second.values.shape == (len(sequence), 16)
    long = {"x": np.concatenate([*vowels.test.sequences[:60]]).astype(np.float32)}
    (life,) = half_lives(model, long, "litert")
    assert (life.steps > 0).all()
