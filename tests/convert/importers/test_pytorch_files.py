"""Files of PyTorch weights that are damaged or hostile, read without PyTorch: one line each."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest

from convert.errors import SourceModelError, UnsupportedLayerError
from convert.importers.pytorch.network import read_network

safetensors_numpy = pytest.importorskip("safetensors.numpy")

DESCRIPTION = (
    '[[layers]]\nkind = "gru"\nweights = "rnn"\n[[layers]]\nkind = "linear"\nweights = "fc"\n'
)
SHAPES = {
    "rnn.weight_ih_l0": (21, 5),
    "rnn.weight_hh_l0": (21, 7),
    "rnn.bias_ih_l0": (21,),
    "rnn.bias_hh_l0": (21,),
    "fc.weight": (4, 7),
    "fc.bias": (4,),
}


def state(**changed):
    """A state_dict of nn.GRU(5, 7) and nn.Linear(7, 4)."""
    generator = np.random.default_rng(1)
    found = {
        name: generator.normal(0, 0.3, shape).astype(np.float32) for name, shape in SHAPES.items()
    }
    return {**found, **changed}


@pytest.fixture
def files(tmp_path):
    """The sound weights and their description."""
    weights, layers = tmp_path / "net.safetensors", tmp_path / "net.toml"
    safetensors_numpy.save_file(state(), weights)
    layers.write_text(DESCRIPTION)
    return weights, layers


def refused(weights, layers) -> str:
    with pytest.raises((SourceModelError, UnsupportedLayerError)) as caught:
        read_network(weights, layers)
    assert "\n" not in caught.value.message
    return caught.value.message


def mutated(sound: bytes):
    """Truncated copies, and some with bits flipped in the header and behind it."""
    generator = np.random.default_rng(4)
    header = 8 + int.from_bytes(sound[:8], "little")
    cuts = (0, 1, 7, 8, 9, header // 2, header - 1, header, len(sound) - 1)
    yield from (sound[:cut] for cut in cuts)
    for number in range(100):
        changed = bytearray(sound)
        for place in generator.integers(0, header if number % 4 else len(sound), 3):
            changed[place] ^= 1 << int(generator.integers(0, 8))
        yield bytes(changed)


def test_mutated_files_are_refused_in_one_line(files):
    weights, layers = files
    sound = weights.read_bytes()
    messages = []
    for content in mutated(sound):
        weights.write_bytes(content)
        try:
            read_network(weights, layers)
        except (SourceModelError, UnsupportedLayerError) as error:
            messages.append(error.message)
    # A flipped bit of a weight is only another network.
    assert len(messages) > 70
    assert not [message for message in messages if "\n" in message]


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 2**62]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "EVIL", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": "x", "data_offsets": [0, 4]},
        [],
    ],
    ids=["huge shape", "beyond the end", "negative", "no dtype", "no shape", "no entry"],
)
def test_headers_that_lie_are_refused(files, entry):
    weights, layers = files
    header = json.dumps({"rnn.weight_ih_l0": entry}).encode()
    weights.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    refused(weights, layers)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"fc.weight": np.zeros((4, 8), np.float32)}, "takes 8 values"),
        ({"fc.bias": np.zeros(5, np.float32)}, "does not fit its weight"),
        ({"rnn.weight_hh_l0": np.zeros((20, 7), np.float32)}, "weight_hh_l0"),
        ({"rnn.bias_hh_l0": np.full(21, np.nan, np.float32)}, "NaN"),
        ({"fc.bias": np.zeros(4, np.int8)}, "not floating-point"),
        ({"fc.scale": np.zeros(4, np.float32)}, "does not have 'scale'"),
        ({"norm.weight": np.zeros(4, np.float32)}, "belongs to no layer"),
    ],
)
def test_weights_that_do_not_fit_are_refused(files, changed, words):
    weights, layers = files
    safetensors_numpy.save_file(state(**changed), weights)
    assert words in refused(weights, layers)


class _Touch:
    """Unpickled, makes a file."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_pickle_that_calls_itself_safetensors_is_not_opened(files, tmp_path):
    weights, layers = files
    mark = tmp_path / "run"
    weights.write_bytes(pickle.dumps(_Touch(mark)))
    assert "not a safetensors file" in refused(weights, layers)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(_Touch(mark)))
    weights.write_bytes(buffer.getvalue())
    assert "not a safetensors file" in refused(weights, layers)
    assert not mark.exists()


def test_a_file_of_another_kind_or_none_is_refused(files, tmp_path):
    weights, layers = files
    assert "cannot be read" in refused(tmp_path / "missing.safetensors", layers)
    assert "docs/import.md" in refused(weights, tmp_path / "missing.toml")
    assert "end in .safetensors" in refused(weights.rename(tmp_path / "net.npz"), layers)
