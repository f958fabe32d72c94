"""Hierarchical recurrence: trained over sequences, stepped with one signature per phase."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from convert.errors import TargetMismatchError
from convert.export import export_step, float_step
from convert.exporters.c import export_c
from convert.exporters.edgetpu_compiler import compile_for_edgetpu
from convert.exporters.onnx import to_onnx
from convert.schemes import needs_ranges, parse_scheme
from convert.schemes.tensor_ranges import tensor_limits
from convert.simulation import SimulatedNetwork
from convert.step_model_facts import StepModelFacts
from device_runner.errors import BadModelError
from device_runner.model.flatbuffer import read_graph
from device_runner.model.golden import Golden
from device_runner.model.inspection import format_inspection, inspect_model
from device_runner.model.step_file import load_step_model
from device_runner.operators.multiply_adds import mean_multiply_adds, multiply_adds
from device_runner.stream import Stream, Streams
from models.errors import ModelsError
from models.gradient_health import gradient_norms_through_time
from models.network import Architecture, load_network, save_network

STEPS = 21


def hierarchical(cell: str, periods: tuple[int, ...], **options) -> Architecture:
    units = tuple(8 + 4 * number for number in range(len(periods)))
    return Architecture(cell, units, inputs=5, outputs=3, periods=periods, **options)


def network_of(architecture: Architecture):
    tf.keras.utils.set_random_seed(3)
    return architecture.build()


def frames(steps: int = STEPS, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(steps, 5)).astype(np.float32)


def description(network, steps: int = STEPS) -> StepModelFacts:
    x = frames(steps)
    y = network(x[np.newaxis]).numpy()[0]
    return StepModelFacts(
        task="test",
        cell="gru",
        units=(8, 12),
        parameters=1,
        labels=("a", "b", "c"),
        channels=tuple("vwxyz"),
        input_units="1",
        frame_period_s=0.01,
        frame_period_source="test",
        output_meaning="logits",
        normalization={},
        golden=Golden({"x": x}, {"y": y}, (steps,)),
        spread=float(np.ptp(y)),
        classifies=False,
        streams=[x],
        evaluate=lambda stream: {},
    )


def exported(tmp_path, network, scheme: str = "float32"):
    step = float_step(network)
    ranges = None
    if needs_ranges(parse_scheme(scheme)):
        streams = [frames(400, seed) for seed in (1, 2)]
        ranges = step.calibrate(streams)
    path = tmp_path / f"{scheme}.tflite"
    export_step(step, description(network), scheme, path, ranges)
    return load_step_model(path)


def test_a_slow_recurrence_is_stepped_once_in_its_period_and_held():
    network = network_of(hierarchical("gru", (1, 4)))
    x = frames()[np.newaxis]
    slow = network.get_layer("recurrence_1")
    fast = network.get_layer("recurrence_0")
    below = fast(network.get_layer("normalization")(x))
    wanted = slow._step_by_step(slow.cell.input_product(below[:, ::4]))
    given = slow(below)
    for step in range(STEPS):
        np.testing.assert_allclose(given[0, step], wanted[0, step // 4], atol=1e-6)


@pytest.mark.parametrize(
    ("cell", "periods"),
    [
        ("gru", (1, 2, 6)),
        ("lstm", (1, 4)),
        pytest.param("oru", (1, 4), marks=pytest.mark.slow),
        pytest.param("min-gru", (1, 4), marks=pytest.mark.slow),
    ],
)
def test_the_phases_step_as_the_sequence(tmp_path, cell, periods):
    network = network_of(hierarchical(cell, periods))
    model = exported(tmp_path, network)
    phases = model.contract.phases
    assert len(phases) == max(periods)
    assert phases[:2] == ("step", "step_1")
    x = frames(60, 9)
    wanted = network(x[np.newaxis]).numpy()[0]
    for backend in ("litert", "reference"):
        stream = Stream(model, backend)
        np.testing.assert_allclose(stream.run(x), wanted, atol=1e-5)
        stream.reset()
        # Step by step and in four calls, as the benchmark does.
        np.testing.assert_allclose(stream.step(x[0]), wanted[0], atol=1e-5)
        for frame, outputs in zip(x[1:], wanted[1:], strict=True):
            stream.backend.put(frame.tobytes())
            stream.backend.invoke()
            stream.backend.advance()
            given = np.frombuffer(stream.backend.get(), np.float32)
            np.testing.assert_allclose(given, outputs, atol=1e-5)


def test_a_step_in_between_has_no_product_of_the_slow_recurrence(tmp_path):
    model = exported(tmp_path, network_of(hierarchical("gru", (1, 4))))
    full, between = (multiply_adds(model.phase_graphs[name]) for name in ("step", "step_1"))
    head, fast, slow = 3 * (8 + 12), 3 * 8 * (5 + 8), 3 * 12 * (8 + 12)
    assert (full, between) == (head + fast + slow, head + fast)
    assert mean_multiply_adds(model) == round((full + 3 * between) / 4)
    # The weights are there once.
    alone = float_step(network_of(hierarchical("gru", (1, 4)))).flatbuffer
    assert len(model.flatbuffer) - len(alone) < 4000


@pytest.mark.parametrize(
    "scheme",
    ["int8", *(pytest.param(name, marks=pytest.mark.slow) for name in ("int16x8", "dynamic"))],
)
def test_every_scheme_has_the_phases(tmp_path, scheme):
    network = network_of(hierarchical("gru", (1, 4)))
    model = exported(tmp_path, network, scheme)
    x = frames(200, 9)
    wanted = network(x[np.newaxis]).numpy()[0]
    error = Stream(model, "litert").run(x) - wanted
    assert np.sqrt(np.mean(error**2)) < 0.03 * np.ptp(wanted)


def test_the_simulation_of_int8_knows_the_periods(tmp_path):
    network = network_of(hierarchical("lstm", (1, 4)))
    step = float_step(network)
    ranges = step.calibrate([frames(400, 1)])
    limits = tensor_limits(read_graph(step.flatbuffer), ranges, step.state_bounds, "min-max", 8)
    x = frames()[np.newaxis]
    simulated = SimulatedNetwork(step, limits, simulate=False)
    np.testing.assert_allclose(simulated(x), network(x), atol=1e-5)


def test_a_saved_state_goes_on_in_the_middle_of_a_cycle(tmp_path):
    model = exported(tmp_path, network_of(hierarchical("lstm", (1, 4))))
    x = frames(30, 5)
    wanted = Stream(model).run(x)
    for cut in (5, 6, 7, 8):
        first = Stream(model)
        first.run(x[:cut])
        second = Stream(model)
        second.load_state(first.save_state())
        np.testing.assert_array_equal(second.run(x[cut:]), wanted[cut:])


def test_streams_on_one_model_are_each_in_a_phase_of_their_own(tmp_path):
    model = exported(tmp_path, network_of(hierarchical("gru", (1, 4))))
    x = frames(24, 5)
    wanted = Stream(model).run(x)
    streams = Streams(model)
    early, late = streams.open(), streams.open()
    given = [early.run(x[:3])]
    for first, second in zip(x[3:24], x[0:21], strict=True):
        given.append(early.step(first)[np.newaxis])
        late.step(second)
    np.testing.assert_array_equal(np.concatenate(given), wanted)
    np.testing.assert_array_equal(late.run(x[21:]), wanted[21:])


def test_what_knows_one_signature_refuses(tmp_path):
    model = exported(tmp_path, network_of(hierarchical("gru", (1, 4))))
    with pytest.raises(BadModelError, match="signature for each phase"):
        Stream(model, "litert-gpu")
    with pytest.raises(BadModelError, match="an ONNX runtime cannot choose from"):
        to_onnx(model)
    with pytest.raises(BadModelError, match="the Edge TPU cannot choose from"):
        compile_for_edgetpu(model, tmp_path / "compiled.tflite")
    with pytest.raises(TargetMismatchError, match="2 subgraphs"):
        export_c(model, tmp_path / "c")


def test_inspect_tells_the_phases(tmp_path):
    model = exported(tmp_path, network_of(hierarchical("lstm", (1, 4))))
    text = format_inspection(inspect_model(model), model)
    assert "updated every 4 steps" in text
    assert "signature step_1, at 3 of 4 steps" in text
    assert "updates c_0, h_0" in text


def test_a_file_without_the_signature_of_a_phase_is_refused(tmp_path):
    network = network_of(hierarchical("gru", (1, 4)))
    model = exported(tmp_path, network)
    states = tuple(
        replace(state, period=2 * state.period) if state.period > 1 else state
        for state in model.contract.states
    )
    contract = replace(model.contract, states=states)
    assert contract.phases == ("step", *["step_1"] * 7)
    states = tuple(replace(state, period=3 if i else 2) for i, state in enumerate(states))
    broken = replace(model, contract=replace(model.contract, states=states))
    with pytest.raises(BadModelError, match="no signature 'step_2'"):
        _ = broken.phase_graphs


@pytest.mark.parametrize("periods", [(1,), (2, 4), (1, 4, 6), (1, 0), (1, -2)])
def test_periods_that_do_not_nest_are_refused(periods):
    with pytest.raises(ModelsError, match="periods"):
        Architecture("gru", (8, 8, 8)[: max(2, len(periods))], 5, 3, periods=periods)


def test_a_hierarchical_network_is_saved_and_loaded(tmp_path):
    architecture = hierarchical("gru", (1, 4))
    network = network_of(architecture)
    save_network(tmp_path, network, architecture)
    again, known = load_network(tmp_path)
    assert known == architecture
    x = frames()[np.newaxis]
    np.testing.assert_array_equal(again(x), network(x))


def test_gradients_through_time_reach_back_through_the_slow_recurrence():
    network = network_of(hierarchical("gru", (1, 4)))
    norms = gradient_norms_through_time(network, frames()[np.newaxis], np.array([1]))
    assert [len(history) for history in norms] == [STEPS, STEPS]
    # After the last of its steps, the twentieth, the slow state is handed to none.
    assert all(norms[1][: STEPS - 1])
    assert all(norms[0])
