"""Random ONNX networks over sequences, from a seed: blocks of the kinds that exporters write."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.convert.importers.onnx_networks import model, node

ONE = ("Relu", "Tanh", "Sigmoid", "Elu", "Softplus", "Softsign", "LeakyRelu", "HardSwish", "Selu",
       "Abs", "Neg", "Exp", "Erf", "Mish", "Identity", "HardSigmoid", "Celu")  # fmt: skip
RECURRENT = {"LSTM": 4, "GRU": 3, "RNN": 1}
GATE, INNER = ("Sigmoid", "HardSigmoid"), ("Tanh", "Relu", "Softsign")


class RandomNetwork:
    """Builds a network block by block over a value [1, time, width].

    Frames come at the rate and with the delay that convolutions without padding leave, so blocks
    that join an earlier value join one of the same frames."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.count = 0
        self.channels = self.width = int(self.random.integers(2, 6))
        self.value = "x"
        # Values of the same frames, with their widths.
        self.alike = [("x", self.width)]

    def name(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def chosen(self, options: Any) -> Any:
        return options[int(self.random.integers(len(options)))]

    def constant(self, *shape: int, scale: float = 0.6) -> str:
        name = self.name()
        self.constants[name] = (self.random.normal(size=shape) * scale).astype(np.float32)
        return name

    def numbers(self, *values: int) -> str:
        name = self.name()
        self.constants[name] = np.array(values, np.int64)
        return name

    def add(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        names = [self.name() for _ in range(outputs)]
        self.nodes.append(node(kind, " ".join(inputs), " ".join(names), **attributes))
        return names[0]

    def keep(self, value: str, width: int | None = None, new_frames: bool = False) -> None:
        self.value, self.width = value, width or self.width
        self.alike = [*([] if new_frames else self.alike), (self.value, self.width)]

    def dense(self) -> None:
        units = int(self.random.integers(2, 7))
        product = self.add("MatMul", self.value, self.constant(self.width, units))
        self.keep(self.add("Add", product, self.constant(units, scale=0.2)), units)

    def function(self) -> None:
        kind = self.chosen(ONE)
        value = self.value
        if kind == "Exp":
            value = self.add("Tanh", value)
        self.keep(self.add(kind, value))

    def arithmetic(self) -> None:
        kind = self.chosen(("Add", "Mul", "Sub", "Max", "Min"))
        operands = [self.value, self.constant(*self.chosen(((1,), (self.width,), (1, 1, 1))))]
        self.random.shuffle(operands)
        self.keep(self.add(kind, *operands))

    def convolution(self) -> None:
        size, dilation = int(self.random.integers(1, 4)), int(self.random.integers(1, 3))
        stride, reach = int(self.chosen((1, 1, 1, 2))), (size - 1) * dilation
        filters = int(self.random.integers(2, 6))
        value = self.add("Transpose", self.value, perm=[0, 2, 1])
        attributes: dict[str, Any] = {"kernel_shape": [size], "dilations": [dilation],
                                      "strides": [stride]}  # fmt: skip
        how = self.chosen(("pad", "pads", "valid", "chomp" if stride == 1 else "pads"))
        if how == "pad":
            value = self.add("Pad", value, self.numbers(0, 0, reach, 0, 0, 0))
        elif how == "pads":
            attributes["pads"] = [reach, 0]
        elif how == "chomp" and reach:
            attributes["pads"] = [reach, reach]
        kernel, bias = self.constant(filters, self.width, size), self.constant(filters)
        value = self.add("Conv", value, kernel, bias, **attributes)
        if how == "chomp" and reach:
            cut = (self.numbers(0), self.numbers(-reach), self.numbers(2))
            value = self.add("Slice", value, *cut)
        moved = stride > 1 or (how == "valid" and reach > 0)
        self.keep(self.add("Transpose", value, perm=[0, 2, 1]), filters, moved)

    def pooling(self) -> None:
        size, stride = int(self.random.integers(2, 4)), int(self.chosen((1, 2)))
        value = self.add("Transpose", self.value, perm=[0, 2, 1])
        kind = self.chosen(("MaxPool", "AveragePool"))
        value = self.add(kind, value, kernel_shape=[size], strides=[stride])
        self.keep(self.add("Transpose", value, perm=[0, 2, 1]), None, True)

    def normalization(self) -> None:
        if self.random.random() < 0.5:
            gain, shift = self.constant(self.width), self.constant(self.width)
            self.keep(self.add("LayerNormalization", self.value, gain, shift, axis=-1))
            return
        value = self.add("Transpose", self.value, perm=[0, 2, 1])
        numbers = [self.constant(self.width) for _ in range(4)]
        self.constants[numbers[3]] = np.abs(self.constants[numbers[3]]) + 0.5
        value = self.add("BatchNormalization", value, *numbers)
        self.keep(self.add("Transpose", value, perm=[0, 2, 1]))

    def recurrence(self) -> None:
        kind, units = self.chosen(tuple(RECURRENT)), int(self.random.integers(2, 7))
        gates = RECURRENT[kind]
        attributes: dict[str, Any] = {"hidden_size": units}
        if self.random.random() < 0.4:
            gate, inner = self.chosen(GATE), self.chosen(INNER)
            attributes["activations"] = {"LSTM": [gate, inner, self.chosen(INNER)],
                                         "GRU": [gate, inner], "RNN": [inner]}[kind]  # fmt: skip
        if self.random.random() < 0.2:
            attributes["clip"] = 0.7
        if kind == "GRU":
            attributes["linear_before_reset"] = int(self.random.integers(2))
        value = self.add("Transpose", self.value, perm=[1, 0, 2])
        inputs = [value, self.constant(1, gates * units, self.width, scale=0.4),
                  self.constant(1, gates * units, units, scale=0.4),
                  self.constant(1, 2 * gates * units, scale=0.2)]  # fmt: skip
        if self.random.random() < 0.3:
            inputs += ["", self.constant(1, 1, units)]
        value = self.add(kind, *inputs, **attributes)
        value = self.add("Squeeze", value, self.numbers(1))
        self.keep(self.add("Transpose", value, perm=[1, 0, 2]), units)

    def joined(self) -> None:
        other, width = self.chosen(self.alike)
        self.keep(self.add("Concat", self.value, other, axis=-1), self.width + width)

    def residual(self) -> None:
        same = [name for name, width in self.alike if width == self.width]
        self.keep(self.add(self.chosen(("Add", "Mul")), self.value, self.chosen(same)))

    def cut(self) -> None:
        if self.width < 2:
            return
        first = self.width // 2
        if self.random.random() < 0.5:
            value = self.add("Split", self.value, self.numbers(first, self.width - first),
                             outputs=2, axis=2)  # fmt: skip
        else:
            limits = (self.numbers(0), self.numbers(first), self.numbers(2))
            value = self.add("Slice", self.value, *limits)
        self.keep(value, first)

    def heads(self) -> None:
        """Two groups of channels on an axis of their own, mixed by a product, and flat again."""
        if self.width % 2:
            return
        half = self.width // 2
        value = self.add("Reshape", self.value, self.numbers(1, -1, 2, half))
        value = self.add("Transpose", value, perm=[0, 2, 1, 3])
        value = self.add("MatMul", value, self.constant(half, half))
        value = self.add(self.chosen(("Softmax", "Tanh")), value)
        value = self.add("Transpose", value, perm=[0, 2, 1, 3])
        self.keep(self.add("Reshape", value, self.numbers(1, -1, self.width)))

    def summary(self) -> None:
        """End with the last frame, or a mean or the largest value over time."""
        how = self.chosen(("Gather", "ReduceMean", "ReduceMax", "Slice"))
        if how == "Gather":
            index = self.name()
            self.constants[index] = np.array(-1)
            self.value = self.add("Gather", self.value, index, axis=1)
        elif how == "Slice":
            limits = (self.numbers(-1), self.numbers(2**31), self.numbers(1))
            value = self.add("Slice", self.value, *limits)
            self.value = self.add("Squeeze", value, self.numbers(1))
        else:
            self.value = self.add(how, self.value, axes=[1], keepdims=0)
        weights = self.constant(self.width, 3)
        self.value, self.width = self.add("Gemm", self.value, weights, self.constant(3)), 3


BLOCKS = ("dense", "function", "arithmetic", "convolution", "pooling", "normalization",
          "recurrence", "recurrence", "joined", "residual", "cut", "heads")  # fmt: skip


def random_network(seed: int) -> Any:
    """Build a network with at least one recurrence."""
    made = RandomNetwork(seed)
    blocks = [made.chosen(BLOCKS) for _ in range(int(made.random.integers(2, 7)))]
    blocks.insert(int(made.random.integers(len(blocks) + 1)), "recurrence")
    for block in blocks:
        getattr(made, block)()
    summed = made.random.random() < 0.4
    if summed:
        made.summary()
    made.nodes.append(node("Identity", made.value, "y"))
    shape = [1, None] if summed else [1, None, None]
    return model(made.nodes, [("x", [1, "time", made.channels])], [("y", shape)], made.constants)
