"""PyTorch networks: rebuilt of Keras layers, stepped, and held against PyTorch itself."""

import zipfile

import numpy as np
import pytest

from convert.errors import SourceModelError, UnsupportedLayerError
from convert.importers import import_model
from convert.importers.pytorch.network import read_network
from convert.importers.pytorch.rebuilt import to_keras
from convert.importers.pytorch.reference import run
from convert.step.keras_graph import keras_step_graph
from convert.step.step_module import StepModule

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

pytestmark = pytest.mark.pytorch

STEPS, BATCH = 13, 3
KINDS = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


class Classifier(torch.nn.Module):
    """An optional embedding, a recurrence, a linear layer on every step."""

    def __init__(self, kind, layers, bias, tokens, **options):
        super().__init__()
        self.embedding = torch.nn.Embedding(11, 5) if tokens else None
        self.rnn = KINDS[kind](5, 7, num_layers=layers, bias=bias, batch_first=True, **options)
        self.fc = torch.nn.Linear(7, 4)

    def forward(self, x):
        return self.fc(self.rnn(x if self.embedding is None else self.embedding(x))[0])


def description(kind, tokens, more=""):
    embedding = '[[layers]]\nkind = "embedding"\nweights = "embedding"\n' if tokens else ""
    return (
        f'{embedding}[[layers]]\nkind = "{kind}"\nweights = "rnn"\n{more}\n'
        '[[layers]]\nkind = "linear"\nweights = "fc"\n'
    )


def saved(folder, module, text, suffix=".safetensors"):
    weights, layers = folder / f"net{suffix}", folder / "net.toml"
    if suffix == ".safetensors":
        safetensors_torch.save_file(module.state_dict(), weights)
    else:
        torch.save(module.state_dict(), weights)
    layers.write_text(text)
    return weights, layers


def some_input(tokens):
    generator = np.random.default_rng(3)
    if tokens:
        return generator.integers(0, 11, (BATCH, STEPS)).astype(np.int32)
    return generator.normal(size=(BATCH, STEPS, 5)).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("layers", "bias", "tokens", "suffix"),
    [(1, True, True, ".safetensors"), (2, False, False, ".pt"), (3, True, False, ".safetensors")],
)
def test_keras_and_numpy_compute_what_pytorch_computes(
    tmp_path, kind, layers, bias, tokens, suffix
):
    torch.manual_seed(1)
    module = Classifier(kind, layers, bias, tokens)
    network = read_network(*saved(tmp_path, module, description(kind, tokens), suffix))
    x = some_input(tokens)
    with torch.no_grad():
        wanted = module(torch.tensor(x)).numpy()
    np.testing.assert_allclose(run(network, x), wanted, atol=1e-5)
    np.testing.assert_allclose(to_keras(network)(x).numpy(), wanted, atol=1e-5)


def test_relu_and_the_last_output(tmp_path):
    torch.manual_seed(2)
    module = Classifier("rnn", 2, True, True, nonlinearity="relu")
    text = description("rnn", True, 'nonlinearity = "relu"\noutput = "last"')
    network = read_network(*saved(tmp_path, module, text))
    x = some_input(True)
    with torch.no_grad():
        wanted = module(torch.tensor(x)).numpy()
    np.testing.assert_allclose(to_keras(network)(x).numpy(), wanted[:, -1], atol=1e-5)
    np.testing.assert_allclose(run(network, x), wanted, atol=1e-5)
    (given,) = import_model(tmp_path / "net.safetensors", tmp_path / "net.toml").reference([x])
    np.testing.assert_allclose(given, wanted[:, -1], atol=1e-5)


def test_weights_without_a_description_are_refused(tmp_path):
    weights, _ = saved(tmp_path, Classifier("gru", 1, True, False), "")
    with pytest.raises(SourceModelError, match="describe them in a TOML"):
        import_model(weights)


@pytest.mark.parametrize(
    ("options", "text", "error", "message"),
    [
        ({"bidirectional": True}, description("gru", False), UnsupportedLayerError, "future"),
        ({}, description("lstm", False), SourceModelError, "another kind of layer"),
        ({}, description("gru", True), SourceModelError, "lacks 'weight'"),
        ({}, description("gru", False).split("[[layers]]\nkind = \"linear")[0], SourceModelError,
         "belongs to no layer"),
        ({}, description("transformer", False), SourceModelError, "layers are embedding"),
        ({}, "layers = 3", SourceModelError, "'layers' is wrong"),
        ({}, "[[layers", SourceModelError, "TOML"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, options, text, error, message):
    module = Classifier("gru", 1, True, False, **options)
    if options.get("bidirectional"):
        module.fc = torch.nn.Linear(14, 4)
    with pytest.raises(error, match=message) as caught:
        read_network(*saved(tmp_path, module, text))
    assert "\n" not in caught.value.message


def test_no_code_in_a_pickle_is_run(tmp_path):
    class Malicious:
        def __reduce__(self):
            return (open, (str(tmp_path / "pwned"), "w"))

    weights, layers = saved(tmp_path, Classifier("gru", 1, True, False), description("gru", False))
    for suffix in (".pt", ".pth", ".bin"):
        file = weights.with_suffix(suffix)
        torch.save({"rnn.weight_ih_l0": Malicious()}, file)
        with pytest.raises(SourceModelError, match="weights_only=True"):
            read_network(file, layers)
    assert not (tmp_path / "pwned").exists()


def test_what_would_fill_the_memory_is_refused(tmp_path):
    """An archive that unpacks to more than its size, and a tensor whose strides are 0."""
    weights, layers = saved(
        tmp_path, Classifier("gru", 1, True, False), description("gru", False), ".pt"
    )
    bomb = tmp_path / "bomb.pt"
    with zipfile.ZipFile(weights) as sound, zipfile.ZipFile(bomb, "w") as archive:
        for name in sound.namelist():
            archive.writestr(name, sound.read(name))
        archive.writestr("bomb/data/0", bytes(10**8), zipfile.ZIP_DEFLATED)
    with pytest.raises(SourceModelError, match="archive is compressed"):
        read_network(bomb, layers)
    torch.save({"rnn.weight_ih_l0": torch.zeros(1, 1).expand(10**9, 10**9)}, bomb)
    with pytest.raises(SourceModelError, match="larger than its stored data"):
        read_network(bomb, layers)
    torch.save({"rnn.weight_ih_l0": torch.zeros(3, 3).to_sparse()}, bomb)
    with pytest.raises(SourceModelError, match="sparse"):
        read_network(bomb, layers)


def test_mutated_pt_files_are_refused_in_one_line(tmp_path):
    weights, layers = saved(
        tmp_path, Classifier("gru", 1, True, False), description("gru", False), ".pt"
    )
    sound = weights.read_bytes()
    generator = np.random.default_rng(4)
    damaged = [sound[:cut] for cut in (0, 1, 4, 100, len(sound) // 2, len(sound) - 1)]
    for _ in range(60):
        changed = bytearray(sound)
        for place in generator.integers(0, len(sound), 9):
            changed[place] ^= 1 << int(generator.integers(0, 8))
        damaged.append(bytes(changed))
    messages = []
    for content in damaged:
        weights.write_bytes(content)
        try:
            read_network(weights, layers)
        except (SourceModelError, UnsupportedLayerError) as error:
            messages.append(error.message)
    assert len(messages) > 40
    assert not [message for message in messages if "\n" in message]


def test_layers_of_half_precision_and_integers(tmp_path):
    module = Classifier("gru", 1, True, False).to(torch.bfloat16)
    weights, layers = saved(tmp_path, module, description("gru", False), ".pt")
    assert read_network(weights, layers).layers[0][1]["weight_ih_l0"].dtype == np.float32
    in_safetensors = saved(tmp_path, module, description("gru", False))
    assert read_network(*in_safetensors).layers[0][1]["weight_ih_l0"].dtype == np.float32
    torch.save({"rnn.weight_ih_l0": torch.zeros((3, 3), dtype=torch.int8)}, weights)
    with pytest.raises(SourceModelError, match="int8, not floating-point"):
        read_network(weights, layers)


def test_the_rebuilt_network_can_be_stepped(tmp_path):
    module = Classifier("lstm", 2, True, False)
    network = read_network(*saved(tmp_path, module, description("lstm", False)))
    assert list(StepModule(keras_step_graph(to_keras(network))).states) == [
        "h_0",
        "c_0",
        "h_1",
        "c_1",
    ]
