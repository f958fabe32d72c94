"""Models that answer for their last frames: the schedule, and steps on every runtime here."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from device_runner.errors import BadInputError, BadModelError
from device_runner.model.contract import Contract
from device_runner.model.step_file import load_step_model
from device_runner.model.stored_frames import stored_frames
from device_runner.model.window import Window, lanes_needed
from device_runner.stream import Stream, Streams
from device_runner.verify import verify

# (steps, hop): every frame, hops that divide the window or do not, the whole window, beyond it.
SCHEDULES = [(1, 1), (6, 1), (6, 2), (7, 3), (5, 5), (3, 5)]
IN_LANES = [("float32", 6, 1), ("float32", 7, 3), ("int8", 7, 3), ("int8", 5, 5)]
MORE = [
    ("float32", 6, 2), ("float32", 5, 5), ("float32", 3, 5), ("int8", 6, 1), ("int8", 6, 2),
    ("int8", 3, 5), ("int16x8", 7, 3), ("dynamic", 7, 3),
]  # fmt: skip
CASES = [*IN_LANES, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A step model with a window by (scheme, steps, hop, in_lanes), and what it must answer."""
    pytest.importorskip("tensorflow")
    from tests.windowed_steps import windowed, windowed_model

    folder, kept = tmp_path_factory.mktemp("windows"), {}

    def get(scheme: str, steps: int, hop: int, in_lanes: bool = True):
        if (scheme, steps, hop, in_lanes) not in kept:
            step = windowed(steps, hop, in_lanes)
            kept[scheme, steps, hop, in_lanes] = windowed_model(step, folder, scheme), step
        return kept[scheme, steps, hop, in_lanes]

    return get


def frames(steps: int) -> np.ndarray:
    from tests.windowed_steps import frames

    return frames(steps)


# The schedule


@pytest.mark.parametrize(("steps", "hop"), SCHEDULES)
def test_each_answer_is_the_row_that_began_a_window_before(steps, hop):
    window = Window(steps, hop, lanes_needed(steps, hop))
    began: dict[int, int] = {}
    for frame in range(60):
        if (row := window.beginning_row(frame)) is not None:
            began[row] = frame
        assert window.answers(frame) == (frame in range(steps - 1, 60, hop))
        if (row := window.answering_row(frame)) is not None:
            assert began[row] == frame - steps + 1


@pytest.mark.parametrize("lanes", [None, 0])
@pytest.mark.parametrize(("steps", "hop"), SCHEDULES)
def test_turns_of_a_counter_that_stays_small(steps, hop, lanes):
    window = Window(steps, hop, lanes_needed(steps, hop) if lanes is None else 0)
    turns, count = window.turns(), 0
    for frame in range(200):
        assert count == window.reduced(frame) < len(turns) == steps + window.cycle
        # What the stream tells of its last step goes by the reduced number.
        assert frame == 0 or window.answers(count - 1) == window.answers(frame - 1)
        turn = turns[count]
        assert turn.given == window.given_row(frame)
        if frame >= steps - 1:
            assert turn.given == window.answering_row(frame)
        assert turn.beginning == window.beginning_row(frame + 1)
        count = turn.following


# Steps


@pytest.mark.parametrize(("scheme", "steps", "hop"), CASES)
def test_an_answer_is_that_of_its_window_alone(made, scheme, steps, hop):
    model, step = made(scheme, steps, hop)
    x = frames(4 * steps + hop)
    stream = Stream(model, "litert")
    given = stream.run(x)
    wanted = step.given(x)
    np.testing.assert_array_equal(np.isnan(given), np.isnan(wanted))
    np.testing.assert_allclose(given, wanted, atol=1e-6 if scheme == "float32" else 0.1)
    assert np.isfinite(wanted).any()
    # To the last digit: the window alone from a reset, in the same row of another answer.
    for frame in step.window.answered_frames(len(x)):
        stream.reset()
        alone = stream.run(x[frame - steps + 1 : frame + 1])
        np.testing.assert_allclose(alone[-1], given[frame], atol=0 if "int" in scheme else 1e-6)


@pytest.mark.parametrize(("scheme", "steps", "hop"), CASES)
def test_a_step_says_whether_it_answered(made, scheme, steps, hop):
    model, step = made(scheme, steps, hop)
    x, stream = frames(3 * steps + hop), Stream(model, "litert")
    wanted = stream.run(x)
    stream.reset()
    assert not stream.answered
    for frame, row in enumerate(x):
        y = stream.step(row)
        assert y.shape == (4,)
        np.testing.assert_array_equal(y, wanted[frame])
        assert stream.answered == step.window.answers(frame)
        assert bool(np.isfinite(y).all()) == (step.window.given_row(frame) is not None)
    y[:] = 0  # is the caller's own
    assert np.isnan(stream.run(x[:0])).sum() == 0
    stream.reset()
    bare = [stream.step_bytes(model.contract.input.quantize(row).tobytes()) for row in x]
    (answer,) = model.contract.answers
    assert {len(stored) for stored in bare} <= {0, answer.byte_count}
    np.testing.assert_array_equal([len(stored) > 0 for stored in bare], np.isfinite(wanted[:, 0]))


@pytest.mark.parametrize(("scheme", "in_lanes"), [("float32", True), ("int8", False)])
def test_four_calls_are_a_step(made, scheme, in_lanes):
    model, _ = made(scheme, 6 if in_lanes else 4, 1 if in_lanes else 2, in_lanes)
    backend, stream = Stream(model, "litert").backend, Stream(model, "litert")
    backend.write_state(model.contract.initial_state())
    for row in frames(20):
        frame = model.contract.input.quantize(row).tobytes()
        backend.put(frame)
        backend.invoke()
        backend.advance()
        assert backend.get() == stream.step_bytes(frame)
        assert backend.read_state() == stream.state_bytes()


def test_a_window_computed_as_a_whole(made):
    model, step = made("float32", 4, 2, False)
    x = frames(15)
    given = Stream(model, "litert").run(x)
    np.testing.assert_allclose(given, step.given(x), atol=1e-5)
    assert verify(Stream(model, "litert")).failure is None


def test_a_window_computed_as_a_whole_is_computed_for_its_answers_alone(made, monkeypatch):
    from device_runner.backends.reference import StepGraph

    model, step = made("int8", 4, 2, False)
    assert stored_frames(model) == {"frames": "x"}
    assert stored_frames(made("int8", 7, 3)[0]) == {}
    stream, computed, calls = Stream(model, "reference"), StepGraph.compute, []
    monkeypatch.setattr(
        StepGraph, "compute", lambda *given: calls.append(given) or computed(*given)
    )
    x = frames(15)
    given = stream.run(x)
    assert len(calls) == sum(step.window.answers(frame) for frame in range(15))
    # In four calls, and with every frame computed, as a file is that is not known to store them.
    graph = next(iter(stream.backend.memories.values()))
    parts = Stream(model, "reference").backend
    parts.write_state(model.contract.initial_state())
    state = model.contract.initial_state()["frames"]
    for frame, row in enumerate(model.contract.input.quantize(x)):
        parts.put(row.tobytes())
        parts.invoke()
        parts.advance()
        assert bool(parts.get()) == (not np.isnan(given[frame]).any())
        graph.inputs["x"][:], graph.inputs["frames"][:] = row.tobytes(), state
        graph.invoke()
        state = graph.outputs["frames"].tobytes()
        assert parts.read_state()["frames"] == state


def test_a_saved_state_goes_on_in_the_middle_of_a_window(made):
    model, _ = made("int8", 7, 3)
    x = frames(40)
    wanted = Stream(model).run(x)
    for cut in (0, 1, 6, 7, 8, 9, 20, 33):
        first = Stream(model)
        first.run(x[:cut])
        second = Stream(model)
        second.load_state(first.save_state())
        assert second.answered == first.answered
        np.testing.assert_array_equal(second.run(x[cut:]), wanted[cut:])


def test_a_reset_in_the_middle_of_a_window(made):
    model, _ = made("float32", 6, 1)
    x, stream = frames(20), Stream(model)
    wanted = stream.run(x)
    for cut in (3, 6, 11):
        stream.reset()
        stream.run(x[::-1][:cut])
        stream.reset()
        np.testing.assert_array_equal(stream.run(x), wanted)


def test_streams_on_one_model_have_windows_of_their_own(made):
    model, _ = made("float32", 7, 3)
    x = frames(30)
    wanted = Stream(model).run(x)
    streams = Streams(model)
    early, late = streams.open(), streams.open()
    given = [early.run(x[:4])]
    for first, second in zip(x[4:], x[:26], strict=True):
        given.append(early.step(first)[np.newaxis])
        late.step(second)
    np.testing.assert_array_equal(np.concatenate(given), wanted)
    assert (early.answered, late.answered) == (model.contract.window.answers(29), False)
    np.testing.assert_array_equal(late.run(x[26:]), wanted[26:])


RUN = """
import sys
import numpy as np
from device_runner.stream import Stream
from device_runner.verify import verify
backend, x, outputs, *files = sys.argv[1:]
found = []
for file in files:
    stream = Stream(file, backend)
    assert verify(stream).failure is None, verify(stream)
    found.append(stream.run(np.load(x)))
np.save(outputs, np.stack(found))
"""


@pytest.mark.parametrize(
    ("runtime", "module"),
    [
        ("tflite-runtime", "tflite_runtime"),
        ("reference", "numpy"),
        ("micro", "tflite_micro"),
        pytest.param("tensorflow", "tensorflow", marks=pytest.mark.slow),
    ],
)
def test_other_runtimes_give_the_same_answers(made, run_python, runtime, module, tmp_path):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"needs {runtime}")
    models = [made("float32", 6, 1)[0], made("int8", 7, 3)[0], made("int8", 4, 2, False)[0]]
    np.save(tmp_path / "x.npy", frames(30))
    files = [model.path for model in models]
    done = run_python("-c", RUN, runtime, tmp_path / "x.npy", tmp_path / "y.npy", *files, cwd=".")
    assert done.returncode == 0, done.stderr
    for model, given in zip(models, np.load(tmp_path / "y.npy"), strict=True):
        wanted = Stream(model, "litert").run(frames(30))
        np.testing.assert_array_equal(np.isnan(given), np.isnan(wanted))
        if model.contract.scheme == "float32":  # the integer ones are verified
            np.testing.assert_allclose(given, wanted, atol=1e-6)


# The contract


def test_the_contract_is_read_back_as_written(made):
    contract = made("float32", 7, 3)[0].contract
    assert contract.window == Window(7, 3, 3)
    assert {state.name: len(state.initial) for state in contract.states}["h"] == 6  # one row
    assert Contract.from_json(contract.to_json()) == contract


def test_a_file_of_format_2_has_no_window(int8_file, tmp_path, workshop, refusal):
    raw = json.loads(workshop.members["contract.json"])
    assert raw.pop("window") is None
    earlier = {**raw, "format_version": 2}
    path = workshop.write(workshop.zipped(contract_json=json.dumps(earlier).encode()))
    assert load_step_model(path).contract == load_step_model(int8_file).contract
    earlier["window"] = {"steps": 1, "hop": 1, "lanes": 1}
    path = workshop.write(workshop.zipped(contract_json=json.dumps(earlier).encode()))
    assert "unknown field 'window'" in refusal(path)


HOSTILE = {
    "long": ({"steps": 10**9, "hop": 10**9, "lanes": 1}, "steps 1000000000, not 1 to 1,048,576"),
    "negative": ({"steps": -1, "hop": 1, "lanes": 1}, "steps -1"),
    "no-steps": ({"steps": 0, "hop": 1, "lanes": 0}, "steps 0"),
    "no-hop": ({"steps": 1, "hop": 0, "lanes": 1}, "hop 0"),
    "text": ({"steps": "5", "hop": 1, "lanes": 5}, "steps '5'"),
    "part": ({"steps": 1.5, "hop": 1, "lanes": 1}, "steps 1.5"),
    "true": ({"steps": True, "hop": 1, "lanes": 1}, "steps True"),
    "few-lanes": ({"steps": 7, "hop": 3, "lanes": 2}, "has 2 lanes, not 3 or 0"),
    "many-lanes": ({"steps": 2**20, "hop": 1, "lanes": 2**20}, "1,048,576 lanes, more than 65,536"),
    "other-shape": ({"steps": 2, "hop": 1, "lanes": 2}, "has the shape (1, "),
    "unknown": ({"steps": 1, "hop": 1, "lanes": 1, "more": 1}, "more"),
    "missing": ({"steps": 1, "hop": 1}, "lanes"),
    "list": ([1, 1, 1], "window must be an object or null"),
    "number": (5, "window must be an object or null"),
    "beyond-golden": ({"steps": 60, "hop": 1, "lanes": 0}, "no sequence as long as the window"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_window_is_refused(name, workshop, refusal, says_what_to_do):
    window, part = HOSTILE[name]
    message = refusal(workshop.write(workshop.with_contract(window=window)))
    assert part in message
    assert says_what_to_do(message)


def test_golden_outputs_are_at_the_frames_with_an_answer(workshop, refusal):
    """The plain model as one that keeps its window's frames itself."""
    golden = workshop.model.golden
    window = Window(3, 2, 0)
    contract = replace(workshop.model.contract, window=window)
    path = workshop.write(workshop.packed(contract=contract))
    assert "y has values at steps without an answer" in refusal(path)
    y = np.where(golden.answered(window)[:, np.newaxis], golden.y, np.float32(np.nan))
    path = workshop.write(
        workshop.packed(contract=contract, golden=replace(golden, outputs={"y": y}))
    )
    found = verify(Stream(load_step_model(path), "reference"))
    assert found.failure is None
    assert found.steps == golden.answered(window).sum() < golden.steps


def test_a_state_of_other_rows_is_refused(made, tmp_path):
    contract = made("float32", 7, 3)[0].contract
    first, *others = sorted(contract.states, key=lambda state: state.name != "h")
    for changed, part in (
        (replace(first, shape=(4, 6)), "has the shape \\(4, 6\\), the window 3 lanes"),
        (replace(first, initial=first.initial * 3), "18 initial values"),
        (replace(first, initial=(0.0,)), "1 initial values"),
        (replace(first, period=2), "do not go together"),
    ):
        wrong = replace(contract, states=(changed, *others))
        with pytest.raises(BadModelError, match=part):
            wrong.validate()
    wrong = replace(contract, outputs=(replace(contract.output, shape=(1, 4)),))
    with pytest.raises(BadModelError, match="'y' has the shape"):
        wrong.validate()


def test_a_window_is_json(made):
    contract = made("float32", 7, 3)[0].contract
    assert json.loads(contract.to_json())["window"] == asdict(contract.window)


def test_a_frame_of_another_shape_changes_nothing(made):
    stream = Stream(made("float32", 7, 3)[0])
    before = stream.state_bytes()
    with pytest.raises(BadInputError):
        stream.step(np.zeros(5))
    assert stream.state_bytes() == before
