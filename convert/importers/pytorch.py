"""PyTorch networks: a file of weights and a small TOML that names the layers.

A ``state_dict`` holds weights without the network that they belong to, so a description stands
beside it, the layers in the order in which the data passes them::

    [[layers]]
    kind = "embedding"        # nn.Embedding
    weights = "embedding"     # what its entries in the state_dict begin with

    [[layers]]
    kind = "gru"              # nn.RNN ("rnn"), nn.LSTM ("lstm"), nn.GRU ("gru")
    weights = "rnn"
    output = "last"           # after a sequence ("last") or after every step ("sequence")

    [[layers]]
    kind = "linear"           # nn.Linear
    weights = "fc"

Sizes, the number of layers of a recurrence and whether it has biases are read off the weights.
"""

from __future__ import annotations

import pickle
import sys
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tf_keras as keras
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from convert.errors import SourceModelError, UnsupportedLayerError
from convert.importers.imported import ImportedModel

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Larger files are no networks for small devices; the limit keeps a wrong path from filling memory.
FILE_LIMIT_BYTES = 2 * 1024**3
NAMES = {"embedding": "nn.Embedding", "linear": "nn.Linear", "rnn": "nn.RNN", "lstm": "nn.LSTM",
         "gru": "nn.GRU"}  # fmt: skip
GATES = {"rnn": 1, "lstm": 4, "gru": 3}

Arrays = dict[str, np.ndarray]


class _Layer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EmbeddingLayer(_Layer):
    """nn.Embedding."""

    kind: Literal["embedding"]
    weights: str


class RecurrentLayer(_Layer):
    """nn.RNN, nn.LSTM or nn.GRU; ``nonlinearity`` is nn.RNN's."""

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


AnyLayer = Annotated[
    EmbeddingLayer | RecurrentLayer | LinearLayer | ActivationLayer, Field(discriminator="kind")
]


class Description(BaseModel):
    """The layers of a PyTorch network, in the order in which the data passes them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: list[AnyLayer] = Field(min_length=1)


@dataclass(frozen=True)
class PyTorchNetwork:
    """A PyTorch network's layers with their weights, float32, by name within each layer."""

    layers: tuple[tuple[AnyLayer, Arrays], ...]

    @property
    def vocabulary(self) -> int | None:
        """Number of token ids, where the network begins with an embedding."""
        layer, weights = self.layers[0]
        return len(weights["weight"]) if isinstance(layer, EmbeddingLayer) else None

    @property
    def gives_the_last(self) -> bool:
        """Whether it gives one output for a whole sequence."""
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


def import_network(weights: Path, description: Path) -> ImportedModel:
    """A PyTorch network as one to be stepped; errors as :func:`read_network`."""
    network = read_network(weights, description)

    def reference(inputs: list[np.ndarray]) -> list[np.ndarray]:
        (x,) = inputs
        outputs = run(network, x[..., 0] if network.vocabulary and x.ndim == 3 else x)
        return [outputs[:, -1] if network.gives_the_last else outputs]

    return ImportedModel(
        name=weights.stem,
        network=to_keras(network),
        reference=reference,
        framework="PyTorch",
    )


def read_network(weights: Path, description: Path) -> PyTorchNetwork:
    """Read a network's weights (.safetensors, or .pt and .pth through PyTorch's loader for
    weights alone) and its description.

    Raises:
        SourceModelError: a file is missing, damaged or no such file, weights are missing, left
            over, not finite or of shapes that do not fit.
        UnsupportedLayerError: a layer that cannot be stepped.
    """
    described = _read_description(description)
    state = _read_state(weights)
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


def to_keras(network: PyTorchNetwork) -> keras.Model:
    """The same network of Keras layers: token ids [batch, steps] or frames
    [batch, steps, inputs] -> what the last layer gives, of every step or after the last one.

    PyTorch's two biases of a recurrence are added where Keras has one. Both lay the gates out
    alike (i, f, g, o) but for a GRU's, which are r, z, n there and z, r, h here.
    """
    if network.vocabulary is not None:
        inputs = keras.Input((None,), dtype="int32", name="x")
    else:
        inputs = keras.Input((None, network.inputs), name="x")
    value: Any = inputs
    for number, (layer, weights) in enumerate(network.layers):
        if isinstance(layer, RecurrentLayer):
            value = _keras_recurrence(value, layer, weights, number)
            continue
        built: keras.layers.Layer
        if isinstance(layer, ActivationLayer):
            built = keras.layers.Activation(layer.function, name=f"{layer.function}_{number}")
        elif isinstance(layer, EmbeddingLayer):
            built = keras.layers.Embedding(*weights["weight"].shape, name=_name(layer, number))
        else:
            outputs = len(weights["weight"])
            built = keras.layers.Dense(
                outputs, use_bias="bias" in weights, name=_name(layer, number)
            )
        value = built(value)
        if isinstance(layer, EmbeddingLayer):
            built.set_weights([weights["weight"]])
        elif isinstance(layer, LinearLayer):
            built.set_weights(
                [weights["weight"].T, *([weights["bias"]] if "bias" in weights else [])]
            )
    return keras.Model(inputs, value, name="pytorch_network")


def run(network: PyTorchNetwork, x: np.ndarray) -> np.ndarray:
    """What PyTorch computes, from the equations in its documentation: token ids [batch, steps]
    or frames [batch, steps, inputs] -> outputs [batch, steps, outputs]; after a layer that gives
    its last output alone, that of each step so far.

    Written apart from :func:`to_keras`, which it checks.
    """
    value = x
    for layer, weights in network.layers:
        if isinstance(layer, EmbeddingLayer):
            value = weights["weight"][value]
        elif isinstance(layer, LinearLayer):
            value = value @ weights["weight"].T + weights.get("bias", np.float32(0))
        elif isinstance(layer, ActivationLayer):
            value = _ACTIVATIONS[layer.function](value)
        else:
            for depth in range(_depth(weights)):
                value = _run_recurrence(layer, weights, depth, value)
    return value


def _sigmoid(value: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * value))


def _softmax(value: np.ndarray) -> np.ndarray:
    powers = np.exp(value - value.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda value: np.maximum(value, 0),
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "softmax": _softmax,
}


def _run_recurrence(
    layer: RecurrentLayer, weights: Arrays, depth: int, x: np.ndarray
) -> np.ndarray:
    """One layer of a recurrence: [batch, steps, inputs] -> [batch, steps, H]."""
    w, u = weights[f"weight_ih_l{depth}"], weights[f"weight_hh_l{depth}"]
    b = weights.get(f"bias_ih_l{depth}", np.zeros(len(w), np.float32))
    d = weights.get(f"bias_hh_l{depth}", np.zeros(len(w), np.float32))
    h = np.zeros((len(x), u.shape[1]), np.float32)
    c = np.zeros_like(h)
    outputs = []
    for t in range(x.shape[1]):
        from_x, from_h = x[:, t] @ w.T + b, h @ u.T + d
        if layer.kind == "rnn":
            h = _ACTIVATIONS[layer.nonlinearity](from_x + from_h)
        elif layer.kind == "lstm":
            i, f, g, o = np.split(from_x + from_h, 4, axis=-1)
            c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
            h = _sigmoid(o) * np.tanh(c)
        else:
            (xr, xz, xn), (hr, hz, hn) = np.split(from_x, 3, -1), np.split(from_h, 3, -1)
            r, z = _sigmoid(xr + hr), _sigmoid(xz + hz)
            n = np.tanh(xn + r * hn)
            h = (1 - z) * n + z * h
        outputs.append(h)
    return np.stack(outputs, 1)


def _keras_recurrence(value: Any, layer: RecurrentLayer, weights: Arrays, number: int) -> Any:
    depth = _depth(weights)
    for level in range(depth):
        w, u = weights[f"weight_ih_l{level}"], weights[f"weight_hh_l{level}"]
        options: dict[str, Any] = {
            "use_bias": f"bias_ih_l{level}" in weights,
            # Of a recurrence whose last output alone counts, the lower layers give all of theirs.
            "return_sequences": layer.output == "sequence" or level < depth - 1,
            "name": f"{_name(layer, number)}_{level}",
        }
        units = u.shape[1]
        if layer.kind == "rnn":
            built = keras.layers.SimpleRNN(units, activation=layer.nonlinearity, **options)
        elif layer.kind == "lstm":
            built = keras.layers.LSTM(units, **options)
        else:
            built = keras.layers.GRU(units, reset_after=True, **options)
        value = built(value)
        given = [w, u]
        if options["use_bias"]:
            biases = weights[f"bias_ih_l{level}"], weights[f"bias_hh_l{level}"]
            given += [np.stack(biases, -1)] if layer.kind == "gru" else [biases[0] + biases[1]]
        if layer.kind == "gru":
            given = [_gates_as_keras_has_them(array) for array in given]
        built.set_weights([array.T for array in given])
    return value


def _gates_as_keras_has_them(array: np.ndarray) -> np.ndarray:
    r, z, n = np.split(array, 3, axis=0)
    return np.concatenate([z, r, n])


def _name(layer: EmbeddingLayer | RecurrentLayer | LinearLayer, number: int) -> str:
    return f"{layer.weights.replace('.', '_') or layer.kind}_{number}"


def _depth(weights: Arrays) -> int:
    return sum(name.startswith("weight_ih_l") for name in weights)


def _read_description(path: Path) -> Description:
    try:
        return Description.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
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


def _read_state(path: Path) -> Arrays:
    """The entries of a state_dict as float32."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise SourceModelError(f"{path}: cannot be read ({error.strerror}); check it") from None
    if size > FILE_LIMIT_BYTES:
        raise SourceModelError(f"{path} has {size:,} bytes; is it the weights of a small network?")
    if path.suffix == ".safetensors":
        raw = _read_safetensors(path)
    elif path.suffix in (".pt", ".pth", ".bin"):
        raw = _read_with_torch(path)
    else:
        raise SourceModelError(
            f"{path}: PyTorch weights end in .safetensors, .pt or .pth; rename or save it again"
        )
    state = {}
    for name, array in raw.items():
        # bfloat16 is no floating-point kind to NumPy.
        if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
            raise SourceModelError(
                f"{path}: '{name}' is {array.dtype}, not floating-point; save the float network"
            )
        state[name] = np.ascontiguousarray(array, np.float32)
        if not np.isfinite(state[name]).all():
            raise SourceModelError(f"{path}: '{name}' holds NaN or infinity; train it again")
    return state


def _read_safetensors(path: Path) -> Arrays:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise SourceModelError(
            f"{path}: reading it needs safetensors ({error}); "
            "install it with 'pip install edgestep[pytorch]'"
        ) from error
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceModelError(
            f"{path}: no safetensors file, or a damaged one ({_one_line(error)}); save it again"
        ) from error


def _read_with_torch(path: Path) -> Arrays:
    try:
        import torch
    except ImportError as error:
        raise SourceModelError(
            f"{path}: reading it needs PyTorch ({error}); install it, or save the state_dict "
            "with safetensors.torch.save_file"
        ) from error
    _check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is refused in one line below
            # Weights alone: anything else that a pickle can hold is refused, not run.
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its parts raise
        # Of what is no weight, torch says how to load it all the same, which would run its code.
        unsafe = isinstance(error, pickle.UnpicklingError)
        reason = "a whole model, other objects, or damaged" if unsafe else _one_line(error)
        raise SourceModelError(
            f"{path}: no state_dict that loads with weights_only=True ({reason}); "
            "save it with torch.save(model.state_dict(), …) or with safetensors"
        ) from error
    if not isinstance(loaded, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor)
        for name, tensor in loaded.items()
    ):
        raise SourceModelError(f"{path} holds no state_dict; save model.state_dict() alone")
    for name, tensor in loaded.items():
        plain = tensor.layout == torch.strided and not tensor.is_quantized and tensor.is_cpu
        # A tensor may have many times the values that its storage has, by strides of 0.
        if not plain or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise SourceModelError(
                f"{path}: '{name}' is sparse, quantized or larger than what is stored of it; "
                "save dense floating-point weights"
            )
    return {
        name: tensor.detach().to(torch.float32).numpy()
        if tensor.is_floating_point()
        else tensor.detach().numpy()
        for name, tensor in loaded.items()
    }


def _check_archive(path: Path) -> None:
    """Refuse an archive that could unpack to more than its size; torch.save compresses nothing.

    Files of PyTorch before 1.6 are no archives.
    """
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # zipfile raises many kinds
        raise SourceModelError(f"{path}: a damaged archive ({_one_line(error)})") from error
    compressed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if compressed or sum(member.file_size for member in members) > path.stat().st_size:
        raise SourceModelError(
            f"{path}: its archive is compressed, as torch.save never does; save the weights again"
        )


def _one_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:200] or type(error).__name__


def _check_weights(
    path: Path, layer: EmbeddingLayer | RecurrentLayer | LinearLayer, weights: Arrays
) -> None:
    """Assert that a layer has the entries it needs, in shapes that fit each other."""
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
    depth = _depth(weights)
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
    """Assert that each layer takes what the one before it gives."""
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
            "a recurrence behind one with output 'last' has nothing to run over; "
            "set the output of the first to 'sequence'"
        )
