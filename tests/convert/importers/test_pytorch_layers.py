"""Every kind of layer that a description can name, held against PyTorch itself."""

import numpy as np
import pytest

from convert.errors import SourceModelError, UnsupportedLayerError
from convert.importers import import_model
from convert.importers.pytorch.network import read_network
from convert.importers.pytorch.rebuilt import FUNCTIONS, to_keras
from convert.importers.pytorch.reference import run

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
nn = torch.nn

pytestmark = pytest.mark.pytorch

EVERYTHING = """
prefix = "model"
[[layers]]
kind = "scale"
mean = [1.0, 2.0, 3.0]
std = [0.5, 2.0, 4.0]
[[layers]]
kind = "conv1d"
weights = "front"
dilation = 2
[[layers]]
kind = "batch_norm"
weights = "norm"
[[layers]]
kind = "prelu"
weights = "slopes"
[[layers]]
kind = "conv1d"
weights = "depth"
groups = 8
[[layers]]
kind = "residual"
    [[layers.layers]]
    kind = "layer_norm"
    weights = "before"
    eps = 1e-3
    [[layers.layers]]
    kind = "lstm_cell"
    weights = "cell"
[[layers]]
kind = "gru_cell"
weights = "gru"
[[layers]]
kind = "rnn_cell"
weights = "rnn"
nonlinearity = "relu"
[[layers]]
kind = "linear"
weights = "fc"
[[layers]]
kind = "scale"
scale = 20.0
offset = [1.0, -5.0]
"""


class Everything(nn.Module):
    def __init__(self):
        super().__init__()
        self.front, self.norm = nn.Conv1d(3, 8, 3, dilation=2), nn.BatchNorm1d(8)
        self.slopes, self.depth = nn.PReLU(8), nn.Conv1d(8, 8, 2, groups=8, bias=False)
        self.before, self.cell = nn.LayerNorm(8, eps=1e-3), nn.LSTMCell(8, 8)
        self.gru, self.rnn = nn.GRUCell(8, 6), nn.RNNCell(6, 5, nonlinearity="relu")
        self.fc = nn.Linear(5, 2)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        x = (x - torch.tensor([1.0, 2, 3])) / torch.tensor([0.5, 2, 4])
        x = self.front(nn.functional.pad(x.transpose(1, 2), (4, 0)))
        x = self.depth(nn.functional.pad(self.slopes(self.norm(x)), (1, 0))).transpose(1, 2)
        lstm = gru = rnn = None
        outputs = []
        for step in x.unbind(1):
            lstm = self.cell(self.before(step), lstm)
            gru = self.gru(step + lstm[0], gru)
            rnn = self.rnn(gru, rnn)
            outputs.append(self.fc(rnn) * 20 + torch.tensor([1.0, -5]))
        return torch.stack(outputs, 1)


def saved(folder, content, text):
    torch.save(content, folder / "w.pt")
    (folder / "w.toml").write_text(text)
    return folder / "w.pt", folder / "w.toml"


def test_every_layer_is_what_pytorch_computes(tmp_path):
    torch.manual_seed(4)
    module = Everything().eval()
    state = {f"model.{name}": value for name, value in module.state_dict().items()}
    # A trainer's checkpoint: the loss has weights, too, and so has the optimizer.
    content = {"state_dict": {**state, "loss.weight": torch.ones(3)}, "epoch": 3, "optimizer": {}}
    files = saved(tmp_path, content, EVERYTHING)
    network = read_network(*files)
    x = np.random.default_rng(0).normal([1, 2, 3], [0.5, 2, 4], (2, 11, 3)).astype(np.float32)
    with torch.no_grad():
        wanted = module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(run(network, x), wanted, atol=2e-5)
    np.testing.assert_allclose(to_keras(network)(x).numpy(), wanted, atol=2e-5)
    assert import_model(*files).told_by == "the description says"


OWN_NAMES = {
    "hardsigmoid": nn.Hardsigmoid(), "hardswish": nn.Hardswish(), "hardtanh": nn.Hardtanh(),
    "elu": nn.ELU(0.7), "leaky_relu": nn.LeakyReLU(0.3), "softmax": nn.Softmax(-1),
    "log_softmax": nn.LogSoftmax(-1), "relu": nn.ReLU(), "relu6": nn.ReLU6(), "gelu": nn.GELU(),
    "silu": nn.SiLU(), "selu": nn.SELU(), "mish": nn.Mish(), "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(), "softplus": nn.Softplus(), "softsign": nn.Softsign(),
}  # fmt: skip


def test_activations_are_pytorchs(tmp_path):
    """Each is the last layer of a network of its own, with PyTorch's default or a given alpha."""
    assert set(OWN_NAMES) == set(FUNCTIONS)
    linear = nn.Linear(3, 6)
    x = np.random.default_rng(1).normal(0, 6, (1, 40, 3)).astype(np.float32)
    for name, function in OWN_NAMES.items():
        alpha = {"elu": "alpha = 0.7", "leaky_relu": "alpha = 0.3"}.get(name, "")
        text = '[[layers]]\nkind = "linear"\nweights = ""\n[[layers]]\nkind = "activation"\n'
        files = saved(tmp_path, linear.state_dict(), f'{text}function = "{name}"\n{alpha}')
        network = read_network(*files)
        with torch.no_grad():
            wanted = function(linear(torch.from_numpy(x))).numpy()
        np.testing.assert_allclose(run(network, x), wanted, rtol=1e-5, atol=3e-6, err_msg=name)
        given = to_keras(network)(x).numpy()
        np.testing.assert_allclose(given, wanted, rtol=1e-5, atol=2e-5, err_msg=name)


RESIDUAL = '[[layers]]\nkind = "residual"\n{}\n[[layers.layers]]\nkind = "gru"\nweights = ""\n{}'


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (RESIDUAL.format("", ""), SourceModelError, "adds 3 values to 5"),
        (RESIDUAL.format("channels = 9", ""), SourceModelError, "adds 9 channels, there are 3"),
        (RESIDUAL.format("channels = 1", ""), SourceModelError, "name the 'channels'"),
        ('[[layers]]\nkind = "scale"\nmean = 1.0\nscale = 2.0', SourceModelError, "give mean and"),
        ('prefix = "rnn"\n[[layers]]\nkind = "gru"\nweights = ""', SourceModelError, "begins with"),
        (
            '[[layers]]\nkind = "gru"\nweights = ""\noutput = "last"\n[[layers]]\nkind = "conv1d"'
            '\nweights = "c"',
            (SourceModelError, UnsupportedLayerError),
            "lacks|nothing to run over",
        ),
    ],
)
def test_descriptions_that_cannot_be_are_refused(tmp_path, text, error, message):
    files = saved(tmp_path, nn.GRU(3, 5).state_dict(), text)
    with pytest.raises(error, match=message) as raised:
        read_network(*files)
    assert "\n" not in raised.value.message
