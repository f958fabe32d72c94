"""Files that take rows: each row computes what the file of one row does, and knows no other."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from convert.errors import NotExportableError
from convert.export import step_of
from convert.file_conversion import convert_file
from convert.importers import import_model
from convert.row_rules import RULES
from convert.rows import with_rows, write_rows
from convert.step.contract_fields import contract_fields
from convert.step.step_module import StepModule
from device_runner.backends import reference
from device_runner.backends.backend import LoadOptions
from device_runner.cli import main as device_runner
from device_runner.errors import BadInputError, BadModelError, OptionError
from device_runner.model.contract import Contract
from device_runner.model.flatbuffer import read_graph
from device_runner.model.step_file import load_step_model
from device_runner.operators import OPERATORS
from device_runner.stream import Stream, Streams
from device_runner.verify import verify
from pipeline.cli import main as edgestep
from tests.conftest import EACH_VARIANT
from tests.convert.importers.architectures import ARCHITECTURES, TENSORFLOW, saved
from tests.device_runner.command_line import BAD_DATA, SHORT
from tests.hand_made_steps import MADE
from tests.hand_made_steps import step_model as hand_made
from tests.operator_graphs import GRAPHS, UNITS, operator_model, outputs, random_frames

ROWS = 5
# What a graph of one row may do and one of several may not.
REFUSED = {"SUM of two axes": "sums up rows"}
# What lays out constants, or is told a size of its result.
QUICK = ("SUB", "SLICE", "TRANSPOSE_CONV")
BACKENDS = ("litert", "native", "reference")


@pytest.mark.parametrize("scheme", ["float32", "int8"])
@pytest.mark.parametrize(("cell", "options"), EACH_VARIANT)
def test_each_row_of_each_cell_computes_what_one_does(
    cell, options, scheme, step_models, vowels, tmp_path
):
    alone = load_step_model(step_models(cell, scheme, **options))
    made = write_rows(alone, ROWS, tmp_path / "rows.tflite")
    read = load_step_model(made.path)
    assert read.contract == made.contract
    assert read.contract.rows == ROWS
    frames = np.stack([x[:7] for x in vowels.test.sequences[:ROWS]], 1)
    wanted = np.stack([_run(alone, frames[:, row], "litert") for row in range(ROWS)], 1)
    for backend in BACKENDS:
        found = verify(Stream(read, backend))
        assert found.failure is None, backend
        assert found.replay is None or found.replay.off == 0, backend
        given = _run(read, frames, backend)
        if scheme == "int8" and backend == "litert":
            np.testing.assert_array_equal(given, wanted)
        elif scheme == "float32":
            np.testing.assert_allclose(given, wanted, atol=1e-5)


@pytest.mark.parametrize(
    "scheme", ["dynamic", "float16", "int16x8:per-channel", "int8:per-channel"]
)
def test_the_other_schemes_take_rows(scheme, step_models, tmp_path):
    alone = load_step_model(step_models("gru", scheme))
    made = write_rows(alone, ROWS, tmp_path / "rows.tflite")
    assert verify(Stream(made, "litert")).failure is None


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in GRAPHS
        if name not in REFUSED
    ],
)
def test_each_operator_keeps_rows_apart(name, tmp_path):
    alone = operator_model(name, tmp_path)
    several = with_rows(alone, 3)
    frames = np.stack([random_frames() * scale for scale in (1.0, -0.5, 2.0)], 1)
    for load in (reference.load, lambda model, options: Stream(model, "litert").backend):
        one, rows = load(alone, LoadOptions()), load(several, LoadOptions())
        rows.write_state({"h": bytes(3 * 4 * UNITS)})
        stored = b"".join(rows.step(frame.tobytes()) for frame in frames)
        wanted = np.stack([outputs(one, frames[:, row]) for row in range(3)], 1)
        given = np.frombuffer(stored, np.float32).reshape(wanted.shape)
        np.testing.assert_allclose(given, wanted, atol=1e-5)


@pytest.mark.parametrize("name", REFUSED)
def test_an_operator_that_reads_across_rows_is_named(name, tmp_path):
    with pytest.raises(NotExportableError, match=f"{name.split()[0]} {REFUSED[name]}"):
        with_rows(operator_model(name, tmp_path), 3)


def test_every_operator_that_is_known_has_a_rule():
    assert set(RULES) == {name for name, row in OPERATORS.items() if row.compute}


@pytest.mark.parametrize("name", MADE)
def test_tokens_counts_several_inputs_and_states_of_any_shape_take_rows(name, tmp_path):
    alone = hand_made(name, tmp_path)
    made = write_rows(alone, ROWS, tmp_path / "rows.tflite")
    read = load_step_model(made.path)
    for backend in BACKENDS:
        assert verify(Stream(read, backend)).failure is None, backend
    stream, one = Stream(read), Stream(alone)
    values = {n: array[: 2 * ROWS] for n, array in alone.golden.inputs.items()}
    frames = {n: array.reshape(2, ROWS, *array.shape[1:]) for n, array in values.items()}
    for call in range(2):
        given = stream.step({n: array[call] for n, array in frames.items()})
    for row in range(ROWS):
        one.reset()
        for call in range(2):
            wanted = one.step({n: array[call, row] for n, array in frames.items()})
        for output in alone.golden.outputs:
            mine, its = (x[output] if isinstance(x, dict) else x for x in (given, wanted))
            np.testing.assert_allclose(mine[row], its, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "architecture",
    [one for one in ARCHITECTURES if one.framework == TENSORFLOW and not one.refused],
    ids=lambda one: one.name,
)
def test_imported_networks_take_rows(architecture, tmp_path):
    path, described = saved(architecture, tmp_path)
    step = step_of(StepModule(import_model(path, described).step_graph))
    graph = read_graph(step.flatbuffer)
    # The contract of any model, with this one's tensors.
    base = operator_model("ADD", tmp_path)
    contract = replace(base.contract, **contract_fields(graph, step), first_phase=step.first_phase)
    alone = replace(base, flatbuffer=step.flatbuffer, graph=graph, contract=contract)
    several = with_rows(alone, 3)
    stream, one = Stream(several, "litert"), Stream(alone, "litert")
    frames = {x.name: _drawn(x, 6, 3) for x in contract.inputs}
    given = stream.run_by_name(
        {x.name: frames[x.name].reshape(6, *x.frame_shape) for x in several.contract.inputs}
    )
    for row in range(3):
        one.reset()
        for name, wanted in one.run_by_name({n: x[:, row] for n, x in frames.items()}).items():
            assert np.ptp(wanted) > 0
            mine = given[name].reshape(6, 3, *wanted.shape[1:])[:, row]
            np.testing.assert_allclose(mine, wanted, atol=1e-5)


def _drawn(spec, steps, rows):
    """Random frames of each row, [steps, rows, *frame shape]."""
    random = np.random.default_rng(2)
    if spec.vocabulary:
        return random.integers(0, spec.vocabulary, (steps, rows, 1)).astype(np.int32)
    return random.normal(size=(steps, rows, *spec.frame_shape)).astype(np.float32)


def test_rows_begin_anew_while_others_go_on(step_models, vowels, tmp_path):
    alone = load_step_model(step_models("lstm", "float32"))
    stream = Stream(write_rows(alone, 3, tmp_path / "rows.tflite"), "litert")
    x = np.stack([x[:6] for x in vowels.test.sequences[:3]], 1)
    stream.run(x[:3])
    stream.reset([1, 2])
    given = stream.run(x[3:])
    for row, begins in enumerate((0, 3, 3)):
        wanted = _run(alone, x[begins:, row], "litert")[3 - begins :]
        np.testing.assert_allclose(given[:, row], wanted, atol=1e-5)
    for wrong in (3, -1, True, 1.5):
        with pytest.raises(BadInputError, match="the rows 0 to 2"):
            stream.reset([wrong])


def test_a_row_that_is_not_finite_leaves_the_others_sound(tmp_path):
    stream = Stream(with_rows(hand_made("image", tmp_path), 2), "litert")
    state = np.zeros((2, 4, 3), np.float32)
    state[0] = np.nan
    stream.backend.write_state({"h": state.tobytes()})
    x = np.ones((2, 4, 3), np.float32)
    first, second = stream.step(x)
    assert np.isnan(first).all()
    assert np.isfinite(second).all()
    stream.reset([0])
    assert np.isfinite(stream.step(x)).all()
    with pytest.raises(BadInputError, match="nan"):
        stream.step(np.full((2, 4, 3), np.nan, np.float32))


def test_streams_of_rows_have_states_of_their_own(step_models, tmp_path):
    model = write_rows(load_step_model(step_models("gru", "int8")), 2, tmp_path / "rows.tflite")
    x = np.stack([model.golden.x[:2], model.golden.x[2:4]], 1)
    streams = Streams(model)
    one, other = streams.open(), streams.open()
    first = one.step(x[0])
    one.step(x[1])
    np.testing.assert_array_equal(other.step(x[0]), first)


def test_a_row_that_reads_from_another_fails(step_models, tmp_path):
    alone = load_step_model(step_models("gru", "float32"))
    stream = Stream(write_rows(alone, ROWS, tmp_path / "rows.tflite"), "litert")
    step = stream.backend.step

    def swapped(frame):
        y = np.frombuffer(step(frame), np.float32).reshape(ROWS, -1)
        return y[[1, 0, 2, 3, 4]].tobytes()

    stream.backend.step = swapped
    assert "error" in (verify(stream).failure or "")


def test_a_contract_of_one_row_is_written_as_before_rows(step_models):
    contract = load_step_model(step_models("gru", "int8")).contract
    assert '"format_version":3' in contract.to_json()
    assert '"rows"' not in contract.to_json()
    rows = contract.of_rows(4)
    assert rows.input.shape == (4, 12)
    assert '"format_version":4' in rows.to_json()
    assert Contract.from_json(rows.to_json()) == rows
    assert rows.of_rows(1) == contract


def test_what_cannot_have_rows_is_refused_in_one_line(step_models, tmp_path):
    model = load_step_model(step_models("gru", "int8"))
    rows = write_rows(model, 2, tmp_path / "rows.tflite")
    with pytest.raises(BadModelError, match="steps 2 streams a call"):
        with_rows(rows, 2)
    with pytest.raises(NotExportableError, match="2 to 65,536"):
        with_rows(model, 1)
    long = replace(model.golden, lengths=(2**22,))
    with pytest.raises(BadModelError, match="take fewer rows"):
        with_rows(replace(model, golden=long), 512)
    with pytest.raises(BadModelError, match="and micro takes one"):
        Stream(rows, "micro")


def _run(model, frames, backend):
    return Stream(model, backend).run(frames)


def test_commands_tell_of_rows_or_want_one(step_models, tmp_path):
    made = write_rows(load_step_model(step_models("gru", "int8")), 4, tmp_path / "rows.tflite")
    output = tmp_path / "results.jsonl"
    arguments = [str(made.path), "--backend", "litert"]
    measured = _device("bench", *arguments, *map(str, SHORT), "--output", str(output))
    assert measured.exit_code == 0, measured.output
    assert "rows.tflite: a call steps 4 streams: " in measured.output
    assert json.loads(output.read_text())["rows"] == 4
    assert "rows: 4, independent streams" in _device("inspect", str(made.path)).output
    assert "steps in the worst of 4 rows, rms" in _device("verify", *arguments).output
    for command in (["bench", *arguments, "--paced"], ["stream", *arguments]):
        refused = _device(*command)
        assert refused.exit_code == BAD_DATA
        assert "steps 4 streams a call" in refused.output


@pytest.mark.slow
def test_a_file_of_keras_is_converted_with_rows(tmp_path):
    keras = pytest.importorskip("tf_keras")
    network = keras.Sequential(
        [keras.layers.Input((None, 3)), keras.layers.GRU(8, return_sequences=True)]
    )
    path = tmp_path / "net.keras"
    network.save(path)
    data = list(np.random.default_rng(1).normal(size=(6, 50, 3)).astype(np.float32))
    made = convert_file(path, "cpu", data, scheme="int8", rows=3, frame_period_s=0.02)
    assert made.path == tmp_path / "net-int8-rows3.tflite"
    assert {"litert", "native"} <= {one["backend"] for one in made.verified if not one["failure"]}
    assert not list(tmp_path.glob("*.partial*"))
    assert load_step_model(made.path).contract.rows == 3
    result = CliRunner().invoke(edgestep, ["rows", str(made.path), "--rows", "2"])
    assert isinstance(result.exception, BadModelError) or result.exit_code == BAD_DATA
    with pytest.raises(OptionError, match="--rows is for --target cpu"):
        convert_file(path, "micro", data, rows=3)
    with pytest.raises(BadModelError, match="answers for its last frames"):
        convert_file(path, "cpu", data, scheme="float32", rows=3, window=10)
    assert not list(tmp_path.glob("*.partial*"))


def _device(*arguments):
    return CliRunner().invoke(device_runner, arguments)
