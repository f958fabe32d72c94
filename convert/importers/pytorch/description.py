"""Read the description of a PyTorch network, a TOML that names its layers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from convert.errors import SourceModelError
from device_runner.model.file_kinds import TABLE, TEXT, kind_of_file, other_kind

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# PyTorch's own names, by kind.
NAMES = {"embedding": "nn.Embedding", "linear": "nn.Linear", "rnn": "nn.RNN", "lstm": "nn.LSTM",
         "gru": "nn.GRU"}  # fmt: skip


class _Layer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EmbeddingLayer(_Layer):
    """nn.Embedding."""

    kind: Literal["embedding"]
    weights: str


class RecurrentLayer(_Layer):
    """nn.RNN, nn.LSTM or nn.GRU; only nn.RNN has a ``nonlinearity``."""

    kind: Literal["rnn", "lstm", "gru"]
    weights: str
    output: Literal["sequence", "last"] = "sequence"
    nonlinearity: Literal["tanh", "relu"] = "tanh"


class LinearLayer(_Layer):
    """nn.Linear."""

    kind: Literal["linear"]
    weights: str


class ActivationLayer(_Layer):
    """An activation function between layers."""

    kind: Literal["activation"]
    function: Literal["relu", "tanh", "sigmoid", "softmax"]


LayerWithWeights = EmbeddingLayer | RecurrentLayer | LinearLayer
AnyLayer = Annotated[LayerWithWeights | ActivationLayer, Field(discriminator="kind")]


class NetworkDescription(BaseModel):
    """The layers of a PyTorch network, in the order in which the data passes them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: list[AnyLayer] = Field(min_length=1)


def read_description(path: Path) -> NetworkDescription:
    """Read the TOML.

    Raises:
        SourceModelError: it is missing, is not TOML, or describes unknown layers.
    """
    kind = kind_of_file(path)
    if kind is not None and kind not in (TEXT, TABLE):
        raise SourceModelError(other_kind(path, "a TOML file that names the layers", kind))
    try:
        return NetworkDescription.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise SourceModelError(
            f"{path}: no such description; a PyTorch network needs a TOML that names its layers "
            "(docs/import.md shows one)"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SourceModelError(f"{path}: cannot be read as TOML ({error})") from error
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, problem["loc"]))
        raise SourceModelError(
            f"{path}: '{place}' is wrong: {problem['msg'].lower()}; "
            f"layers are {', '.join(NAMES)} and activation"
        ) from error
