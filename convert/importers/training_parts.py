"""Remove what a model's file says of its training, before anything is checked or loaded.

Optimizers, losses, metrics, schedules, constraints, initializers, regularizers and policies of
number formats may be classes of the user's own. Inference needs none of them. So none may keep a
model from being stepped, and none may reach a loader, which would run its code.
"""

from __future__ import annotations

from typing import Any

from convert.errors import UnsupportedLayerError

# Settings of a whole model, wherever in the list a model is.
WHOLE_MODEL = {"compile_config", "training_config"}
# Endings of the keys in a layer's own settings: "kernel_initializer", "activity_regularizer".
ENDINGS = ("constraint", "initializer", "regularizer")
# The DTypePolicies of Keras 3 with float weights; the others have integer weights.
FLOAT_POLICIES = {"DTypePolicy", "DTypePolicyMap", "FloatDTypePolicy"}
COMPUTED_FORMAT = "float32"
OTHER_FORMATS = ("float16", "float64")


def without_training_parts(config: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Copy a list of layers without its training parts, and with float32 for every policy.

    Args:
        config: as in the file, no deeper than Python's recursion allows.

    Returns:
        The copy, and what is computed differently from what the file says, in words.

    Raises:
        UnsupportedLayerError: the weights are quantized to integers by Keras.
    """
    changed: list[str] = []

    def copy(value: Any, key: str = "") -> Any:
        if key == "dtype":
            return _format(value, changed)
        if isinstance(value, list):
            return [copy(item) for item in value]
        if isinstance(value, dict):
            return {name: copy(inner, name) for name, inner in value.items() if not _trains(name)}
        return value

    return copy(config), tuple(dict.fromkeys(changed))


def _trains(key: str) -> bool:
    return key in WHOLE_MODEL or key.endswith(ENDINGS)


def _format(value: Any, changed: list[str]) -> Any:
    """Replace a number format by the one to compute in: integers stay, all else is float32."""
    if not isinstance(value, dict | str):
        return value
    name: Any = value
    if isinstance(value, dict):
        _refuse_integers(value)
        inner = value.get("config")
        name = inner.get("name") if isinstance(inner, dict) else None
    if not isinstance(name, str):
        return COMPUTED_FORMAT
    if any(other in name for other in OTHER_FORMATS):  # bfloat16 and mixed_float16, too
        changed.append(f"{name[:40]}: computed in {COMPUTED_FORMAT}")
        return COMPUTED_FORMAT
    return name if isinstance(value, str) else COMPUTED_FORMAT


def _refuse_integers(policy: Any) -> None:
    """Refuse a policy, or a map with a policy in it, that means integer weights."""
    if not isinstance(policy, dict):
        return
    kind = str(policy.get("class_name"))
    own = str(policy.get("module")).split(".")[0] == "keras"
    if own and kind.endswith("DTypePolicy") and kind not in FLOAT_POLICIES:
        raise UnsupportedLayerError(
            f"its weights are integers of Keras' own quantization ({kind[:60]}); "
            "save the model before model.quantize(): edgestep quantizes the step"
        )
    for inner in policy.values():
        _refuse_integers(inner)
