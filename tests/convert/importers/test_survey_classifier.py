"""The survey's own PyTorch classifier, trained in PyTorch on real text, imported and stepped."""

from pathlib import Path

import numpy as np
import pytest

from convert.import_conversion.conversion import prepare
from convert.import_conversion.description import Facts
from convert.importers import import_model
from device_runner.stream import Stream
from models.tasks import load_task

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make test-pytorch does it")
safetensors_torch = pytest.importorskip("safetensors.torch")

pytestmark = pytest.mark.pytorch

EPOCHS, BATCH = 3, 64
ARCHITECTURE = """
[[layers]]
kind = "embedding"
weights = "embedding"

[[layers]]
kind = "rnn"
weights = "rnn"
output = "last"

[[layers]]
kind = "linear"
weights = "fc"
"""


class RNNClassifier(torch.nn.Module):
    """Embedding, simple RNN, linear layer on the last hidden state."""

    def __init__(self, vocab_size, embed_dim, hidden_dim, num_classes):
        super().__init__()
        self.embedding = torch.nn.Embedding(vocab_size, embed_dim)
        self.rnn = torch.nn.RNN(embed_dim, hidden_dim, batch_first=True)
        self.fc = torch.nn.Linear(hidden_dim, num_classes)

    def forward(self, x, lengths):
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            self.embedding(x), lengths, batch_first=True, enforce_sorted=False
        )
        _, h_n = self.rnn(packed)
        return self.fc(h_n.squeeze(0))


def tensors(data):
    return (
        torch.tensor(data.padded[..., 0], dtype=torch.long),
        torch.tensor(data.lengths),
        torch.tensor(data.labels),
    )


@pytest.fixture(scope="module")
def task():
    return load_task("sentiment")


@pytest.fixture(scope="module")
def classifier(task):
    torch.manual_seed(1)
    network = RNNClassifier(task.vocabulary, 32, 64, 2)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    x, lengths, labels = tensors(task.train)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            given = network(x[batch], lengths[batch])
            torch.nn.functional.cross_entropy(given, labels[batch]).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
    return network.eval()


def test_int8_steps_decide_as_well_as_pytorch(task, classifier, tmp_path: Path):
    weights, layers = tmp_path / "classifier.safetensors", tmp_path / "classifier.toml"
    safetensors_torch.save_file(classifier.state_dict(), weights)
    layers.write_text(ARCHITECTURE)
    with torch.no_grad():
        x, lengths, labels = tensors(task.test)
        in_pytorch = float((classifier(x, lengths).argmax(-1) == labels).float().mean())
    # It has learned something: always the same answer is right on little more than half.
    assert in_pytorch > 0.6
    sequences = [{"x": sequence} for sequence in task.train.sequences[:300]]
    conversion = prepare(import_model(weights, layers), Facts(labels=task.labels), sequences)
    model = conversion.export("int8", tmp_path / "classifier-int8.tflite")
    stream = Stream(model, "litert")
    right = 0
    for sequence, label in zip(task.test.sequences, task.test.labels, strict=True):
        stream.reset()
        right += int(np.argmax(stream.run(sequence)[-1])) == label
    stepped = right / len(task.test)
    print(f"accuracy: PyTorch {in_pytorch:.4f}, int8 steps {stepped:.4f}")
    assert stepped > in_pytorch - 0.01
