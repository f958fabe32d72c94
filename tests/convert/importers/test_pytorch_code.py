"""PyTorch networks that code makes: exported, stepped, and held against PyTorch itself."""

import os

import numpy as np
import pytest

from calibration.frame_shapes import frame_shapes
from convert.errors import SourceModelError
from convert.importers import ImportHints, import_model, is_code
from tests.convert.importers.float_steps import largest_error

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
pytest.importorskip("onnxruntime")

pytestmark = pytest.mark.pytorch
MODULE = "tests.convert.importers.torch_networks"
VALUES = (("x", (3,), "values"),)


def imported(name, frames=VALUES, **facts):
    return import_model(f"{MODULE}:{name}", hints=ImportHints(frames=frames, **facts))


@pytest.mark.parametrize(
    ("name", "frames", "states"),
    [
        ("Sequences", VALUES, 4),
        ("TimeFirst", VALUES, 1),
        ("Words", (("x", (), "ids"),), 1),
        ("Streaming", VALUES, 2),
        ("Cells", VALUES, 3),
        ("Convolutions", VALUES, 3),
        ("NeuralPi", (("x", (1,), "values"),), 2),
        ("RNNoise", (("x", (10,), "values"),), 3),
        ("silero", (), 2),
        ("DTLN", (("x", (32,), "values"),), 1),
        ("gtcrn", (), 2),
        ("Loops", VALUES, 4),
        ("LastOfLoop", VALUES, 2),
        ("Samples", (("x", (1,), "values"),), 2),
        ("SplitFrames", VALUES, 1),
        ("FarInputs", VALUES, 1),
        ("KeepsItsState", VALUES, 3),
        ("KeepsItsHidden", VALUES, 4),
    ],
)
def test_a_network_is_stepped_as_pytorch_computes_it(name, frames, states):
    network = imported(name, frames)
    assert largest_error(network) < 1e-4
    assert len(network.graph.states) == states


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"epoch": 3, "model_state_dict": state},
        lambda state: {"state_dict": {f"model.{name}": value for name, value in state.items()}},
        lambda state: {f"module.{name}": value for name, value in state.items()},
    ],
)
def test_a_checkpoint_is_unwrapped(tmp_path, wrap):
    from tests.convert.importers.torch_networks import Sequences

    torch.manual_seed(7)
    network = Sequences().eval()
    torch.save(wrap(network.state_dict()), tmp_path / "w.pt")
    found = imported("Sequences", weights=tmp_path / "w.pt")
    x = np.random.default_rng(0).normal(size=(1, 6, 3)).astype(np.float32)
    with torch.no_grad():
        wanted = network(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found.reference([x])[0], wanted, atol=1e-6)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "w.pt")
    with pytest.raises(SourceModelError, match="it is of another network"):
        imported("Sequences", weights=tmp_path / "w.pt")


def test_a_cell_that_begins_anew_at_each_frame_is_refused():
    with pytest.raises(SourceModelError, match="begins anew at each"):
        imported("Forgets")


def test_what_exporters_leave_out_is_refused_by_what_to_do():
    with pytest.raises(SourceModelError, match=r"'rnn' \(LSTM\) has proj_size=4.* by hand"):
        imported("Projected")


@pytest.mark.parametrize("name", ["Nothing", "os"])
def test_code_that_makes_no_network_is_refused_in_one_line(name):
    with pytest.raises(SourceModelError, match="no network was made") as raised:
        imported(name)
    assert "\n" not in raised.value.message


def test_a_script_runs_only_if_it_is_trusted(tmp_path):
    from tests.convert.importers.torch_networks import Sequences

    path = tmp_path / "net.pt"
    torch.jit.save(torch.jit.script(Sequences().eval()), path)
    with pytest.raises(SourceModelError, match="--trust-code"):
        import_model(path)
    assert (
        largest_error(import_model(path, hints=ImportHints(trusts_code=True, frames=VALUES))) < 1e-4
    )


def test_what_is_code_and_what_data_look_like(tmp_path):
    assert is_code("a.b:make")
    assert not is_code(f"C{os.sep}net.onnx")
    np.save(tmp_path / "x.npy", np.zeros((2, 5, 3), np.float32))
    assert frame_shapes(tmp_path / "x.npy") == VALUES
    assert frame_shapes([np.zeros((5, 3))]) == VALUES
    assert frame_shapes([np.zeros(5, int)]) == (("x", (), "ids"),)


def test_a_network_of_one_length_is_asked_for_windows_of_it():
    network = import_model(
        f"{MODULE}:Positions", hints=ImportHints(frames=VALUES, window=12), whole=True
    )
    assert "time is axis 1" in network.understood
    assert network.whole is not None


def test_packed_sequences_are_refused_by_name():
    with pytest.raises(SourceModelError, match=r"'rnn' \(GRU\) is given a packed sequence"):
        imported("Packed")
