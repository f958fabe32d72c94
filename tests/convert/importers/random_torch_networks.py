"""PyTorch networks of random architectures, each from its number.

``edgestep convert tests.convert.importers.random_torch_networks:n17`` takes the one of number 17.
"""

import random

import torch
from torch import nn
from torch.nn import functional

INPUTS = 3
RECURRENCES = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
CELLS = {"rnn": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}
ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.PReLU,
               nn.Hardsigmoid, nn.Hardswish, nn.Softplus, nn.Mish)  # fmt: skip


class Causal(nn.Module):
    """A convolution over time with zeros at the start, or with its end cut off."""

    def __init__(self, width, units, draw):
        super().__init__()
        self.dilation, self.cut = draw.choice([1, 1, 2]), draw.random() < 0.5
        size = draw.randint(1, 4)
        self.past = (size - 1) * self.dilation
        groups = width if units % width == 0 and draw.random() < 0.5 else 1
        self.conv = nn.Conv1d(
            width, units, size, dilation=self.dilation, groups=groups,
            padding=self.past if self.cut else 0, bias=draw.random() < 0.7,
        )  # fmt: skip
        self.norm = nn.BatchNorm1d(units) if draw.random() < 0.4 else nn.Identity()

    def forward(self, x):
        x = x.transpose(1, 2)
        if not self.cut:
            x = functional.pad(x, (self.past, 0))
        y = self.conv(x)
        if self.cut and self.past:
            y = y[:, :, : -self.past]
        return self.norm(y).transpose(1, 2)


class Recurrent(nn.Module):
    """One of PyTorch's own recurrences, perhaps several layers of it."""

    def __init__(self, width, units, draw):
        super().__init__()
        kind = draw.choice(sorted(RECURRENCES))
        options = {"nonlinearity": draw.choice(["tanh", "relu"])} if kind == "rnn" else {}
        self.time_first = draw.random() < 0.2
        self.rnn = RECURRENCES[kind](
            width, units, draw.choice([1, 1, 2]), bias=draw.random() < 0.8,
            batch_first=not self.time_first, **options,
        )  # fmt: skip

    def forward(self, x):
        if self.time_first:
            return self.rnn(x.transpose(0, 1))[0].transpose(0, 1)
        return self.rnn(x)[0]


class ByHand(nn.Module):
    """A cell that is stepped in a loop: PyTorch's own, or one of products."""

    def __init__(self, width, units, draw):
        super().__init__()
        self.kind = draw.choice([*sorted(CELLS), "products"])
        self.units, self.way = units, draw.choice(["index", "unbind", "split"])
        if self.kind == "products":
            self.gate, self.new = (nn.Linear(width + units, units) for _ in range(2))
            self.norm = nn.LayerNorm(units) if draw.random() < 0.5 else nn.Identity()
        else:
            self.cell = CELLS[self.kind](width, units, bias=draw.random() < 0.8)

    def _frames(self, x):
        if self.way == "index":
            return [x[:, t] for t in range(x.shape[1])]
        if self.way == "unbind":
            return x.unbind(1)
        return [part.squeeze(1) for part in x.split(1, dim=1)]

    def forward(self, x):
        h = torch.zeros(x.shape[0], self.units)
        c, outputs = torch.zeros_like(h), []
        for frame in self._frames(x):
            if self.kind == "lstm":
                h, c = self.cell(frame, (h, c))
            elif self.kind == "products":
                both = torch.cat([frame, h], -1)
                gate = torch.sigmoid(self.gate(both))
                h = gate * h + (1 - gate) * torch.tanh(self.norm(self.new(both)))
            else:
                h = self.cell(frame, h)
            outputs.append(h)
        return torch.stack(outputs, 1)


class Pointwise(nn.Module):
    """A product and an activation, perhaps normalized."""

    def __init__(self, width, units, draw):
        super().__init__()
        self.fc = nn.Linear(width, units, bias=draw.random() < 0.8)
        self.norm = nn.LayerNorm(units) if draw.random() < 0.3 else nn.Identity()
        self.act = draw.choice(ACTIVATIONS)()

    def forward(self, x):
        return self.act(self.norm(self.fc(x)))


class Around(nn.Module):
    """A path around a layer, added, joined or as a gate."""

    def __init__(self, width, inner, draw):
        super().__init__()
        self.inner, self.way = inner, draw.choice(["add", "join", "gate"])

    def forward(self, x):
        y = self.inner(x)
        if self.way == "join":
            return torch.cat([y, x], -1)
        return y + x if self.way == "add" else x * torch.sigmoid(y)


class Random(nn.Module):
    """Scaled inputs, one to three layers, and an end."""

    def __init__(self, seed):
        super().__init__()
        draw = random.Random(seed)
        torch.manual_seed(seed)
        kinds = [Recurrent, Recurrent, ByHand, Causal, Pointwise]
        width, layers = INPUTS, []
        for number in range(draw.randint(1, 3)):
            kind = draw.choice(kinds[:3] if number == 0 and draw.random() < 0.7 else kinds)
            if draw.random() < 0.3:
                around = Around(width, kind(width, width, draw), draw)
                width *= 2 if around.way == "join" else 1
                layers.append(around)
            else:
                units = draw.randint(2, 7)
                layers.append(kind(width, units, draw))
                width = units
        self.layers = nn.Sequential(*layers)
        self.register_buffer("mean", torch.randn(INPUTS) / 2)
        self.scaled = draw.random() < 0.3
        self.end = draw.choice(["steps", "steps", "last", "mean", "two"])
        self.head, self.other = nn.Linear(width, 2), nn.Linear(width, 1)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm1d):
                part.running_mean.normal_(0, 0.3)
                part.running_var.uniform_(0.5, 2)

    def forward(self, x):
        if self.scaled:
            x = (x - self.mean) / 1.5
        x = self.layers(x)
        if self.end == "last":
            x = x[:, -1]
        elif self.end == "mean":
            x = x.mean(1)
        if self.end == "two":
            return self.head(x), torch.sigmoid(self.other(x))
        return self.head(x)


def __getattr__(name):
    if name[:1] == "n" and name[1:].isdigit():
        return lambda: Random(int(name[1:]))
    raise AttributeError(name)
