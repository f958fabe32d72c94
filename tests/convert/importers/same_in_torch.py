"""The networks of :mod:`tests.convert.importers.same_weights` in PyTorch."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from tests.convert.importers.same_weights import weights_of


def _tensor(array):
    return nn.Parameter(torch.from_numpy(np.ascontiguousarray(array)))


def _dense(arrays):
    layer = nn.Linear(*arrays[0].shape)
    layer.weight, layer.bias = _tensor(arrays[0].T), _tensor(arrays[1])
    return layer


def _recurrent(layer, arrays, suffix="_l0"):
    """Put Keras' weights into a recurrence or cell; gates of a GRU are in another order."""
    kernel, recurrent, bias = arrays
    given, own = (bias, np.zeros_like(bias)) if bias.ndim == 1 else bias
    parts = {"weight_ih": kernel.T, "weight_hh": recurrent.T, "bias_ih": given, "bias_hh": own}
    for name, array in parts.items():
        if bias.ndim == 2:
            update, reset, new = np.split(array, 3)
            array = np.concatenate([reset, update, new])
        setattr(layer, name + suffix, _tensor(array))
    return layer


def _lstm(arrays):
    kernel, recurrent = arrays[:2]
    return _recurrent(nn.LSTM(kernel.shape[0], recurrent.shape[0], batch_first=True), arrays)


def _gru(arrays):
    kernel, recurrent = arrays[:2]
    layer = nn.GRU(kernel.shape[0], recurrent.shape[0], batch_first=True,
                   bidirectional=len(arrays) > 3)  # fmt: skip
    if len(arrays) > 3:
        _recurrent(layer, arrays[3:], "_l0_reverse")
    return _recurrent(layer, arrays[:3])


def _conv(arrays, **settings):
    kernel = np.moveaxis(arrays[0], (-1, -2), (0, 1))
    made = nn.Conv1d if kernel.ndim == 3 else nn.Conv2d
    layer = made(kernel.shape[1], kernel.shape[0], kernel.shape[2:], bias=len(arrays) > 1,
                 **settings)  # fmt: skip
    layer.weight = _tensor(kernel)
    if len(arrays) > 1:
        layer.bias = _tensor(arrays[1])
    return layer


class Silero(nn.Module):
    def __init__(self):
        super().__init__()
        w = weights_of("Silero")
        self.convolutions = nn.ModuleList(
            _conv(w[f"conv_{n}"], stride=stride, padding=1) for n, stride in enumerate((1, 2, 2, 2))
        )
        self.cell = _recurrent(nn.LSTMCell(16, 16), w["cell"], "")
        self.speech = _dense(w["speech"])

    def forward(self, x, state):
        x = x.transpose(1, 2)
        for one in self.convolutions:
            x = torch.relu(one(x))
        h, c = self.cell(x.squeeze(-1), (state[0], state[1]))
        return torch.sigmoid(self.speech(torch.relu(h))), torch.stack([h, c])


class DTLN(nn.Module):
    def __init__(self):
        super().__init__()
        w = weights_of("DTLN")
        self.encoder, self.decoder = _conv(w["encoder"]), _conv(w["decoder"])
        self.norm = nn.LayerNorm(16, eps=1e-7)
        self.norm.weight, self.norm.bias = map(_tensor, w["norm"])
        self.one, self.two, self.mask = _lstm(w["lstm_1"]), _lstm(w["lstm_2"]), _dense(w["mask"])

    def forward(self, x, states):
        code = self.encoder(x.transpose(1, 2)).transpose(1, 2)
        y, (h1, c1) = self.one(self.norm(code), (states[0:1], states[1:2]))
        y, (h2, c2) = self.two(y, (states[2:3], states[3:4]))
        y = (code * torch.sigmoid(self.mask(y))).transpose(1, 2)
        return self.decoder(y).transpose(1, 2), torch.cat([h1, c1, h2, c2])


class GTCRN(nn.Module):
    def __init__(self):
        super().__init__()
        w = weights_of("GTCRN")
        self.conv, self.norm = _conv(w["conv"], stride=(1, 2)), nn.BatchNorm2d(8)
        self.norm.weight, self.norm.bias = map(_tensor, w["norm"][:2])
        self.norm.running_mean, self.norm.running_var = map(torch.from_numpy, w["norm"][2:])
        self.prelu = nn.PReLU(8)
        self.low, self.high = _gru(w["low"]), _gru(w["high"])
        self.one, self.two, self.mask = _gru(w["time_a"]), _gru(w["time_b"]), _dense(w["mask"])

    def forward(self, x):
        y = functional.pad(x.permute(0, 3, 1, 2), (1, 1, 2, 0))
        y = self.prelu(self.norm(self.conv(y))).permute(0, 2, 3, 1)
        batch, steps, bands, channels = y.shape
        rows = y.reshape(batch * steps, bands, channels)
        along = torch.cat([self.low(rows[..., :4])[0], self.high(rows[..., 4:])[0]], -1)
        y = (y + along.reshape(batch, steps, bands, channels)).reshape(batch, steps, 64)
        y = torch.cat([self.one(y[..., :32])[0], self.two(y[..., 32:])[0]], -1)
        return torch.tanh(self.mask(y)).reshape(batch, steps, 16, 2) * x


class RNNoise(nn.Module):
    def __init__(self):
        super().__init__()
        w = weights_of("RNNoise")
        self.dense, self.vad, self.gains = (_dense(w[name]) for name in ("dense", "vad", "gains"))
        names = ("vad_gru", "noise_gru", "denoise_gru")
        self.one, self.two, self.three = (_gru(w[name]) for name in names)

    def forward(self, x):
        dense = torch.tanh(self.dense(x))
        vad = self.one(dense)[0]
        noise = self.two(torch.cat([dense, vad, x], -1))[0]
        y = self.three(torch.cat([vad, noise, x], -1))[0]
        return torch.sigmoid(self.gains(y)), torch.sigmoid(self.vad(vad))


class NeuralPi(nn.Module):
    def __init__(self):
        super().__init__()
        w = weights_of("NeuralPi")
        self.lstm, self.dense = _lstm(w["lstm"]), _dense(w["dense"])

    def forward(self, x):
        return self.dense(self.lstm(x)[0]) + x


def silero():
    return Silero(), (torch.randn(1, 8, 17), torch.zeros(2, 1, 16))


def dtln():
    return DTLN(), (torch.randn(1, 1, 32), torch.zeros(4, 1, 12))


def gtcrn():
    return GTCRN(), torch.randn(1, 9, 16, 2)


def rnnoise():
    return RNNoise(), torch.randn(1, 9, 42)


def neuralpi():
    return NeuralPi(), torch.randn(1, 9, 1)
