"""Make arguments of the states that a user's PyTorch network keeps among its attributes.

A network that is called frame by frame may keep its state in a buffer or an attribute. It imports
nothing of ours, see :mod:`convert.importers.pytorch.network_process`.
"""

from __future__ import annotations

from typing import Any


def _kept(network: Any) -> dict[tuple[str, str], Any]:
    """List what the parts of a network hold besides weights, by part and attribute."""
    found: dict[tuple[str, str], Any] = {}
    for name, part in network.named_modules():
        own = {key: value for key, value in vars(part).items() if not key.startswith("_")}
        found |= {(name, key): value for key, value in {**own, **part._buffers}.items()}
    return found


def with_kept_states(calls: Any, call: Any) -> Any:
    """Make arguments and outputs of the states that a network keeps from call to call.

    Args:
        calls: the module network_calls, as it is loaded in this process.
        call: of one frame, which changes the network.

    Raises:
        CallError: they cannot be found, or do not begin with zeros.
    """
    import torch

    used = calls.copied(call.network)
    before = {place: calls.flat(value) for place, value in _kept(used).items()}
    before = {place: [item.clone() for item in items] for place, items in before.items()}
    calls.run(used, call.arguments)
    after = {place: value for place, value in _kept(used).items() if calls.flat(value)}
    changed = {
        place: value
        for place, value in after.items()
        if len(before.get(place, ())) != len(calls.flat(value))
        or not all(map(calls.equal, before[place], calls.flat(value)))
    }
    if any(bool(item.any()) for place in changed for item in before.get(place, ())):
        raise calls.CallError(
            f"it keeps a state ('{next(iter(changed))[1]}') that does not begin with zeros; let it "
            "take the state as an argument and give the new one"
        )
    stepped = _stepped(calls, calls.copied(call.network), changed)
    begin = tuple(torch.zeros_like(item) for item in calls.flat(list(changed.values())))
    arguments = (*call.arguments, *begin)
    found = call._replace(arguments=arguments, stepped=True, network=stepped, keeps=False)
    by_itself, given = calls.copied(call.network), arguments
    for _ in range(3):
        wanted, outputs = (
            calls.flat(calls.run(by_itself, call.arguments)),
            calls.flat(calls.run(stepped, given)),
        )
        count = len(wanted)
        if len(outputs) - count != len(begin) or not all(map(calls.equal, wanted, outputs)):
            raise calls.CallError(
                "it keeps states from call to call that are no tensors among its attributes; let "
                "it take them as arguments and give the new ones"
            )
        given = (*call.arguments, *outputs[count:])
    return found


def _stepped(calls: Any, network: Any, kept: dict[tuple[str, str], Any]) -> Any:
    """Wrap a network so that what it keeps is given and taken at each call."""
    import torch

    sizes = [len(calls.flat(value)) for value in kept.values()]

    class Stepped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.argument_names = [item.name for item in calls.parameters(network)]
            for (_, name), size in zip(kept, sizes, strict=True):
                self.argument_names += [name] if size == 1 else [
                    f"{name}_{number}" for number in range(size)]  # fmt: skip

        def forward(self, *arguments: Any) -> Any:
            parts = dict(self.network.named_modules())
            states = iter(arguments[len(arguments) - sum(sizes) :])
            for (part, name), value in kept.items():
                setattr(parts[part], name, calls.filled(value, states))
            given = self.network(*arguments[: len(arguments) - sum(sizes)])
            new = [item for part, name in kept for item in calls.flat(getattr(parts[part], name))]
            return (given, *new)

    return Stepped().eval()
