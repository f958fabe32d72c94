"""Load a training checkpoint's weights into a network, in the process that holds the network.

It imports nothing of ours, see :mod:`convert.importers.pytorch.network_process`.
"""

from __future__ import annotations

from typing import Any

# Entries of a training checkpoint that hold the state_dict.
ENTRIES = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")


class NetworkError(Exception):
    """What is wrong, in one line."""


def load(network: Any, path: str, trusted: bool = False) -> None:
    """Load a checkpoint's weights.

    Args:
        trusted: whether what a pickle holds may run; it may be needed for a trainer's settings.

    Raises:
        NetworkError: they do not load, or are not the network's.
    """
    import torch

    if path.endswith(".safetensors"):
        from safetensors.torch import load_file

        state: Any = load_file(path)
    else:
        try:
            state = torch.load(path, map_location="cpu", weights_only=not trusted)
        except Exception as error:
            raise NetworkError(
                f"{path} does not load with weights_only=True, as it holds more than weights "
                "(objects of a trainer, or the network itself); save it with "
                "torch.save(network.state_dict(), ...), or let its code run with --trust-code"
            ) from error
        if isinstance(state, torch.nn.Module):  # it was saved whole
            state = state.state_dict()
    wanted = network.state_dict()
    state = unwrapped(state, set(wanted))
    # What a checkpoint has besides, such as a loss' weights, is of no use here.
    state = {name: tensor for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}
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
    if set(state) & wanted:
        return dict(state)
    # The prefix behind which most of what is wanted lies; other parts, such as a loss, stay out.
    ends = {name.removesuffix(key) for name in state for key in wanted if name.endswith(key)}
    counts = {
        prefix: sum(f"{prefix}{key}" in state for key in wanted)
        for prefix in ends
        if prefix.endswith(".")
    }
    best = max(counts, key=lambda prefix: (counts[prefix], -len(prefix)), default="")
    return {n.removeprefix(best): v for n, v in state.items() if n.startswith(best)}
