"""ONNX networks, stepped and held against ONNX Runtime."""

import numpy as np
import pytest

from convert.errors import SourceModelError, UnsupportedLayerError
from convert.file_conversion import convert_file
from convert.import_conversion.conversion import prepare
from convert.import_conversion.description import Facts
from convert.importers import ImportHints, import_model
from tests.convert.importers.float_steps import largest_error, largest_error_in_time

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from convert.importers.onnx.importer import imported_graph  # noqa: E402
from convert.importers.onnx.pairs import words  # noqa: E402
from tests.convert.importers import onnx_networks as networks  # noqa: E402


@pytest.mark.parametrize(
    "make",
    [
        networks.sequence,
        lambda: networks.sequence("GRU", time=20, linear_before_reset=1),
        networks.window,
        networks.step,
        networks.causal_convolution,
    ],
    ids=["sequence", "fixed", "window", "step", "convolution"],
)
def test_a_network_is_stepped_as_onnx_runtime_computes_it(make):
    assert largest_error(imported_graph(make(), "net")) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("RNN", {"activations": ["Relu"]}),
        ("RNN", {"activations": ["Affine"], "activation_alpha": [0.5], "activation_beta": [0.1]}),
        ("GRU", {"activations": ["HardSigmoid", "Softsign"], "linear_before_reset": 1}),
        ("LSTM", {"activations": ["Sigmoid", "Relu", "Tanh"]}),
        ("LSTM", {"activations": ["HardSigmoid", "Tanh", "Tanh"]}),
        ("LSTM", {"clip": 0.5}),
        ("GRU", {"clip": 0.5}),
        ("LSTM", {"input_forget": 1}),
    ],
)
def test_attributes_of_a_recurrence_are_kept(kind, attributes):
    assert largest_error(imported_graph(networks.sequence(kind, **attributes), "net")) < 1e-5


def test_gates_may_read_the_state_through_peepholes():
    made = networks.sequence("LSTM", activations=["Sigmoid", "Tanh", "Softsign"])
    made.graph.node[1].input.extend(["", "", "", "P"])
    peepholes = networks.values(7, 1, 3 * networks.UNITS)
    made.graph.initializer.append(onnx.numpy_helper.from_array(peepholes, "P"))
    onnx.checker.check_model(made)
    assert largest_error(imported_graph(made, "net")) < 1e-5


CONV = networks.node("Conv", "xc K1 k1", "a")


@pytest.mark.parametrize(
    "convolutions",
    [
        (
            networks.node("Conv", "xc K1 k1", "a", strides=[2]),
            networks.node("MaxPool", "a", "c", kernel_shape=[2], strides=[2]),
        ),
        pytest.param((networks.node("Conv", "xc K1 k1", "c"),), marks=pytest.mark.slow),
        pytest.param(
            (CONV, networks.node("AveragePool", "a", "c", kernel_shape=[3])), marks=pytest.mark.slow
        ),
        pytest.param(
            (CONV, networks.node("MaxPool", "a", "c", kernel_shape=[3], pads=[2, 0])),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            (
                networks.node("Pad", "xc pads", "p"),
                networks.node("Conv", "p K1 k1", "c", strides=[3]),
            ),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            (
                CONV,
                networks.node("Conv", "a K2 k2", "b"),
                networks.node("Slice", "a first end axis", "d"),
                networks.node("Add", "b d", "c"),
            ),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["strides", "valid", "mean", "padded", "every third", "residual"],
)
def test_windows_over_time_answer_when_they_are_full(convolutions):
    imported = imported_graph(networks.front_end(*convolutions), "net")
    assert largest_error_in_time(imported) < 1e-5


@pytest.mark.slow
def test_what_cannot_be_stepped_is_computed_over_its_window(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(networks.both_ways(), path)
    walks = np.random.default_rng(3).normal(0, 0.2, (4, 60, 3)).cumsum(1).astype(np.float32)
    made = convert_file(path, "cpu", list(walks), scheme="int8", output=tmp_path / "net.tflite")
    assert made.float_error < 1e-5
    assert not [one["failure"] for one in made.verified if one["failure"]]
    with pytest.raises(UnsupportedLayerError, match="in both directions over time"):
        import_model(path)


def test_a_window_may_be_wanted_of_a_network_of_one_length():
    nodes = [
        networks.node("Transpose", "x", "xt", perm=[1, 0, 2]),
        networks.node("GRU", "xt W R B", "Y", hidden_size=networks.UNITS),
        networks.node("Reshape", "Y shape", "h"),
        networks.node("MatMul", "h D", "y"),
    ]
    constants = {
        **networks.recurrence("GRU"), "shape": np.array([1, 5 * networks.UNITS]),
        "D": networks.values(5, 5 * networks.UNITS, 2),
    }  # fmt: skip
    made = networks.model(nodes, [("x", [1, "time", 3])], [("y", [1, 2])], constants)
    assert imported_graph(made, "net", ImportHints(window=5)).whole is not None
    with pytest.raises(UnsupportedLayerError, match="Reshape"):
        imported_graph(made, "net")


def in_half_precision(made):
    """Return a copy whose weights, inputs and outputs are float16."""
    half = onnx.ModelProto()
    half.CopyFrom(made)
    for tensor in half.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float16), tensor.name))
    for port in (*half.graph.input, *half.graph.output):
        port.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    return half


def test_a_network_of_float16_is_stepped_in_float32():
    imported = imported_graph(in_half_precision(networks.step()), "net")
    assert imported.changed == ("computed in float32; the file computes in float16",)
    assert largest_error(imported) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("make", [networks.sequence, networks.causal_convolution])
@pytest.mark.parametrize("how", ["dynamic", "QDQ", "QOperator"])
def test_quantized_weights_are_real_numbers_in_the_step(tmp_path, make, how):
    from onnxruntime import quantization

    class Frames(quantization.CalibrationDataReader):
        def __init__(self):
            random = np.random.default_rng(0)
            values = [random.normal(size=(1, 9, 3)).astype(np.float32) for _ in range(8)]
            self.left = iter([{"x": one} for one in values])

        def get_next(self):
            return next(self.left, None)

    given, made = tmp_path / "f.onnx", tmp_path / "q.onnx"
    onnx.save(make(), given)
    if how == "dynamic":
        quantization.quantize_dynamic(given, made)
    else:
        form = getattr(quantization.QuantFormat, how)
        quantization.quantize_static(given, made, Frames(), quant_format=form, per_channel=True)
    imported = imported_graph(onnx.load(made), "net")
    assert "quantized anew" in imported.changed[0]
    assert largest_error(imported) < 1e-5
    # The real numbers are those of the original, to the precision of 8 bits, within the range.
    x = np.random.default_rng(0).normal(size=(1, 9, 3)).astype(np.float32)
    wanted = imported_graph(make(), "net").reference([x])[0]
    found = imported.reference([x])[0]
    assert np.abs(found - wanted).max() < 0.05 * np.ptp(wanted)


def test_an_input_that_stays_the_same_is_bound():
    hints = ImportHints(bindings=(("sr", "16000"),))
    imported = imported_graph(networks.voice_detector(), "net", hints)
    assert "'state' comes back as 'stateN'" in imported.understood
    assert largest_error(imported) < 1e-5
    with pytest.raises(UnsupportedLayerError, match="--bind"):
        imported_graph(networks.voice_detector(), "net")


def test_a_network_fixed_to_windows_says_so():
    assert imported_graph(networks.window(20), "net").window == 20
    assert imported_graph(networks.sequence(), "net").window is None


def test_states_are_found_by_connection_and_as_the_user_says():
    strange = ("q", "r", "s", "t")
    for states in ((), (("q", "s"), ("r", "t"))):
        imported = imported_graph(networks.step(strange), "net", ImportHints(states))
        assert [one.state.name for one in imported.graph.carried] == ["q", "r"]
    assert "'q' comes back as 's'" in imported.understood
    # The hidden state of an LSTM is at most 1.
    assert [one.state.bound for one in imported.graph.carried] == [1.0, None]


@pytest.mark.parametrize(
    ("taken", "given"),
    [("h0", "hn"), ("stateN", "state"), ("conv_cache", "conv_cache_out"), ("prev.h", "next.h")],
)
def test_words_of_a_state_are_the_same_for_its_input_and_output(taken, given):
    assert words(taken)[:1] == words(given)[:1] or {taken, given} == {"h0", "hn"}


@pytest.mark.parametrize(
    ("attributes", "line"),
    [
        ({"direction": "reverse"}, "runs backwards over time"),
        ({"activations": ["Own", "Tanh", "Tanh"]}, "has the activation 'own'"),
    ],
)
def test_what_has_no_step_is_refused_in_one_line(attributes, line):
    made = networks.sequence("LSTM")
    for name, value in attributes.items():
        made.graph.node[1].attribute.append(onnx.helper.make_attribute(name, value))
    with pytest.raises(UnsupportedLayerError, match=line):
        _ = imported_graph(made, "net").step_graph


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: data[:200],
        lambda data: b"version https://git-lfs.github.com/spec/v1\n",
        lambda data: b"PK\x03\x04" + data,
        lambda data: b"\x0a" * 4000,
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, spoil):
    path = tmp_path / "net.onnx"
    path.write_bytes(spoil(networks.step().SerializeToString()))
    with pytest.raises(SourceModelError) as raised:
        import_model(path)
    assert str(path) in raised.value.message
    assert "\n" not in raised.value.message


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "gone.bin", ""])
def test_weights_outside_of_the_folder_are_not_read(tmp_path, location):
    (tmp_path / "weights.bin").write_bytes(bytes(4096))
    made = networks.step()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = tensor.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    path = tmp_path / "folder" / "net.onnx"
    path.parent.mkdir()
    path.write_bytes(made.SerializeToString())
    with pytest.raises(SourceModelError, match=r"folder|beside"):
        import_model(path)


def test_a_step_becomes_an_int8_file_that_is_verified(tmp_path):
    imported = imported_graph(networks.step(), "net")
    conversion = prepare(imported, Facts(), None)
    assert conversion.float_error < 1e-5
    model = conversion.export("int8", tmp_path / "net.tflite")
    assert [state.name for state in model.contract.states] == ["c_in", "h_in"]


def test_a_normalization_written_out_stays_in_float_in_an_int8_step(tmp_path):
    imported = imported_graph(networks.normalized(), "net")
    walks = np.random.default_rng(3).normal(0, 0.2, (6, 30, 3)).cumsum(1).astype(np.float32)
    conversion = prepare(imported, Facts(), [{"x": walk} for walk in walks])
    model = conversion.export("int8", tmp_path / "net.tflite")
    assert model.contract.metrics["mixed"]
    assert model.contract.metrics["drift"]["rms"] < 0.02
    names = [operator.name for operator in model.graph.operators]
    assert names.count("DEQUANTIZE") == names.count("QUANTIZE") == 1
    assert [state.dtype for state in model.contract.states] == ["int8"]


def test_parts_of_one_state_become_states_of_their_own():
    from tests.convert.importers import same_in_onnx

    model = imported_graph(same_in_onnx.silero(), "net")
    assert [one.state.name for one in model.step_graph.carried] == ["state_0", "state_1"]
    assert largest_error(model) < 1e-5
    assert "'state' comes back as 'stateN'" in model.understood


@pytest.mark.parametrize("last", [False, True])
def test_a_scan_over_time_is_stepped_by_its_body(last):
    model = imported_graph(networks.scan(last), "net")
    assert [one.state.name for one in model.step_graph.carried] == ["state"]
    assert largest_error(model) < 1e-5


def test_a_loop_is_refused_by_what_to_do():
    body = onnx.helper.make_graph(
        [networks.node("Identity", "on", "more"), networks.node("Tanh", "h", "new")],
        "body",
        [
            onnx.helper.make_tensor_value_info("n", onnx.TensorProto.INT64, []),
            onnx.helper.make_tensor_value_info("on", onnx.TensorProto.BOOL, []),
            onnx.helper.make_tensor_value_info("h", onnx.TensorProto.FLOAT, [1, 3]),
        ],
        [
            onnx.helper.make_tensor_value_info("more", onnx.TensorProto.BOOL, []),
            onnx.helper.make_tensor_value_info("new", onnx.TensorProto.FLOAT, [1, 3]),
        ],
    )
    nodes = [onnx.helper.make_node("Loop", ["count", "", "x"], ["y"], body=body)]
    made = networks.model(nodes, [("x", [1, 3])], [("y", [1, 3])], {"count": np.array(4)})
    with pytest.raises(UnsupportedLayerError, match=r"\(Loop\) has no step here.* as a Scan"):
        imported_graph(made, "net")


def test_shapes_are_computed_while_a_whole_window_is_traced():
    from convert.import_conversion.window_choice import WindowWish, choose_meaning
    from convert.step.step_module import StepModule

    node = networks.node
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s first", "batch"),
        node("Unsqueeze", "batch axis", "b"),
        node("Concat", "b rest", "shape", axis=0),
        node("Transpose", "x", "xt", perm=[1, 0, 2]),
        node("GRU", "xt W R B", "Y Yh", hidden_size=8, direction="bidirectional"),
        node("Transpose", "Yh", "ht", perm=[1, 0, 2]),
        node("Reshape", "ht shape", "y"),
    ]
    constants = {
        **networks.recurrence("GRU", ways=2), "first": np.array(0), "axis": np.array([0]),
        "rest": np.array([16]),
    }  # fmt: skip
    made = networks.model(nodes, [("x", [1, "time", 3])], [("y", [1, 16])], constants)
    imported = imported_graph(made, "net")
    module = StepModule(choose_meaning(imported, WindowWish(6)).graph)
    x = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    found = module.run({module.inputs[0].name: x})[module.outputs[0]]
    (wanted,) = imported.reference([x[np.newaxis, 3:]])
    np.testing.assert_allclose(found[-1].ravel(), np.ravel(wanted), atol=1e-5)
