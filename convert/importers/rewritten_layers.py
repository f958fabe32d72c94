"""Rewrite layers of old Keras and of training tools as the layers that compute the same.

- CuDNNLSTM and CuDNNGRU are the LSTM and the GRU of a graphics card; tf_keras rearranges their
  weights when it loads an HDF5 file.
- PruneLowMagnitude of TensorFlow's model optimization wraps a layer while it is pruned. The layer
  within has the pruned weights; the masks beside them are left out.
"""

from __future__ import annotations

from typing import Any

PRUNED = "PruneLowMagnitude"
# Endings of what a pruned layer has beside its weights.
PRUNING_STATE = ("mask:0", "threshold:0", "pruning_step:0")
CUDNN: dict[str, tuple[str, dict[str, Any]]] = {
    "CuDNNLSTM": ("LSTM", {"activation": "tanh", "recurrent_activation": "sigmoid"}),
    "CuDNNGRU": (
        "GRU",
        {"activation": "tanh", "recurrent_activation": "sigmoid", "reset_after": True},
    ),
}


def with_known_layers(config: Any) -> tuple[Any, tuple[str, ...]]:
    """Copy an HDF5 file's list of layers with the layers that compute the same.

    Args:
        config: no deeper than Python's recursion allows.

    Returns:
        The copy, and what is read as something else, in words.
    """
    read: list[str] = []

    def copy(value: Any) -> Any:
        if isinstance(value, list):
            return [copy(item) for item in value]
        if not isinstance(value, dict):
            return value
        found = {key: copy(inner) for key, inner in value.items()}
        return _rewritten(found, read)

    return copy(config), tuple(dict.fromkeys(read))


def _rewritten(layer: dict[str, Any], read: list[str]) -> dict[str, Any]:
    kind, inner = layer.get("class_name"), layer.get("config")
    if not isinstance(inner, dict) or not isinstance(kind, str):
        return layer
    if kind in CUDNN:
        name, options = CUDNN[kind]
        read.append(f"{kind}: computed as the {name} with the same weights")
        return {**layer, "class_name": name, "config": {**inner, **options}}
    within = inner.get("layer")
    if kind == PRUNED and isinstance(within, dict) and isinstance(within.get("config"), dict):
        # Other layers name the wrapper as their input.
        named = {"name": inner.get("name", "pruned")}
        shape = {key: inner[key] for key in ("batch_input_shape",) if key in inner}
        read.append(f"{kind}: the layers within, with their pruned weights")
        others = {key: value for key, value in layer.items() if key not in ("config", "module")}
        return {
            **{key: value for key, value in others.items() if key != "registered_name"},
            "class_name": within.get("class_name"),
            "config": {**shape, **within["config"], **named},
        }
    return layer
