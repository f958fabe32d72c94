"""Read the description of a PyTorch network, a TOML that names its layers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from convert.errors import SourceModelError
from convert.toml_text import parse_toml
from device_runner.model.file_kinds import TABLE, TEXT, kind_of_file, other_kind

# PyTorch's own names, by kind.
NAMES = {"embedding": "nn.Embedding", "linear": "nn.Linear", "rnn": "nn.RNN", "lstm": "nn.LSTM",
         "gru": "nn.GRU", "rnn_cell": "nn.RNNCell", "lstm_cell": "nn.LSTMCell",
         "gru_cell": "nn.GRUCell", "batch_norm": "nn.BatchNorm1d", "layer_norm": "nn.LayerNorm",
         "conv1d": "nn.Conv1d", "prelu": "nn.PReLU"}  # fmt: skip
# The other kinds, which have no weights.
WITHOUT_WEIGHTS = ("activation", "scale", "residual")

Numbers = float | list[float]


class _Layer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EmbeddingLayer(_Layer):
    """nn.Embedding."""

    kind: Literal["embedding"]
    weights: str


class RecurrentLayer(_Layer):
    """nn.RNN, nn.LSTM or nn.GRU, or a cell that runs over the sequence.

    Only nn.RNN and nn.RNNCell have a ``nonlinearity``."""

    kind: Literal["rnn", "lstm", "gru", "rnn_cell", "lstm_cell", "gru_cell"]
    weights: str
    output: Literal["sequence", "last"] = "sequence"
    nonlinearity: Literal["tanh", "relu"] = "tanh"

    @property
    def cell(self) -> str:
        """ "rnn", "lstm" or "gru"."""
        return self.kind.removesuffix("_cell")


class LinearLayer(_Layer):
    """nn.Linear."""

    kind: Literal["linear"]
    weights: str


class NormLayer(_Layer):
    """nn.BatchNorm1d or nn.LayerNorm of the channels."""

    kind: Literal["batch_norm", "layer_norm"]
    weights: str
    eps: float = Field(default=1e-5, gt=0)


class ConvolutionLayer(_Layer):
    """nn.Conv1d over time, with zeros at the start alone."""

    kind: Literal["conv1d"]
    weights: str
    dilation: int = Field(default=1, ge=1, le=4096)
    groups: int = Field(default=1, ge=1, le=65536)


class PReluLayer(_Layer):
    """nn.PReLU."""

    kind: Literal["prelu"]
    weights: str


class ActivationLayer(_Layer):
    """An activation function between layers.

    ``alpha`` is that of nn.ELU (1) and the slope of nn.LeakyReLU (0.01)."""

    kind: Literal["activation"]
    function: Literal[
        "relu", "tanh", "sigmoid", "softmax", "log_softmax", "elu", "leaky_relu", "gelu", "silu",
        "selu", "relu6", "hardsigmoid", "hardswish", "hardtanh", "softplus", "softsign", "mish",
    ]  # fmt: skip
    alpha: float | None = None

    @property
    def slope(self) -> float:
        """``alpha``, or PyTorch's own default."""
        default = 0.01 if self.function == "leaky_relu" else 1.0
        return default if self.alpha is None else self.alpha


class ScaleLayer(_Layer):
    """(x - mean) / std, or x * scale + offset, with a number for all channels or one for each."""

    kind: Literal["scale"]
    mean: Numbers | None = None
    std: Numbers | None = None
    scale: Numbers | None = None
    offset: Numbers | None = None

    @model_validator(mode="after")
    def _one_form(self) -> ScaleLayer:
        by_std = self.mean is not None or self.std is not None
        if by_std == (self.scale is not None or self.offset is not None):
            raise ValueError("give mean and std, or scale and offset")
        if np.any(np.asarray(1.0 if self.std is None else self.std) <= 0):
            raise ValueError("std is to be above 0")
        return self


class ResidualLayer(_Layer):
    """x + layers(x): a path around layers; of the first ``channels`` of x if they are named."""

    kind: Literal["residual"]
    layers: list[AnyLayer] = Field(min_length=1)
    channels: int | None = Field(default=None, ge=1)


LayerWithWeights = (
    EmbeddingLayer | RecurrentLayer | LinearLayer | NormLayer | ConvolutionLayer | PReluLayer
)
AnyLayer = Annotated[
    LayerWithWeights | ActivationLayer | ScaleLayer | ResidualLayer, Field(discriminator="kind")
]


class NetworkDescription(BaseModel):
    """The layers of a PyTorch network, in the order in which the data passes them.

    ``prefix`` names the part of the file that is the network; what else there is, is left alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: list[AnyLayer] = Field(min_length=1)
    prefix: str = ""


def read_description(path: Path) -> NetworkDescription:
    """Read the TOML.

    Raises:
        SourceModelError: it is missing, is not TOML, or describes unknown layers.
    """
    kind = kind_of_file(path)
    if kind is not None and kind not in (TEXT, TABLE):
        raise SourceModelError(other_kind(path, "a TOML file that names the layers", kind))
    try:
        return NetworkDescription.model_validate(parse_toml(path.read_bytes()))
    except FileNotFoundError:
        raise SourceModelError(
            f"{path}: no such description; a PyTorch network needs a TOML that names its layers "
            "(docs/import.md shows one)"
        ) from None
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, problem["loc"]))
        raise SourceModelError(
            f"{path}: '{place}' is wrong: {problem['msg'].lower()}; "
            f"layers are {', '.join((*NAMES, *WITHOUT_WEIGHTS))}"
        ) from error
    except OSError as error:
        raise SourceModelError(f"{path}: cannot be read as TOML ({error})") from error
    # A ValidationError is a ValueError, too.
    except ValueError as error:
        raise SourceModelError(f"{path}: {error}") from error
