"""Read a PyTorch network's layers with their weights, and check that they fit each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from convert.errors import SourceModelError, UnsupportedLayerError
from convert.importers.pytorch.description import (
    NAMES,
    ActivationLayer,
    AnyLayer,
    ConvolutionLayer,
    EmbeddingLayer,
    LayerWithWeights,
    LinearLayer,
    NormLayer,
    PReluLayer,
    RecurrentLayer,
    ResidualLayer,
    ScaleLayer,
    read_description,
)
from convert.importers.pytorch.files import Arrays, read_state

# How many rows a recurrence's weights have for each unit.
GATES = {"rnn": 1, "lstm": 4, "gru": 3}
# Ranks of the entries of the other layers, and which must be there.
RANKS: dict[type, tuple[dict[str, int], set[str]]] = {
    EmbeddingLayer: ({"weight": 2}, {"weight"}),
    LinearLayer: ({"weight": 2, "bias": 1}, {"weight"}),
    ConvolutionLayer: ({"weight": 3, "bias": 1}, {"weight"}),
    PReluLayer: ({"weight": 1}, {"weight"}),
}
NORMS = {
    "batch_norm": (
        {"weight": 1, "bias": 1, "running_mean": 1, "running_var": 1},
        {"running_mean", "running_var"},
    ),
    "layer_norm": ({"weight": 1, "bias": 1}, {"weight"}),
}


class Part(NamedTuple):
    """A layer with its float32 weights by name; of a residual, the layers that it goes around."""

    layer: AnyLayer
    weights: Arrays
    inner: tuple[Part, ...] = ()


@dataclass(frozen=True)
class PyTorchNetwork:
    """A PyTorch network's layers."""

    layers: tuple[Part, ...]

    @property
    def vocabulary(self) -> int | None:
        """Number of token ids, if the network begins with an embedding."""
        layer, weights, _ = self.layers[0]
        return len(weights["weight"]) if isinstance(layer, EmbeddingLayer) else None

    @property
    def gives_the_last(self) -> bool:
        """Whether it gives just one output for a whole sequence."""
        return any(map(_is_last, all_parts(self.layers)))

    @property
    def inputs(self) -> int:
        """Channels of a frame; 1 where it is a token id."""
        if self.vocabulary is not None:
            return 1
        return next(filter(None, map(_taken, all_parts(self.layers))), 1)


def all_parts(parts: Sequence[Part]) -> Iterator[Part]:
    """List layers and those within residuals, in order."""
    for part in parts:
        yield part
        yield from all_parts(part.inner)


def _is_last(part: Part) -> bool:
    return isinstance(part.layer, RecurrentLayer) and part.layer.output == "last"


def read_network(weights: Path, description: Path) -> PyTorchNetwork:
    """Read a network's weights and its description.

    Weights are .safetensors files, or .pt and .pth files through PyTorch's loader for weights
    alone.

    Raises:
        SourceModelError: a file is missing, damaged or of another kind, or weights are missing,
            left over, not finite or of shapes that do not fit.
        UnsupportedLayerError: a layer cannot be stepped.
    """
    described = read_description(description)
    state = read_state(weights)
    begin = f"{described.prefix.rstrip('.')}." if described.prefix else ""
    own = {name.removeprefix(begin): v for name, v in state.items() if name.startswith(begin)}
    if not own:
        known = ", ".join(sorted({name.partition(".")[0] for name in state})[:8])
        raise SourceModelError(
            f"{weights}: nothing in it begins with '{begin}'; its parts are {known}"
        )
    used: set[str] = set()
    parts = tuple(_part(weights, layer, own, used) for layer in described.layers)
    if left := [name for name in own if name not in used]:
        raise SourceModelError(
            f"{weights}: '{begin}{left[0]}' belongs to no layer of {description}; describe the "
            "layer it belongs to, or name the part that the network is by 'prefix'"
        )
    first = parts[0].layer
    if isinstance(first, ActivationLayer) or not any(part.weights for part in all_parts(parts)):
        raise SourceModelError(f"{weights}: the first layer must have weights")
    network = PyTorchNetwork(parts)
    _check_widths(parts, weights, None)
    _check_order(parts)
    return network


def _part(path: Path, layer: AnyLayer, state: Arrays, used: set[str]) -> Part:
    """Take a layer's entries from the state_dict, and check them."""
    if isinstance(layer, ResidualLayer):
        return Part(layer, {}, tuple(_part(path, one, state, used) for one in layer.layers))
    if isinstance(layer, ActivationLayer | ScaleLayer):
        return Part(layer, {})
    prefix = f"{layer.weights}." if layer.weights else ""
    own = {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}
    used.update(f"{prefix}{name}" for name in own)
    # How many batches a normalization has seen has no part in inference.
    own.pop("num_batches_tracked", None)
    if isinstance(layer, RecurrentLayer) and layer.kind.endswith("_cell"):
        own = {f"{name}_l0" if name.endswith(("_ih", "_hh")) else name: v
               for name, v in own.items()}  # fmt: skip
    _check_weights(path, layer, own)
    return Part(layer, own)


def _check_weights(path: Path, layer: LayerWithWeights, weights: Arrays) -> None:
    """Check that a layer has the entries it needs, in shapes that fit each other."""
    what = f"{path}: '{layer.weights}' ({NAMES[layer.kind]})"
    if not isinstance(layer, RecurrentLayer):
        norm = isinstance(layer, NormLayer)
        _check_ranks(what, weights, *(NORMS[layer.kind] if norm else RANKS[type(layer)]))
        if len({len(weights[name]) for name in weights}) > 1:
            wrong = "entries that do not fit each other" if norm else (
                "a bias that does not fit its weight")  # fmt: skip
            raise SourceModelError(f"{what} has {wrong}")
        if isinstance(layer, ConvolutionLayer) and len(weights["weight"]) % layer.groups:
            raise SourceModelError(f"{what} has filters that are no multiple of its groups")
        return
    for name in weights:
        if name.endswith("_reverse"):
            raise UnsupportedLayerError(
                f"{what} is bidirectional: it needs the future, which a stream does not have; "
                "train it with bidirectional=False"
            )
        if name.startswith("weight_hr"):
            raise UnsupportedLayerError(
                f"{what} has projections (proj_size), which are not supported; train it without"
            )
    depth = depth_of(weights)
    kinds = {"weight_ih": 2, "weight_hh": 2, "bias_ih": 1, "bias_hh": 1}
    ranks = {f"{kind}_l{level}": rank for level in range(depth) for kind, rank in kinds.items()}
    biased = "bias_ih_l0" in weights
    needed = {name for name in ranks if biased or name.startswith("weight")}
    _check_ranks(what, weights, ranks, needed or {"weight_ih_l0"})
    gates, inputs = GATES[layer.cell], weights["weight_ih_l0"].shape[1]
    units = weights["weight_hh_l0"].shape[1]
    for level in range(depth):
        shapes = {
            "weight_ih": (gates * units, inputs if level == 0 else units),
            "weight_hh": (gates * units, units),
            "bias_ih": (gates * units,),
            "bias_hh": (gates * units,),
        }
        for kind, shape in shapes.items():
            found = weights.get(f"{kind}_l{level}")
            if found is not None and found.shape != shape:
                raise SourceModelError(
                    f"{what}: {kind}_l{level} has shape {found.shape}, not {shape}; "
                    "is it another kind of layer?"
                )


def _check_ranks(what: str, weights: Arrays, ranks: dict[str, int], needed: set[str]) -> None:
    if missing := sorted(needed - set(weights)):
        raise SourceModelError(f"{what} lacks '{missing[0]}'; check the prefix in the description")
    for name, array in weights.items():
        if name not in ranks:
            raise SourceModelError(f"{what} does not have '{name}'; is it another kind of layer?")
        if array.ndim != ranks[name] or 0 in array.shape:
            raise SourceModelError(f"{what}: '{name}' has the shape {array.shape}")


def _taken(part: Part) -> int | None:
    """Return how many channels a layer takes; None if it takes any number."""
    layer, weights, _ = part
    if isinstance(layer, RecurrentLayer):
        return int(weights["weight_ih_l0"].shape[1])
    if isinstance(layer, LinearLayer):
        return int(weights["weight"].shape[1])
    if isinstance(layer, ConvolutionLayer):
        return int(weights["weight"].shape[1]) * layer.groups
    if isinstance(layer, NormLayer):
        return len(weights["running_mean" if layer.kind == "batch_norm" else "weight"])
    if isinstance(layer, PReluLayer):
        return len(weights["weight"]) if len(weights["weight"]) > 1 else None
    if isinstance(layer, ScaleLayer):
        sizes = {np.size(v) for v in (layer.mean, layer.std, layer.scale, layer.offset)
                 if isinstance(v, list)}  # fmt: skip
        return max(sizes) if sizes else None
    return None


def _given(part: Part, width: int | None) -> int | None:
    """Return how many channels a layer gives."""
    layer, weights, _ = part
    if isinstance(layer, EmbeddingLayer):
        return int(weights["weight"].shape[1])
    if isinstance(layer, RecurrentLayer):
        return int(weights["weight_hh_l0"].shape[1])
    if isinstance(layer, LinearLayer | ConvolutionLayer):
        return len(weights["weight"])
    return width


def _name(part: Part) -> str:
    return getattr(part.layer, "weights", "") or part.layer.kind


def _check_widths(parts: Sequence[Part], path: Path, width: int | None) -> int | None:
    """Check that each layer takes what the one before it gives; return what the last one gives."""
    for part in parts:
        if isinstance(part.layer, ResidualLayer):
            width = _check_residual(part, path, width)
            continue
        taken = _taken(part)
        if None not in (width, taken) and taken != width:
            raise SourceModelError(
                f"{path}: '{_name(part)}' takes {taken} values, the layer before it gives {width}"
            )
        width = _given(part, width if width is not None else taken)
    return width


def _check_residual(part: Part, path: Path, width: int | None) -> int | None:
    """Check that a residual's two paths give as many values."""
    assert isinstance(part.layer, ResidualLayer)  # noqa: S101
    if width is None:
        width = next(filter(None, map(_taken, all_parts(part.inner))), None)
    around = part.layer.channels or width
    if part.layer.channels and width is not None and part.layer.channels > width:
        raise SourceModelError(f"{path}: a residual adds {around} channels, there are {width}")
    given = _check_widths(part.inner, path, width)
    if None not in (around, given) and around != given:
        raise SourceModelError(
            f"{path}: a residual adds {around} values to {given}; name the 'channels' of its input "
            "that are added, or mend the layers in it"
        )
    return given


def _check_order(parts: Sequence[Part]) -> None:
    """Check that what runs over a sequence still has one, and that an embedding is the first."""
    summed = False
    for number, part in enumerate(all_parts(parts)):
        layer = part.layer
        if isinstance(layer, EmbeddingLayer) and number:
            raise UnsupportedLayerError(f"'{layer.weights}' (nn.Embedding) must be the first layer")
        if summed and isinstance(layer, RecurrentLayer | ConvolutionLayer):
            raise UnsupportedLayerError(
                "a recurrence or convolution after a recurrence with output 'last' has nothing to "
                "run over; set the output of the first to 'sequence'"
            )
        summed = summed or _is_last(part)
    if any(_is_last(one) for part in parts for one in all_parts(part.inner)):
        raise UnsupportedLayerError(
            "a recurrence in a residual gives one output for a sequence, which cannot be added to "
            "its steps; set its output to 'sequence'"
        )


def depth_of(weights: Arrays) -> int:
    """Count the layers in a recurrence's weights."""
    return sum(name.startswith("weight_ih_l") for name in weights)
