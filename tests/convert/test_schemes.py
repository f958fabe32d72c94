"""Every scheme for every cell: the state contract, the size, and what old runtimes do with it."""

import pytest
import tf_keras as keras

from calibration.rollout import long_streams
from calibration.state_magnitudes import MARGIN, SHARES
from convert.errors import ContractViolationError, UnknownSchemeError
from convert.export import export, float_step
from convert.schemes import SCHEMES, load_scheme, parse_scheme
from convert.verify import verify_on_runtimes
from device_runner.model.step_file import load_step_model
from device_runner.operators import OPERATORS
from device_runner.operators.row import Form
from models.network import Architecture
from tests.conftest import EACH_VARIANT


def is_known_in_16_bits(float32_file):
    """Tell whether each operator of a cell's step has a version for 16-bit activations."""
    operators = load_step_model(float32_file).graph.operators
    return all(Form.INT16 in OPERATORS[operator.name].versions for operator in operators)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("cell", "options"), EACH_VARIANT)
def test_states_have_the_schemes_dtype(step_models, cell, options, scheme):
    if scheme == "int16x8" and not is_known_in_16_bits(step_models(cell, "float32", **options)):
        with pytest.raises(ContractViolationError, match="not known in 16-bit"):
            step_models(cell, scheme, **options)
        return
    model = load_step_model(step_models(cell, scheme, **options))
    wanted = load_scheme(scheme).state_dtype
    assert {state.dtype for state in model.contract.states} == {wanted}
    assert model.contract.input.dtype == wanted
    assert model.contract.scheme == scheme


def test_16_bit_states_hold_all_that_was_seen_and_8_bit_ones_what_was_chosen(step_models):
    scales = {
        scheme: {
            s.name: s.scale for s in load_step_model(step_models("lstm", scheme)).contract.states
        }
        for scheme in ("int8", "int16x8")
    }
    assert (scales["int8"]["h"], scales["int16x8"]["h"]) == (1 / 128, 1 / 32768)
    share = scales["int8"]["c"] / scales["int16x8"]["c"] / 256
    assert any(share == pytest.approx(choice / MARGIN, rel=1e-3) for choice in SHARES)


def test_finer_schemes_drift_less(step_models):
    drift = {
        scheme: load_step_model(step_models("gru", scheme)).contract.metrics["drift"]["rms"]
        for scheme in ("float16", "dynamic", "int8", "int16x8")
    }
    assert drift["float16"] < drift["dynamic"]
    assert drift["int16x8"] < drift["int8"]


@pytest.mark.parametrize("word", ["mse", "percentile", "entropy", "per-channel", "mse:per-channel"])
def test_options_change_the_file_and_keep_the_contract(step_models, word):
    plain = load_step_model(step_models("gru", "int8"))
    changed = load_step_model(step_models("gru", f"int8:{word}"))
    assert changed.contract.scheme == f"int8:{word}"
    assert changed.flatbuffer != plain.flatbuffer
    assert [s.scale for s in changed.contract.states] == [s.scale for s in plain.contract.states]


def test_per_channel_weights_have_a_scale_each(step_models):
    graph = load_step_model(step_models("gru", "int8:per-channel")).graph
    counts = {
        len(graph.tensors[op.inputs[1]].scales) == graph.tensors[op.inputs[1]].shape[0]
        for op in graph.operators
        if op.name == "FULLY_CONNECTED"
    }
    assert counts == {True}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("int-8", "unknown scheme 'int-8'; did you mean 'int8'"),
        ("int8:mes", "unknown option of scheme 'int8' 'mes'; did you mean 'mse'"),
        ("float32:mse", "There are: none"),
        ("dynamic:mse", "There are: compensated, per-channel"),
    ],
)
def test_unknown_names_suggest_the_nearest(name, message):
    with pytest.raises(UnknownSchemeError) as caught:
        parse_scheme(name)
    assert message in caught.value.message


def test_every_scheme_verifies_on_every_runtime_but_where_refused(step_models):
    """Per-channel weights with float activations: an old runtime refuses instead of being wrong."""
    names = ["float16", "dynamic", "dynamic:per-channel", "int8:per-channel", "int16x8"]
    found = verify_on_runtimes([step_models("lstm", name) for name in names])
    failures = {
        (item["backend"], item["file"]): item["failure"] for item in found if item["failure"]
    }
    for (backend, file), failure in failures.items():
        assert (backend, "dynamic-per-channel" in file) == ("tflite-runtime", True)
        assert "'FULLY_CONNECTED' version '12'" in failure


@pytest.mark.parametrize(
    "scheme",
    ["int8", *(pytest.param(s, marks=pytest.mark.slow) for s in ("float16", "dynamic", "int16x8"))],
)
def test_a_model_above_a_megabyte_keeps_its_weights(vowels, tmp_path, scheme):
    """The quantizer stores such weights behind the flatbuffer."""
    keras.utils.set_random_seed(1)
    architecture = Architecture("lstm", (256,), 12, 9)
    network = architecture.build()
    network.get_layer("normalization").adapt(*vowels.normalization)
    step = float_step(network)
    assert len(step.flatbuffer) > 1_000_000
    ranges = step.calibrate(long_streams(vowels.train.sequences, 400, 1))
    path = tmp_path / "model.tflite"
    export(network, architecture, vowels, scheme, path, step, ranges)
    assert load_step_model(path).file_bytes > 256 * 4 * 268
