"""Load a training checkpoint's weights into a network, in the process that holds the network.

It imports nothing of ours, see :mod:`convert.importers.pytorch.network_process`.
"""

from __future__ import annotations

from typing import Any

# Entries of a training checkpoint that hold the state_dict.
ENTRIES = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
# What training wrappers put in front of the entries' names.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")


class NetworkError(Exception):
    """What is wrong, in one line."""


def load(network: Any, path: str) -> None:
    """Load a checkpoint's weights, without running what a pickle could hold."""
    import torch

    if path.endswith(".safetensors"):
        from safetensors.torch import load_file

        state: Any = load_file(path)
    else:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise NetworkError(
                f"{path} does not load with weights_only=True; save it with "
                "torch.save(network.state_dict(), ...)"
            ) from error
    wanted = network.state_dict()
    state = unwrapped(state, set(wanted))
    missing, extra = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    if missing or extra:
        what = f"lacks '{missing[0]}'" if missing else f"has '{extra[0]}' too"
        raise NetworkError(f"{path} {what}: it is of another network, or of another version of it")
    for name, tensor in state.items():
        if tensor.shape != wanted[name].shape:
            raise NetworkError(
                f"{path}: '{name}' has shape {list(tensor.shape)}, the network's has "
                f"{list(wanted[name].shape)}"
            )
    network.load_state_dict(state)


def unwrapped(state: Any, wanted: set[str]) -> dict[str, Any]:
    """Find the state_dict within a checkpoint, its names without a wrapper's prefix."""
    for _ in range(3):
        inner = next((n for n in ENTRIES if isinstance(state, dict) and n in state
                      and isinstance(state[n], dict)), None)  # fmt: skip
        if inner is None:
            break
        state = state[inner]
    if not isinstance(state, dict):
        raise NetworkError("the weights are not a state_dict; save network.state_dict()")
    best = dict(state)
    for _ in range(3):
        if set(best) & wanted:
            break
        prefix = next((p for p in PREFIXES if any(name.startswith(p) for name in best)), None)
        if prefix is None:
            break
        best = {n.removeprefix(prefix): v for n, v in best.items() if n.startswith(prefix)}
    return best
