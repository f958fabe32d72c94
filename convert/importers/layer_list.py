"""Check a model's list of layers, the JSON in its file, before any loader sees it.

It may hold only those classes of Keras that are listed here. A loader would import and call
whatever else it names; a Lambda layer holds the code itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from convert.errors import SourceModelError, UnsupportedLayerError
from convert.importers.rewritten_layers import with_known_layers
from convert.importers.training_parts import without_training_parts
from convert.layers import LAYERS, OWN, refusal
from convert.layers.operations import IN_KERAS, IN_TENSORFLOW, unknown_operation
from device_runner.strict_json import check_amount

KERAS_CELLS = {"GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells"}
CONTAINERS = {"Functional", "InputLayer", "Model", "Sequential"}
# Operations that Keras 3 computes masks with; a step has no masks.
MASK_OPERATIONS = {
    "All", "Any", "ExpandDims", "LogicalAnd", "LogicalNot", "LogicalOr", "NotEqual", "OnesLike",
    "Squeeze", "ZerosLike",
}  # fmt: skip
# How Keras writes what JSON lacks.
VALUES = {
    "__ellipsis__", "__keras_tensor__", "__numpy__", "__slice__", "__tensor__", "__tuple__",
}  # fmt: skip
KERAS_LAYERS = {name for name in LAYERS if not name.startswith(OWN)}
# Layers of Keras without a step that can be computed over a window (convert.step.whole_window).
WINDOW_LAYERS = {
    "AdditiveAttention",
    "Attention",
    "Bidirectional",
    "Conv1DTranspose",
    "Conv2D",
    "Cropping1D",
    "Dot",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "GroupQueryAttention",
    "GroupedQueryAttention",
    "MaxPooling2D",
    "MultiHeadAttention",
    "Permute",
    "RepeatVector",
    "UnitNormalization",
    "UpSampling1D",
}
# No real list of layers is deeper or longer.
DEPTH_LIMIT, ITEM_LIMIT = 64, 2_000_000


def read_layer_list(
    text: str | bytes, in_hdf5: bool = False
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Parse and check a model's configuration.

    Args:
        in_hdf5: whether it is that of an HDF5 file, whose weights are found by their order.

    Returns:
        The configuration without its training parts, and what is computed differently, in words.

    Raises:
        SourceModelError: it is not a JSON object, or names something that is not part of a model.
        UnsupportedLayerError: it names a layer that has no step.
    """
    try:
        check_amount(text, ITEM_LIMIT)
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SourceModelError(f"its list of layers is not JSON ({error})") from error
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict | list):
        raise SourceModelError(
            "it holds only weights, or is not a Keras model; name the code that builds the model "
            "with --model-code module:function"
        )
    if config.get("class_name") not in ("Functional", "Sequential", "Model"):
        raise UnsupportedLayerError(
            f"the model is a {str(config.get('class_name'))[:80]!r}, a class of its own with code; "
            "build it with Sequential or the Functional API, copy the weights, and save that; or "
            "name the code that makes it with --model-code module:function"
        )
    for _ in _objects(config):  # checks the limits before anything recurses
        pass
    config, changed = without_training_parts(config)
    if in_hdf5:
        config, rewritten = with_known_layers(config)
        changed = (*changed, *rewritten)
    for item in _objects(config):
        _check(item)
    return config, changed


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Walk through all objects within, without recursion."""
    left = [(config, 0)]
    count = 0
    while left:
        value, depth = left.pop()
        count += 1
        if depth > DEPTH_LIMIT or count > ITEM_LIMIT:
            raise SourceModelError("its list of layers is too deep or too long for a model")
        if isinstance(value, dict):
            yield value
            left += [(inner, depth + 1) for inner in value.values()]
        elif isinstance(value, list):
            left += [(inner, depth + 1) for inner in value]


def _check_activations(name: str, kind: str, config: Any) -> None:
    """Refuse activations that are the code of a lambda, which each Keras writes in another form."""
    if not isinstance(config, dict):
        return
    for key in ("activation", "recurrent_activation"):
        given = config.get(key)
        named = isinstance(given, dict) and given.get("class_name", "__lambda__") != "__lambda__"
        if given is not None and not isinstance(given, str) and not named:
            raise UnsupportedLayerError(
                f"layer '{name}' ({kind}) has code as its {key}, which is not run; use a named "
                "activation of Keras"
            )


def _check(item: dict[str, Any]) -> None:
    if "class_name" not in item:
        return
    kind, inner = item["class_name"], item.get("config")
    name = inner.get("name", "?") if isinstance(inner, dict) else "?"
    if not isinstance(kind, str) or not isinstance(name, str):
        raise SourceModelError("its list of layers is damaged: a class has no name")
    name = name[:80] if name.isprintable() else "?"
    _check_activations(name, kind[:80], inner)
    registered = item.get("registered_name") or kind
    module = item.get("module") or "keras"
    if not isinstance(registered, str) or not isinstance(module, str):
        raise SourceModelError("its list of layers is damaged: a class has no name")
    if kind in ("TFOpLambda", "SlicingOpLambda"):
        function = inner.get("function") if isinstance(inner, dict) else None
        if function not in IN_TENSORFLOW:
            raise unknown_operation(name, f"tf.{function}")
        return
    if module.startswith("keras.src.ops."):
        if kind not in IN_KERAS and kind not in MASK_OPERATIONS:
            raise unknown_operation(name, f"keras.ops {kind}")
        return
    if kind == "function":
        if module != "builtins" or not isinstance(inner, str):
            raise UnsupportedLayerError(
                f"the function {str(inner)[:60]!r} of '{module[:60]}' is code of the model's own; "
                "use a named activation of Keras"
            )
        return
    if registered == OWN + kind and registered in LAYERS:
        return
    if kind not in KERAS_LAYERS | WINDOW_LAYERS | KERAS_CELLS | CONTAINERS | VALUES:
        raise refusal(name, kind[:80])
    keras_own = module.split(".")[0] in ("keras", "tf_keras")
    if not keras_own or registered != kind:
        raise UnsupportedLayerError(
            f"layer '{name}' ({kind}) is '{registered[:60]}' of '{module[:60]}', code of the "
            "model's own; use the layer of Keras"
        )


def largest_size(config: dict[str, Any]) -> int:
    """Find the largest width that the layers name, to check it against the weights in the file."""
    keys = ("units", "filters", "input_dim", "output_dim", "depth_multiplier", "kernel_size")
    sizes = [1]
    for item in _objects(config):
        for key in keys:
            value = item.get(key)
            values = value if isinstance(value, list) else [value]
            sizes += [n for n in values if isinstance(n, int) and not isinstance(n, bool)]
    return max(sizes)


# Stands for a number of steps: the inputs are whole frames, whose axes stay.
OWN_SHAPES = -1


def relaxed(
    config: dict[str, Any],
    free_inputs: set[str],
    reshapes: Mapping[str, Sequence[int | None]] | None = None,
    steps: int | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Free the numbers of sequences and steps, and drop the state kept between calls.

    Args:
        free_inputs: names of the two-axis inputs whose second axis is time (token ids).
        reshapes: input shapes of the Reshape layers, by name: one that keeps a fixed number of
            steps keeps any.
        steps: how many steps the inputs take instead; None for any number, OWN_SHAPES to leave
            every shape as it is.

    Returns:
        The changed configuration, and what was changed, in words.
    """
    changed: list[str] = []

    def shape(values: Sequence[Any], name: str) -> list[Any]:
        if steps == OWN_SHAPES:
            return [None, *values[1:]]
        timed = len(values) >= 3 or name in free_inputs
        return [None, steps, *values[2:]] if timed else [None, *values[1:]]

    def copy(value: Any, key: str = "", timed: bool = True) -> Any:
        """Copy a part; what is within a TimeDistributed has no steps to free (not ``timed``)."""
        if isinstance(value, list):
            return [copy(item, timed=timed) for item in value]
        if not isinstance(value, dict):
            if key == "stateful" and value is True:
                changed.append("stateful=True: a sequence begins with zero states, as after reset")
            return False if key in ("stateful", "unroll") and value is True else value
        timed = timed and value.get("class_name") != "TimeDistributed"
        found = {}
        for name, inner in value.items():
            if name in ("build_config", "build_input_shape"):
                continue
            if name in ("batch_shape", "batch_input_shape") and isinstance(inner, (list, tuple)):
                free = timed or (key == "config" and "layer" in value)
                found[name] = shape(inner, str(value.get("name"))) if free else inner
            elif name == "target_shape" and timed and steps != OWN_SHAPES:
                found[name] = _free_target(inner, (reshapes or {}).get(str(value.get("name")), ()))
            else:
                found[name] = copy(inner, name, timed)
        return found

    return copy(config), list(dict.fromkeys(changed))


def _free_target(target: Sequence[Any], shape: Sequence[int | None]) -> list[Any]:
    """Return a Reshape's target for any number of steps, if it keeps the fixed number it takes."""
    steps = shape[1] if len(shape) > 2 else None
    if steps is None or not target or target[0] != steps:
        return list(target)
    values = math.prod(size for size in shape[2:] if size)
    known = math.prod(size for size in target[1:] if size != -1)
    return [-1, *(values // known if size == -1 else size for size in target[1:])]
