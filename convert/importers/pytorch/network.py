"""Read a PyTorch network's layers with their weights, and check that they fit each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from convert.errors import SourceModelError, UnsupportedLayerError
from convert.importers.pytorch.description import (
    NAMES,
    ActivationLayer,
    AnyLayer,
    EmbeddingLayer,
    LayerWithWeights,
    LinearLayer,
    RecurrentLayer,
    read_description,
)
from convert.importers.pytorch.files import Arrays, read_state

# How many rows a recurrence's weights have for each unit.
GATES = {"rnn": 1, "lstm": 4, "gru": 3}


@dataclass(frozen=True)
class PyTorchNetwork:
    """A PyTorch network's layers, each with its float32 weights by name."""

    layers: tuple[tuple[AnyLayer, Arrays], ...]

    @property
    def vocabulary(self) -> int | None:
        """Number of token ids, if the network begins with an embedding."""
        layer, weights = self.layers[0]
        return len(weights["weight"]) if isinstance(layer, EmbeddingLayer) else None

    @property
    def gives_the_last(self) -> bool:
        """Whether it gives just one output for a whole sequence."""
        return any(
            isinstance(layer, RecurrentLayer) and layer.output == "last" for layer, _ in self.layers
        )

    @property
    def inputs(self) -> int:
        """Channels of a frame; 1 where it is a token id."""
        layer, weights = self.layers[0]
        if isinstance(layer, EmbeddingLayer):
            return 1
        name = "weight_ih_l0" if isinstance(layer, RecurrentLayer) else "weight"
        return int(weights[name].shape[1])


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
    layers = []
    for layer in described.layers:
        own: Arrays = {}
        if not isinstance(layer, ActivationLayer):
            prefix = f"{layer.weights}." if layer.weights else ""
            own = {
                name.removeprefix(prefix): state.pop(name)
                for name in list(state)
                if name.startswith(prefix)
            }
            _check_weights(weights, layer, own)
        layers.append((layer, own))
    if state:
        raise SourceModelError(
            f"{weights}: '{next(iter(state))}' belongs to no layer of {description}; "
            "describe the layer it belongs to"
        )
    network = PyTorchNetwork(tuple(layers))
    _check_widths(network, weights)
    return network


def _check_weights(path: Path, layer: LayerWithWeights, weights: Arrays) -> None:
    """Check that a layer has the entries it needs, in shapes that fit each other."""
    what = f"{path}: '{layer.weights}' ({NAMES[layer.kind]})"
    if not isinstance(layer, RecurrentLayer):
        wanted = {"weight": 2} | ({"bias": 1} if isinstance(layer, LinearLayer) else {})
        _check_ranks(what, weights, wanted, {"weight"})
        if "bias" in weights and len(weights["bias"]) != len(weights["weight"]):
            raise SourceModelError(f"{what} has a bias that does not fit its weight")
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
    gates, inputs = GATES[layer.kind], weights["weight_ih_l0"].shape[1]
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


def _check_widths(network: PyTorchNetwork, path: Path) -> None:
    """Check that each layer takes what the one before it gives."""
    width = None
    for position, (layer, weights) in enumerate(network.layers):
        if isinstance(layer, ActivationLayer):
            if position == 0:
                raise SourceModelError(f"{path}: the first layer must have weights")
            continue
        if isinstance(layer, EmbeddingLayer):
            if position:
                raise UnsupportedLayerError(
                    f"'{layer.weights}' (nn.Embedding) must be the first layer"
                )
            width = weights["weight"].shape[1]
            continue
        last = isinstance(layer, RecurrentLayer)
        taken = weights["weight_ih_l0" if last else "weight"].shape[1]
        if width is not None and taken != width:
            raise SourceModelError(
                f"{path}: '{layer.weights}' takes {taken} values, the layer before it gives {width}"
            )
        width = weights["weight_hh_l0"].shape[1] if last else len(weights["weight"])
    lasts = [
        position
        for position, (layer, _) in enumerate(network.layers)
        if isinstance(layer, RecurrentLayer) and layer.output == "last"
    ]
    if lasts and any(
        isinstance(layer, RecurrentLayer) for layer, _ in network.layers[lasts[0] + 1 :]
    ):
        raise UnsupportedLayerError(
            "a recurrence after one with output 'last' has nothing to run over; "
            "set the output of the first to 'sequence'"
        )


def depth_of(weights: Arrays) -> int:
    """Count the layers in a recurrence's weights."""
    return sum(name.startswith("weight_ih_l") for name in weights)
