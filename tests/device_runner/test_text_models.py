"""Models of text on the device: stream, sample and translate, on models trained on messages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device_runner.errors import BadInputError, MissingRuntimeError
from device_runner.front_ends.text import Tokenizer, describe_characters
from device_runner.generation import generate, generating_tokenizer, tokenizer_of, translate
from device_runner.model.step_file import load_step_model
from device_runner.model.window import Window
from device_runner.stream import Stream

LITERT = ("--backend", "litert")


@pytest.fixture(scope="module")
def text_models(tmp_path_factory) -> dict[str, Path]:
    """Files by scheme of a small language model of "English TAB French LF", from Django's
    messages."""
    import tf_keras as keras

    from calibration.rollout import long_streams
    from convert.export import export, float_step
    from models.network import Architecture
    from models.tasks.interface_messages import django_messages
    from models.tasks.sequence_set import SequenceSet
    from models.tasks.task import Task
    from models.training import fit
    from models.training_settings import TrainingSettings

    pairs = [pair for pair in django_messages("fr").items() if len("".join(pair)) < 20][:96]
    texts = [f"{english}\t{french}\n" for english, french in pairs]
    front_end = describe_characters(["".join(texts)], separator="\t", end="\n")
    tokenizer = Tokenizer(front_end)
    ids = [tokenizer.encode(text, verbatim=True) for text in texts]
    nothing = np.zeros(len(ids), np.int64)
    data = SequenceSet(
        [one[:-1, np.newaxis] for one in ids],
        nothing,
        nothing,
        step_labels=[one[1:].astype(np.int64) for one in ids],
    )
    train, test = data.select(np.arange(80)), data.select(np.arange(80, 96))
    task = Task(
        name="messages", train=train, validation=test, test=test, labels=tokenizer.names(),
        channels=("character",), units="token id", frame_period_s=0.2, frame_period_source="",
        group_name="", source="Django", vocabulary=tokenizer.vocabulary, front_end=front_end,
    )  # fmt: skip
    keras.utils.set_random_seed(1)
    architecture = Architecture(
        "gru", (24,), 1, len(task.labels), vocabulary=task.vocabulary, embedding=8
    )
    network = architecture.build()
    fit(network, task, TrainingSettings(epochs=15, learning_rate=2e-2))
    step = float_step(network)
    ranges = step.calibrate(long_streams(train.sequences, 1000, 1))
    folder = tmp_path_factory.mktemp("text-models")
    files = {scheme: folder / f"messages-{scheme}.tflite" for scheme in ("float32", "int8")}
    for scheme, file in files.items():
        export(network, architecture, task, scheme, file, step, ranges)
    return files


@pytest.fixture(scope="module")
def stream(text_models) -> Stream:
    return Stream(text_models["float32"], "litert")


def test_the_file_brings_the_tokenizer(text_models):
    for file in text_models.values():
        model = Stream(file, "litert").model
        tokenizer = generating_tokenizer(model)
        assert tokenizer.names() == model.labels
        assert tokenizer.vocabulary == model.contract.input.vocabulary


def test_text_is_written_by_steps_on_the_likeliest_token(stream):
    tokenizer = tokenizer_of(stream.model)
    prompt = tokenizer.encode("Save")
    written = list(generate(stream, prompt, 12))
    read = np.concatenate([prompt, written])
    stream.reset()
    y = stream.run(read[:-1, np.newaxis].astype(np.int32))
    assert written == (y[len(prompt) - 1 :, 2:].argmax(-1) + 2).tolist()


def test_samples_are_seeded_and_follow_the_temperature(stream):
    prompt = [tokenizer_of(stream.model).end_id]
    cold, *warm = (
        list(generate(stream, prompt, 60, temperature, seed))
        for temperature, seed in ((1e-6, 1), (1.0, 1), (1.0, 1), (1.0, 2))
    )
    assert cold == list(generate(stream, prompt, 60))
    assert warm[0] == warm[1] != warm[2]
    assert min(warm[0]) >= 2


def test_a_translation_ends_where_the_model_ends_it(stream):
    tokenizer = tokenizer_of(stream.model)
    text = translate(stream, tokenizer, "Save", 200)
    assert 0 < len(text) < 200
    assert "\n" not in text
    assert len(translate(stream, tokenizer, "Save", 2)) <= 2
    with pytest.raises(BadInputError, match="give a prompt"):
        next(generate(stream, [], 3))


def test_each_line_is_a_sequence_of_its_own(text_models, invoke, tmp_path):
    file = text_models["int8"]
    source = tmp_path / "lines.txt"
    source.write_text("Save\n\nDelete\nSave\n", encoding="utf-8")
    result = invoke("stream", file, f"text:{source}", *LITERT)
    assert result.exit_code == 0, result.output
    lines = [line.split(",", 1) for line in result.stdout.splitlines()]
    assert [number for number, _ in lines] == ["1", "3", "4"]
    assert lines[0][1] == lines[2][1] != lines[1][1]
    piped = invoke("stream", file, *LITERT, "--each-token", input="Save\n")
    assert [line.split(",")[:2] for line in piped.stdout.splitlines()] == [
        ["1", "1"], ["1", "2"], ["1", "3"], ["1", "4"],
    ]  # fmt: skip
    assert piped.stdout.splitlines()[-1].split(",", 2)[2] == lines[0][1]


def test_sample_and_translate_print_text(text_models, invoke):
    sampled = invoke("sample", text_models["int8"], *LITERT, "--prompt", "Sa", "--length", 20)
    assert sampled.exit_code == 0, sampled.output
    assert sampled.stdout.startswith("Sa")
    assert len(sampled.stdout) == 23
    translated = invoke("translate", text_models["float32"], *LITERT, input="Save\nDelete\n")
    assert translated.exit_code == 0, translated.output
    assert len(translated.stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("window", "part"),
    [(Window(5, 2, 0), "answers every 2 tokens"), (Window(5, 1, 0), "answers for its last 5")],
)
def test_a_text_model_with_a_window_needs_a_prompt_as_long(text_models, window, part):
    model = load_step_model(text_models["float32"])
    contract = replace(model.contract, window=window)
    stream = Stream(replace(model, contract=contract), "litert")
    with pytest.raises(BadInputError, match=part):
        list(generate(stream, [2, 3, 4], 5))
    if window.hop == 1:
        whole = list(generate(Stream(model, "litert"), [2, 3, 4, 5, 2], 5))
        assert list(generate(stream, [2, 3, 4, 5, 2], 5)) == whole


@pytest.mark.parametrize("command", ["sample", "translate"])
def test_a_model_of_no_text_is_refused(command, int8_file, invoke, error_line):
    result = invoke(command, int8_file, *LITERT, input="Save\n")
    assert result.exit_code == 3
    assert "does not take text" in error_line(result)
    streamed = invoke("stream", int8_file, "text:-", *LITERT, input="Save\n")
    assert "does not take text" in error_line(streamed)


def test_bytes_that_are_no_text_are_refused(text_models, invoke, error_line, tmp_path):
    source = tmp_path / "latin.txt"
    source.write_bytes(b"caf\xe9\n")
    result = invoke("stream", text_models["float32"], f"text:{source}", *LITERT)
    assert result.exit_code == 3
    assert "UTF-8" in error_line(result)


@pytest.mark.parametrize("scheme", ["float32", "int8"])
def test_ids_go_through_libedgestep(text_models, scheme):
    try:
        native, other = (Stream(text_models[scheme], "native") for _ in range(2))
    except MissingRuntimeError as error:
        pytest.skip(error.message)
    vocabulary = native.model.contract.input.vocabulary
    for token in (0, 5, vocabulary - 1):
        expected = other._general_step(token)
        np.testing.assert_array_equal(native.step(token), expected)
    for wrong in (-1, vocabulary, 2**70, True, 1.0):
        with pytest.raises(BadInputError):
            native.step(wrong)
    assert native.state_bytes() == other.state_bytes()
