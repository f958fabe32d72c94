"""PyTorch networks of random weights, of the kinds that people ship."""

import torch
from torch import nn
from torch.nn import functional


class Sequences(nn.Module):
    """Two LSTMs and a product of every step."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(3, 8, num_layers=2, batch_first=True)
        self.fc = nn.Linear(8, 2)

    def forward(self, x):
        return self.fc(self.rnn(x)[0])


class TimeFirst(Sequences):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(3, 8)


class Words(nn.Module):
    """Token ids, a GRU, a decision at the end."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 5)
        self.rnn = nn.GRU(5, 8, batch_first=True)
        self.fc = nn.Linear(8, 4)

    def forward(self, ids):
        return torch.log_softmax(self.fc(self.rnn(self.embedding(ids))[1][-1]), -1)


class Streaming(nn.Module):
    """States as an optional argument and a result."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(3, 8, batch_first=True)
        self.fc = nn.Linear(8, 2)

    def forward(self, x, state=None):
        y, state = self.rnn(x, state)
        return self.fc(y), state


class Cells(nn.Module):
    """Cells whose states are nested tuples."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.LSTMCell(3, 8), nn.GRUCell(8, 6)
        self.fc = nn.Linear(6, 2)

    def forward(self, x, states):
        lstm, h = states
        lstm = self.first(x, lstm)
        h = self.second(lstm[0], h)
        return self.fc(torch.relu(h)), (lstm, h)


class Convolutions(nn.Module):
    """Causal convolutions, normalizations, and a residual around a GRU."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv1d(3, 8, 3), nn.Conv1d(8, 8, 3, padding=4, dilation=2, groups=8)
        self.norm, self.rnn = nn.BatchNorm1d(8), nn.GRU(8, 8, batch_first=True)
        self.last = nn.LayerNorm(8)

    def forward(self, x):
        x = functional.elu(self.norm(self.one(functional.pad(x.transpose(1, 2), (2, 0)))))
        x = functional.leaky_relu(self.two(x)[:, :, :-4]).transpose(1, 2)
        return self.last(functional.gelu(self.rnn(x)[0]) + x)


class NeuralPi(nn.Module):
    """A guitar amplifier: an LSTM, a product and the input itself."""

    def __init__(self):
        super().__init__()
        self.rec, self.lin = nn.LSTM(1, 12, batch_first=True), nn.Linear(12, 1)

    def forward(self, x):
        return self.lin(self.rec(x)[0]) + x[:, :, 0:1]


class RNNoise(nn.Module):
    """A denoiser: three GRUs, and joins of what they give."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(10, 6)
        self.vad = nn.GRU(6, 6, batch_first=True)
        self.noise = nn.GRU(22, 12, batch_first=True)
        self.denoise = nn.GRU(28, 16, batch_first=True)
        self.gains, self.voice = nn.Linear(16, 7), nn.Linear(6, 1)

    def forward(self, x):
        dense = torch.tanh(self.dense(x))
        vad = self.vad(dense)[0]
        noise = self.noise(torch.cat([dense, vad, x], -1))[0]
        denoise = self.denoise(torch.cat([vad, noise, x], -1))[0]
        return torch.sigmoid(self.gains(denoise)), torch.sigmoid(self.voice(vad))


class Silero(nn.Module):
    """A voice detector: products with a Fourier basis, four convolutions, an LSTM cell."""

    def __init__(self):
        super().__init__()
        self.register_buffer("basis", torch.randn(34, 1, 32) / 6)
        widths = (17, 16, 8, 8, 16)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(a, b, 3, stride=stride, padding=1)
            for a, b, stride in zip(widths[:-1], widths[1:], (1, 2, 2, 1), strict=True)
        )
        self.cell, self.out = nn.LSTMCell(16, 16), nn.Conv1d(16, 1, 1)

    def forward(self, x, state):
        x = functional.pad(x.unsqueeze(1), (0, 8), mode="reflect")
        spectrum = functional.conv1d(x, self.basis, stride=16)
        real, imaginary = spectrum[:, :17], spectrum[:, 17:]
        x = torch.sqrt(real**2 + imaginary**2)
        for one in self.convolutions:
            x = torch.relu(one(x))
        h, c = self.cell(x.squeeze(-1), (state[0], state[1]))
        y = torch.sigmoid(self.out(torch.relu(h).unsqueeze(-1)))
        return y.mean(-1), torch.stack([h, c])

    def initial_state(self):
        return torch.zeros(2, 1, 16)


class DTLN(nn.Module):
    """A denoiser's second half: an encoder, an instant normalization, two LSTMs, a mask."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Conv1d(32, 16, 1, bias=False)
        self.gain, self.shift = nn.Parameter(torch.ones(16)), nn.Parameter(torch.zeros(16))
        self.one, self.two = nn.LSTM(16, 12, batch_first=True), nn.LSTM(12, 12, batch_first=True)
        self.mask, self.decoder = nn.Linear(12, 16), nn.Conv1d(16, 32, 1, bias=False)

    def forward(self, x, states):
        code = self.encoder(x.transpose(1, 2)).transpose(1, 2)
        mean = code.mean(-1, keepdim=True)
        spread = ((code - mean) ** 2).mean(-1, keepdim=True)
        normal = (code - mean) / torch.sqrt(spread + 1e-7) * self.gain + self.shift
        y, (h1, c1) = self.one(normal, (states[:1, :, :, 0], states[:1, :, :, 1]))
        y, (h2, c2) = self.two(y, (states[1:, :, :, 0], states[1:, :, :, 1]))
        code = code * torch.sigmoid(self.mask(y))
        new = torch.stack([torch.cat([h1, h2]), torch.cat([c1, c2])], -1)
        return self.decoder(code.transpose(1, 2)).transpose(1, 2), new

    def initial_state(self):
        return torch.zeros(2, 1, 12, 2)


class GTCRN(nn.Module):
    """A denoiser over time and frequency: 2-D convolutions, GRUs along both, a skip connection.

    Takes and gives [batch, 2, frequencies, time], as spectra are."""

    def __init__(self, bands=16):
        super().__init__()
        self.down = nn.Conv2d(2, 8, (1, 5), stride=(1, 2), padding=(0, 2))
        self.deep = nn.Conv2d(8, 8, (3, 3), groups=2)
        self.norm, self.act = nn.BatchNorm2d(8), nn.PReLU(8)
        self.along = nn.GRU(8, 4, batch_first=True, bidirectional=True)
        self.mix, self.over = nn.Linear(8, 8), nn.GRU(8, 8, batch_first=True)
        self.up = nn.ConvTranspose2d(
            8, 2, (1, 5), stride=(1, 2), padding=(0, 2), output_padding=(0, 1)
        )

    def forward(self, x):
        x = x.permute(0, 1, 3, 2)  # [batch, 2, time, frequencies]
        skip = self.act(self.norm(self.down(x)))
        x = torch.relu(self.deep(functional.pad(skip, (1, 1, 2, 0))))
        batch, channels, time, bands = x.shape
        x = x.permute(0, 2, 3, 1)
        rows = x.reshape(batch * time, bands, channels)
        x = x + self.mix(self.along(rows)[0]).reshape(batch, time, bands, channels)
        rows = x.permute(0, 2, 1, 3).reshape(batch * bands, time, channels)
        x = x + self.over(rows)[0].reshape(batch, bands, time, channels).permute(0, 2, 1, 3)
        x = torch.tanh(self.up(x.permute(0, 3, 1, 2) + skip))
        return x.permute(0, 1, 3, 2)


class Loops(nn.Module):
    """Cells stepped by hand, one layer after the other, and a gate of products; a learned start."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.LSTMCell(3, 8), nn.GRUCell(8, 6)
        self.gate, self.out = nn.Linear(8 + 6, 6), nn.Linear(6, 2)
        self.start = nn.Parameter(torch.randn(8) / 3)

    def forward(self, x):
        h, c = self.start.expand(x.shape[0], -1), x.new_zeros(x.shape[0], 8)
        lower = []
        for t in range(x.shape[1]):
            h, c = self.one(x[:, t], (h, c))
            lower.append(h)
        h, slow, outputs = torch.zeros(x.shape[0], 6), torch.zeros(x.shape[0], 6), []
        for x_t in torch.stack(lower).unbind(0):
            h = self.two(x_t, h)
            gate = torch.sigmoid(self.gate(torch.cat([x_t, slow], 1)))
            slow = gate * slow + (1 - gate) * h
            outputs.append(self.out(slow))
        return torch.stack(outputs, 1)


class LastOfLoop(nn.Module):
    """A cell of products and normalizations, by hand; what is left at the end is the answer."""

    def __init__(self):
        super().__init__()
        self.given, self.back = nn.Linear(3, 32, bias=False), nn.Linear(8, 32, bias=False)
        self.norm, self.fc = nn.LayerNorm(32), nn.Linear(8, 2)

    def forward(self, x):
        h = c = torch.zeros(x.shape[0], 8)
        for t in range(x.shape[1]):
            i, f, g, o = (self.norm(self.given(x[:, t])) + self.back(h)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return self.fc(torch.relu(h))


class Samples(nn.Module):
    """Single samples, [batch, time], as in PyTorch's own example of a sine."""

    def __init__(self):
        super().__init__()
        self.cell, self.fc = nn.LSTMCell(1, 8), nn.Linear(8, 1)

    def forward(self, x):
        h = c = torch.zeros(x.size(0), 8)
        outputs = []
        for sample in x.split(1, dim=1):
            h, c = self.cell(sample, (h, c))
            outputs += [self.fc(h)]
        return torch.cat(outputs, dim=1)


class SplitFrames(nn.Module):
    """A cell over parts of one frame; the exporter writes each squeeze as an If."""

    def __init__(self):
        super().__init__()
        self.cell, self.fc = nn.RNNCell(3, 8), nn.Linear(8, 2)

    def forward(self, x):
        h, outputs = torch.zeros(x.shape[0], 8), []
        for part in x.split(1, dim=1):
            h = self.cell(torch.tanh(part).squeeze(1), h)
            outputs.append(h)
        return self.fc(torch.stack(outputs, 1))


class FarInputs(nn.Module):
    """Air pressure and a small value, which the network normalizes itself."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([101325.0, 0.0, 1.0]))
        self.register_buffer("deviation", torch.tensor([800.0, 0.1, 1.0]))
        self.rnn, self.fc = nn.GRU(3, 6, batch_first=True), nn.Linear(6, 2)

    def forward(self, x):
        return self.fc(self.rnn((x - self.mean) / self.deviation)[0])


class KeepsItsState(nn.Module):
    """States among the attributes: a buffer, and what is None at first."""

    def __init__(self):
        super().__init__()
        self.rnn, self.fc, self.hidden = nn.LSTM(3, 8, batch_first=True), nn.Linear(8, 2), None
        self.register_buffer("past", torch.zeros(1, 3))

    def forward(self, x):
        y, self.hidden = self.rnn((x + self.past).unsqueeze(1), self.hidden)
        self.past = x
        return self.fc(y[:, -1])


class KeepsItsHidden(Sequences):
    """Takes sequences, and begins with what the call before left."""

    hidden = None

    def forward(self, x):
        y, self.hidden = self.rnn(x, self.hidden)
        return self.fc(y)


class Projected(nn.Module):
    """An LSTM whose output is projected, which PyTorch's exporters forget."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(3, 8, proj_size=4, batch_first=True)

    def forward(self, x):
        return self.rnn(x)[0]


class Packed(nn.Module):
    """A GRU over sequences that are padded to one length."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(3, 4, batch_first=True)

    def forward(self, x, lengths=None):
        lengths = torch.full((x.shape[0],), x.shape[1]) if lengths is None else lengths
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        return self.rnn(packed)[1][-1]


class Positions(nn.Module):
    """Attention over windows of 12 frames alone, with a vector of its own for each place."""

    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.randn(1, 12, 4))
        self.inner = nn.Linear(3, 4)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        h = self.inner(x) + self.place
        return self.attention(h, h, h)[0].mean(1)


class Forgets(nn.Module):
    """A cell that begins anew at each frame."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(3, 8)

    def forward(self, x):
        return self.cell(x)


def silero():
    torch.manual_seed(0)
    network = Silero()
    return network, (torch.randn(1, 64), network.initial_state())


def gtcrn():
    torch.manual_seed(0)
    return GTCRN(), torch.randn(1, 2, 16, 9)
