"""TFLite files of others become step models that compute what the files do."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from convert.adoption.adopt import Wishes, adopt_file
from convert.tflite_editor import TfliteEditor
from device_runner.model.flatbuffer import read_graph
from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream
from tests.conftest import KEPT_STEP_MODELS
from tests.foreign_files import foreign_file

STEPS, FRAME = 40, 5
# By file: the names of its input and first output, and of its states from output to input.
KEPT_INSIDE: dict[str, str] = {}
FILES = {
    "function-gru": ("frame", "probabilities", {"state_0": "state_0"}),
    "states-lstm": ("x", "dense", {"lstm": "h_in", "lstm_1": "c_in"}),
    "states-lstm-open-batch": ("x", "dense", {"lstm": "h_in", "lstm_1": "c_in"}),
    "stateful-lstm-loop": ("", "", KEPT_INSIDE),
    "stateful-gru-unrolled": ("", "", KEPT_INSIDE),
    "stateful-lstm-int8": ("", "", KEPT_INSIDE),
    "fused-lstm": ("", "", KEPT_INSIDE),
    "fused-lstm-open-time": ("", "", KEPT_INSIDE),
}


def frames(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(STEPS, 1, FRAME)).astype(np.float32)


def stepped_original(name: str, x: np.ndarray) -> np.ndarray:
    """The file itself, stepped by TFLite's own signature runner, [steps, outputs]."""
    interpreter = Interpreter(model_path=str(foreign_file(name)))
    runner = interpreter.get_signature_runner()
    taken, given, pairs = FILES[name]
    details = runner.get_input_details()
    # The converter numbers layers; what follows the number is what the names above say.
    outputs = sorted(runner.get_output_details())
    taken = taken or next(iter(details))
    if pairs and "dense" in given:
        (given,) = (one for one in outputs if one.startswith("dense"))
        h, c = (one for one in outputs if one.startswith("lstm"))
        pairs = {h: "h_in", c: "c_in"}
    given = given or outputs[0]
    item, found = details[taken], []
    states = {one: np.zeros(details[one]["shape"], np.float32) for one in pairs.values()}
    for frame in x:
        value = frame.reshape(item["shape"])
        if item["dtype"] == np.int8:
            scale, zero = item["quantization"]
            value = np.clip(np.rint(value / scale) + zero, -128, 127).astype(np.int8)
        results = runner(**{taken: value}, **states)
        states = {one: results[out] for out, one in pairs.items()}
        y = results[given]
        if y.dtype == np.int8:
            scale, zero = runner.get_output_details()[given]["quantization"]
            y = (y.astype(np.float32) - zero) * scale
        found.append(y.ravel())
    return np.array(found)


def stepped(path: Path, x: np.ndarray) -> np.ndarray:
    stream = Stream(path, "litert")
    return stream.run(x.reshape(STEPS, *stream.model.contract.input.frame_shape)).reshape(STEPS, -1)


def adopt(path: Path, folder: Path, **wishes) -> tuple[Path, list[str]]:
    told: list[str] = []
    written = folder / "adopted.tflite"
    adopt_file(path, Wishes(**wishes), written, told.append)
    return written, told


@pytest.mark.parametrize("name", FILES)
def test_an_adopted_file_computes_what_the_file_does(name, tmp_path):
    written, told = adopt(foreign_file(name), tmp_path)
    x = frames()
    y, wanted = stepped(written, x), stepped_original(name, x)
    assert np.abs(y - wanted).max() < 1e-5
    assert np.abs(np.diff(wanted, axis=0)).max() > 1e-2
    contract = load_step_model(written).contract
    assert len(contract.states) == (1 if "gru" in name else 2)
    assert "not verified against a trained model" in contract.metrics["reference"]
    assert ("kept inside" in told[0]) == (FILES[name][2] is KEPT_INSIDE)
    # A reset begins anew, which the file itself cannot.
    stream = Stream(written, "litert")
    shaped = x.reshape(STEPS, *contract.input.frame_shape)
    first = stream.run(shaped)
    stream.reset()
    assert np.array_equal(stream.run(shaped), first)


@pytest.mark.parametrize(
    "name",
    [
        "function-gru",
        *(pytest.param(one, marks=pytest.mark.slow)
          for one in ("stateful-lstm-loop", "stateful-gru-unrolled", "fused-lstm",
                      "fused-lstm-open-time", "states-lstm-open-batch")),
    ],
)  # fmt: skip
def test_a_float_step_is_quantized_like_our_own(name, tmp_path):
    data = tmp_path / "x.npy"
    np.save(data, frames(1).reshape(STEPS, FRAME))
    written, _ = adopt(foreign_file(name), tmp_path, scheme="int8", data=str(data))
    model = load_step_model(written)
    assert {state.dtype for state in model.contract.states} == {"int8"}
    wanted = stepped_original(name, frames(2))
    error = stepped(written, frames(2)) - wanted
    assert np.sqrt(np.mean(error**2)) < 0.05 * np.ptp(wanted)


@pytest.mark.parametrize("signed", [True, False])
def test_an_int8_step_is_adopted_as_it_is(signed, tmp_path):
    ours = load_step_model(KEPT_STEP_MODELS / "lstm-int8.tflite")
    editor = TfliteEditor(ours.flatbuffer)
    if not signed:
        editor.tree.signatureDefs = []
    path = tmp_path / "foreign.tflite"
    path.write_bytes(editor.flatbuffer())
    written, _ = adopt(path, tmp_path)
    model = load_step_model(written)
    assert {(one.dtype, one.scale) for one in model.contract.states} == {
        (one.dtype, one.scale) for one in ours.contract.states
    }
    one, other = Stream(ours, "litert"), Stream(model, "litert")
    for frame in ours.golden.x:
        one.step(frame)
        other.step(frame)
    assert sorted(one.state_bytes().values()) == sorted(other.state_bytes().values())


LINES = {
    "fused-lstm-int8": "its operator UNIDIRECTIONAL_SEQUENCE_LSTM keeps its state in int8 inside",
    "fused-lstm-window": "its operator UNIDIRECTIONAL_SEQUENCE_LSTM takes 20 frames at once",
    "states-lstm-int8": "state c_in comes in as int8 of scale",
}


@pytest.mark.parametrize("name", LINES)
def test_what_cannot_be_taken_out_is_refused_in_one_line(name, tmp_path):
    with pytest.raises(click.ClickException) as caught:
        adopt(foreign_file(name), tmp_path)
    message = caught.value.message
    assert message.startswith(f"{foreign_file(name)}: {LINES[name]}")
    assert "adopt the float file" in message or "convert the model again" in message
    assert "\n" not in message
    assert not (tmp_path / "adopted.tflite").exists()


def test_a_step_model_is_not_adopted_again(tmp_path):
    with pytest.raises(click.ClickException, match="has a step contract already"):
        adopt(KEPT_STEP_MODELS / "gru-int8.tflite", tmp_path)


def test_states_may_be_named(tmp_path):
    path = foreign_file("states-lstm")
    outputs = read_graph(path.read_bytes()).signatures[0].outputs
    h, c = sorted(name for name in outputs if name.startswith("lstm"))
    pairs = (("h_in", h), ("c_in", c))
    written, told = adopt(path, tmp_path, states=pairs)
    assert "by --state" in told[0]
    assert np.abs(stepped(written, frames()) - stepped_original("states-lstm", frames())).max() < (
        1e-5
    )
    with pytest.raises(click.ClickException, match="there is no output 'nothing'"):
        adopt(path, tmp_path, states=(("h_in", "nothing"),))


def test_a_loop_that_joins_with_nothing_is_unrolled(tmp_path):
    """Between two recurrences of one frame a converter joins its output with empty parts."""
    written, told = adopt(foreign_file("states-two-grus"), tmp_path)
    model = load_step_model(written)
    assert {state.name for state in model.contract.states} == {"s0", "s1"}
    assert "by connection" in told[0]
    assert not {"WHILE", "CONCATENATION", "SLICE"} & {one.name for one in model.graph.operators}
