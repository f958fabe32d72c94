"""Several inputs and outputs, token ids and states of other shapes, on the runtimes here."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from convert.exporters.onnx import export_onnx
from convert.schemes import load_scheme, parse_scheme
from device_runner.errors import BadInputError, BadModelError, NotFiniteError
from device_runner.model.contract import Contract
from device_runner.model.step_file import load_step_model
from device_runner.model.tensor_spec import TensorSpec
from device_runner.stream import Stream, Streams
from device_runner.verify import verify
from tests.hand_made_steps import MADE, VOCABULARY, step_model

MODELS = [*((name, "float32") for name in MADE), *((name, "int8") for name in MADE)]
# Further schemes that are computed otherwise where there is an embedding.
MODELS += [("tokens", scheme) for scheme in ("int16x8", "int8:per-channel", "dynamic", "float16")]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A hand-made step model by (name, scheme), on demand."""
    folder = tmp_path_factory.mktemp("hand-made")
    kept = {}

    def get(name: str, scheme: str = "float32"):
        if (name, scheme) not in kept:
            kept[name, scheme] = step_model(name, folder, scheme)
        return kept[name, scheme]

    return get


@pytest.mark.parametrize("backend", ["litert", "reference"])
@pytest.mark.parametrize(("name", "scheme"), MODELS)
def test_computes_what_tensorflow_computes(made, name, scheme, backend):
    model = made(name, scheme)
    verification = verify(Stream(model, backend))
    assert verification.failure is None
    assert verification.steps == 48
    spread = np.ptp(model.golden.y)
    assert verification.rms < {"float32": 1e-6}.get(scheme, 0.05) * spread


@pytest.mark.parametrize(("name", "scheme"), MODELS)
def test_integer_schemes_have_no_other_dtypes_and_no_conversions(made, name, scheme):
    model = made(name, scheme)
    load_scheme(parse_scheme(scheme).base).check_dtypes(model.graph)
    for spec in model.contract.inputs:
        assert (spec.vocabulary is not None) == (spec.dtype == "int32")


def _verified(backend: str, files: list) -> list[dict]:
    process = subprocess.run(
        [sys.executable, "-m", "device_runner", "verify", "--json", "--backend", backend, *files],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    return [json.loads(line) for line in process.stdout.splitlines()]


@pytest.mark.parametrize(
    ("backend", "package"), [("tflite-runtime", "tflite_runtime"), ("micro", "tflite_micro")]
)
def test_another_runtime_computes_the_same(made, backend, package):
    """All in one process of its own: two TFLite runtimes in one can crash each other."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    models = [made(*model) for model in MODELS if backend != "micro" or model[1] in MICRO_SCHEMES]
    found = _verified(backend, [str(model.path) for model in models])
    assert [facts["failure"] for facts in found] == [None] * len(models)


MICRO_SCHEMES = ("float32", "int8", "int8:per-channel")


@pytest.mark.parametrize("name", MADE)
def test_onnx_computes_the_same(made, name):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    model = made(name)
    assert export_onnx(model, model.path.with_suffix(".onnx")).failure is None
    assert verify(Stream(model, "onnxruntime")).max_abs < 1e-5


def _first_steps(stream: Stream, frames: dict[str, np.ndarray], steps: int) -> list:
    return [
        stream.step({name: values[at] for name, values in frames.items()}) for at in range(steps)
    ]


@pytest.mark.parametrize("backend", ["litert", "native"])
@pytest.mark.parametrize("name", MADE)
def test_steps_are_the_run_and_a_tuple_is_a_dict(made, name, backend):
    stream, frames = Stream(made(name), backend), MADE[name].frames()
    run = stream.run(frames)
    run = run if isinstance(run, dict) else {"y": run}
    stream.reset()
    for position, y in enumerate(_first_steps(stream, frames, 20)):
        found = y if isinstance(y, dict) else {"y": y}
        assert list(found) == [spec.name for spec in stream.model.contract.outputs]
        for key, values in found.items():
            np.testing.assert_array_equal(values, run[key][position])
    stream.reset()
    if len(frames) > 1:
        again = stream.run(tuple(frames.values()))
        np.testing.assert_array_equal(again["y"] if isinstance(again, dict) else again, run["y"])
        stream.reset()
        stepped = stream.step(tuple(values[0] for values in frames.values()))
        first = stepped["y"] if isinstance(stepped, dict) else stepped
        np.testing.assert_array_equal(first, run["y"][0])


@pytest.mark.parametrize("backend", ["litert", "native", "reference"])
def test_bytes_are_in_the_contracts_order(made, backend):
    stream, frames = Stream(made("two"), backend), MADE["two"].frames()
    y = stream.run({name: values[:1] for name, values in frames.items()})
    stream.reset()
    stored = stream.step_bytes(frames["x"][0].tobytes() + frames["context"][0].tobytes())
    np.testing.assert_array_equal(
        np.frombuffer(stored, np.float32), np.concatenate([y["y"][0], y["energy"][0]])
    )


def test_each_outputs_shape(made):
    frames = MADE["two"].frames(7)
    outputs = Stream(made("two"), "litert").run(frames)
    assert {name: values.shape for name, values in outputs.items()} == {
        "y": (7, 4),
        "energy": (7, 2),
    }
    assert Stream(made("image"), "litert").run(MADE["image"].frames(7)["x"]).shape == (7, 4)


@pytest.mark.parametrize("backend", ["litert", "reference"])
@pytest.mark.parametrize("name", ["tokens", "matrix", "counting"])
def test_reset_writes_the_initial_states(made, name, backend):
    stream, frames = Stream(made(name), backend), MADE[name].frames()
    initial = {state.name: state.initial_bytes() for state in stream.model.contract.states}
    assert stream.state_bytes() == initial
    assert any(any(content) for content in initial.values())
    first = stream.run(frames)
    assert stream.state_bytes() != initial
    stream.reset()
    assert stream.state_bytes() == initial
    np.testing.assert_array_equal(stream.run(frames), first)


def test_a_count_goes_on_by_one(made):
    stream = Stream(made("counting", "int8"), "litert")
    stream.run(MADE["counting"].frames(5))
    assert np.frombuffer(stream.state_bytes()["n"], np.int32) == 7 + 5


@pytest.mark.parametrize("backend", ["litert", "native"])
def test_streams_of_states_of_other_shapes_are_apart(made, backend):
    streams, frames = Streams(made("matrix"), backend), MADE["matrix"].frames()["x"]
    expected = Stream(made("matrix"), backend).run(frames[:10])
    one, other = streams.open(), streams.open()
    for position in range(10):
        np.testing.assert_array_equal(one.step(frames[position]), expected[position])
        other.step(-frames[position])
    saved = one.save_state()
    other.load_state(saved)
    np.testing.assert_array_equal(other.step(frames[10]), one.step(frames[10]))


# Several inputs in one call of C


def test_several_inputs_go_through_the_call(made):
    stream, other = Stream(made("two"), "native"), Stream(made("two"), "native")
    frames = MADE["two"].frames(6)
    for x, context in zip(frames["x"], frames["context"], strict=True):
        given = [{"x": x, "context": context}, {"context": context, "x": x}, (x, context)]
        given += [[x, context], (x.astype(np.float64), context), (list(x), context[None])]
        for inputs in given:
            found, wanted = stream.step(inputs), other._general_step(inputs)
            assert list(found) == list(wanted) == ["y", "energy"]
            for name, values in found.items():
                np.testing.assert_array_equal(values, wanted[name])
    assert stream.state_bytes() == other.state_bytes()


def test_wrong_inputs_of_several_are_refused_and_change_nothing(made):
    stream = Stream(made("two"), "native")
    x, context = (values[0] for values in MADE["two"].frames(1).values())
    stream.step((x, context))
    before = stream.state_bytes()
    wrong = [{}, {"x": x}, {"x": x, "other": context}, {"x": x, "context": context, 3: x}, (x,), x]
    wrong += [(x, context, x), (context, x), (x, context * np.nan), None, {"x": x, "context": None}]
    for inputs in wrong:
        with pytest.raises(BadInputError):
            stream.step(inputs)
    assert stream.state_bytes() == before


def test_an_output_of_several_that_is_not_finite_is_named(made):
    stream = Stream(made("two"), "native")
    x, context = (values[0] for values in MADE["two"].frames(1).values())
    huge = (np.full_like(x, 3e38), np.full_like(context, 3e38))
    with pytest.raises(NotFiniteError, match=r"output '(y|energy)' is (nan|-?inf)"):
        stream.step(huge)


# Refused inputs


@pytest.mark.parametrize("token", [5, np.int64(5), np.array(5), np.array([5]), np.array([[5]])])
def test_a_token_is_an_integer(made, token):
    stream = Stream(made("tokens"), "litert")
    first = stream.step(token)
    stream.reset()
    np.testing.assert_array_equal(stream.run(np.array([[5]]))[0], first)


@pytest.mark.parametrize(
    ("token", "part"),
    [
        (VOCABULARY, f"the token id {VOCABULARY}; the vocabulary's ids are 0 to {VOCABULARY - 1}"),
        (-1, "the token id -1"),
        (10**20, "the token id 100000000000000000000"),
        (1.0, "dtype float64"),
        ("a", "one token id is needed"),
        (np.array([1, 2]), "shape (2,)"),
        ([[1], [2, 3]], "is not a token id"),
        (None, "one token id is needed"),
    ],
)
def test_another_token_is_refused_and_changes_nothing(made, token, part):
    stream = Stream(made("tokens"), "litert")
    stream.step(3)
    before = stream.state_bytes()
    with pytest.raises(BadInputError) as caught:
        stream.step(token)
    assert part in caught.value.message
    assert "\n" not in caught.value.message
    assert stream.state_bytes() == before


@pytest.mark.parametrize(
    ("ids", "part"),
    [
        ([[1], [VOCABULARY]], f"the token id {VOCABULARY} at step 1"),
        ([[-3]], "the token id -3 at step 0"),
        ([[1.0]], "token ids (integers) are needed"),
        ([1, 2], "the model takes [steps, 1] token ids"),
    ],
)
def test_other_token_sequences_are_refused(made, ids, part):
    with pytest.raises(BadInputError) as caught:
        Stream(made("tokens"), "litert").run(np.array(ids))
    assert part in caught.value.message


@pytest.mark.parametrize("method", ["step", "run"])
@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda frames: frames["x"], "give a dict by name or a tuple of 2"),
        (lambda frames: {"x": frames["x"]}, "the model takes x, context"),
        (lambda frames: {**frames, "more": frames["x"]}, "inputs x, context, more given"),
        (lambda frames: (frames["x"],), "the inputs x, context"),
        (lambda frames: {**frames, "context": frames["x"]}, "input 'context' has shape"),
        (lambda frames: {**frames, "context": np.nan * frames["context"]}, "input 'context' holds"),
    ],
)
def test_other_inputs_are_refused(made, method, change, part):
    frames = MADE["two"].frames(4)
    stream = Stream(made("two"), "litert")
    given = {name: values[0] for name, values in frames.items()} if method == "step" else frames
    with pytest.raises(BadInputError) as caught:
        getattr(stream, method)(change(given))
    assert part in caught.value.message


def test_inputs_of_other_lengths_are_refused(made):
    frames = MADE["two"].frames(4)
    with pytest.raises(BadInputError, match="differ in their number of steps: 'x' 4, 'context' 3"):
        Stream(made("two"), "litert").run({**frames, "context": frames["context"][:3]})


# The contract and the commands


def test_contract_is_read_back_as_written(made, tmp_path):
    end = {"kind": "characters", "alphabet": ["a", "b"]}
    model = step_model("mixed", tmp_path, front_end=end)
    assert model.contract.front_end == end
    assert Contract.from_json(model.contract.to_json()) == model.contract
    assert [spec.name for spec in model.contract.inputs] == ["x", "level"]
    assert model.contract.input.vocabulary == VOCABULARY


def test_inspect_shows_all_inputs_outputs_and_the_front_end(tmp_path, invoke):
    end = {"kind": "characters", "alphabet": [chr(code) for code in range(97, 123)]}
    mixed = step_model("mixed", tmp_path, front_end=end)
    text = invoke("inspect", mixed.path).stdout
    assert f"in   x [1, 1] int32, token ids 0 to {VOCABULARY - 1}" in text
    assert "in   level [1, 3] float32" in text
    assert 'front end alphabet: (26 entries), kind: "characters"' in text
    two = invoke("inspect", step_model("two", tmp_path).path).stdout
    assert "out  y [1, 4] float32" in two
    assert "out  energy [1, 2] float32" in two
    matrix = invoke("inspect", step_model("matrix", tmp_path).path).stdout
    assert "state m [1, 4, 4] float32  initial -0.5, -0.433333" in matrix
    assert "0.5 (16)" in matrix


def test_a_csv_line_holds_all_inputs(made, invoke):
    model, frames = made("mixed"), MADE["mixed"].frames(3)
    lines = [
        ",".join([str(int(x[0])), *map(repr, level.tolist())])
        for x, level in zip(frames["x"], frames["level"], strict=True)
    ]
    result = invoke("stream", model.path, input="\n".join(lines))
    expected = Stream(model).run(frames)
    assert result.exit_code == 0
    for line, y in zip(result.stdout.splitlines(), expected, strict=True):
        np.testing.assert_allclose([float(v) for v in line.split(",")[2:]], y, rtol=1e-4)


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("1,2,3", "line 1: it has 3 values, the model takes 4"),
        ("1.5,0,0,0", "line 1: invalid literal for int"),
        (f"{VOCABULARY},0,0,0", f"line 1: input 'x' holds the token id {VOCABULARY}"),
    ],
)
def test_another_csv_line_is_refused(made, invoke, error_line, line, part):
    result = invoke("stream", made("mixed").path, input=line)
    assert result.exit_code == 3
    assert part in error_line(result)


def test_every_output_is_printed(made, invoke):
    values = ",".join("0.5" for _ in range(9))
    printed = invoke("stream", made("two").path, input=values).stdout.strip().split(",")
    assert len(printed) == 2 + 4 + 2


def test_bench_takes_tokens_and_several_inputs(made, invoke):
    files = [made("tokens").path, made("two").path]
    result = invoke("bench", *files, "--steps", 100, "--rounds", 1, "--warmup", 0, "--json")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [facts["latency_ns"]["step"]["samples"] for facts in found] == [100, 100]


def test_a_further_output_that_is_wrong_fails_the_verification(made):
    model = made("two")
    energy = model.golden.outputs["energy"] + 0.3 * np.ptp(model.golden.outputs["energy"])
    golden = replace(model.golden, outputs={**model.golden.outputs, "energy": energy})
    verification = verify(Stream(replace(model, golden=golden), "litert"))
    assert verification.failure is not None
    assert verification.rms == pytest.approx(0.3 * np.ptp(model.golden.y), rel=1e-3)


def test_a_table_with_too_few_rows_is_refused(tmp_path):
    with pytest.raises(BadModelError, match=r"vocabulary of 21, its table is of shape \(20, 6\)"):
        step_model("tokens", tmp_path, inputs=(TensorSpec("x", (1, 1), "int32", vocabulary=21),))


def test_saved_files_load_again(made):
    for name in MADE:
        model = load_step_model(made(name).path)
        assert model.golden.steps == 48
        assert len(model.golden.sequences()) == 2
