"""The texts of a model in C, held against files that are kept, byte for byte."""

from pathlib import Path

import pytest

from convert.errors import NotExportableError
from convert.exporters.c_source import c_texts
from device_runner.model.contract import Contract, Tolerance
from device_runner.model.flatbuffer import Graph, Operator, Signature
from device_runner.model.golden import Golden
from device_runner.model.names import STEP_SIGNATURE
from device_runner.model.step_file import StepModel
from device_runner.model.tensor_spec import StateSpec, TensorSpec

KEPT = Path(__file__).parent / "golden_c"
MEASURED = {"arena": 4096, "version": "0.dev1"}
ENDINGS = ("model.c", "step.h", "step.c", "tflm.cc")


def model(inputs, outputs, states, labels, operators, name="net.tflite"):
    """Make a step model with only the description that the texts need."""
    first, second = (list(range(len(one) + len(states))) for one in (inputs, outputs))
    names = [spec.name for spec in states]
    # The graph's own order is the other way round.
    signature = Signature(
        STEP_SIGNATURE,
        dict(zip([*(spec.name for spec in inputs), *names], first[::-1], strict=True)),
        dict(zip([*(spec.name for spec in outputs), *names], second[::-1], strict=True)),
        0,
    )
    graph = Graph(
        tensors=(),
        operators=tuple(Operator(one, 1, (), (), {}) for one in operators),
        inputs=tuple(first),
        outputs=tuple(second),
        signatures=(signature,),
        subgraph_count=1,
        operator_codes=(),
    )
    contract = Contract(
        inputs=inputs, outputs=outputs, states=states, task="walk */ run", cell="lstm",
        units=(8, 4), scheme="int8:per-channel", frame_period_s=0.02, frame_period_source="made up",
        channels=(), input_units="", output_meaning="logits", normalization={}, metrics={},
        parameters=1, tolerance=Tolerance(0, 0, 0), model_sha256="5" * 64,
    )  # fmt: skip
    return StepModel(Path(name), bytes(range(40)), 0, graph, contract, labels, Golden({}, {}, ()))


MODELS = {
    "integers": model(
        (
            TensorSpec("x", (1, 12), "int8", 0.0235, -7),
            TensorSpec("serving/position", (1, 1), "int32", vocabulary=9),
        ),
        (TensorSpec("y", (1, 3), "int16", 1 / 3, 0), TensorSpec("1st", (1,), "int32")),
        (
            StateSpec("h", (1, 8), "int8", 1 / 128, 0),
            StateSpec("c", (1, 2), "int8", 0.25, 3, initial=(-5, 100)),
            StateSpec("n", (1, 1), "int64"),
        ),
        ("sit", 'say "hm?"', "größer"),
        ("FULLY_CONNECTED", "CONV_2D", "LOGISTIC", "FULLY_CONNECTED", "PADV2"),
    ),
    "floats": model(
        (TensorSpec("x", (1, 2), "float32"),),
        (TensorSpec("y", (1, 1), "float32"),),
        (
            StateSpec("h", (1, 2), "float32", initial=(0.1, -1e-9)),
            StateSpec("g", (1, 2), "float32"),
        ),
        ("level",),
        ("TANH",),
    ),
    "stateless": model(
        (TensorSpec("x", (1, 2), "float32"),),
        (TensorSpec("y", (1, 1), "float32"),),
        (),
        (),
        ("ADD",),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_texts_are_those_that_are_kept(name):
    texts = c_texts(MODELS[name], "net", **MEASURED)
    assert list(texts) == [f"net_{ending}" for ending in ENDINGS]
    for ending in ENDINGS:
        kept = (KEPT / f"{name}_{ending}").read_bytes()
        assert texts[f"net_{ending}"].encode() == kept, ending


def test_names_that_are_one_in_c_are_refused():
    states = (StateSpec("a/b", (1,), "float32"), StateSpec("a.b", (1,), "float32"))
    x, y = TensorSpec("x", (1, 2), "float32"), TensorSpec("y", (1, 1), "float32")
    with pytest.raises(NotExportableError, match="same name in C"):
        c_texts(model((x,), (y,), states, (), ()), "net", **MEASURED)


def test_a_dtype_that_c_does_not_have_is_refused():
    x, y = TensorSpec("x", (1, 2), "float16"), TensorSpec("y", (1, 1), "float32")
    with pytest.raises(NotExportableError, match="'x' is float16"):
        c_texts(model((x,), (y,), (), (), ()), "net", **MEASURED)
