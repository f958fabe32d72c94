"""Find what a user's PyTorch network takes, by trying, in the process that holds the network.

It imports nothing of ours, see :mod:`convert.importers.pytorch.network_process`.
"""

from __future__ import annotations

import copy
import inspect
import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

# Steps of the sequences that the network is tried and exported with; they stay free in the file.
STEPS = 9
# Methods by which networks give the states that they begin with.
STATE_METHODS = ("initial_state", "init_state", "init_hidden", "get_initial_state", "zero_state",
                 "initial_states", "init_states", "reset_state")  # fmt: skip


class CallError(Exception):
    """What is wrong, in one line."""


class Call(NamedTuple):
    """How a network is called.

    Attributes:
        arguments: what it takes.
        time: which axis of the first is time; None where that is found in the exported graph.
        stepped: whether each call is one step with states.
        network: what is called: a copy that no call has changed, or the network with the states
            that it keeps as arguments.
        keeps: whether a call changes the network, so that each needs a fresh copy.
        is_frame: whether a call is of one frame without states.
    """

    arguments: tuple[Any, ...]
    time: int | None
    stepped: bool
    network: Any = None
    keeps: bool = False
    is_frame: bool = False


def flat(value: Any) -> list[Any]:
    """List the tensors in nested tuples, lists and dicts."""
    import torch

    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        return [item for one in value.values() for item in flat(one)]
    if isinstance(value, list | tuple):
        return [item for one in value for item in flat(one)]
    return []


def filled(value: Any, tensors: Iterator[Any]) -> Any:
    """Return a nested value with other tensors."""
    import torch

    if isinstance(value, torch.Tensor):
        return next(tensors)
    if isinstance(value, dict):
        return {name: filled(one, tensors) for name, one in value.items()}
    if isinstance(value, list | tuple):
        parts = [filled(one, tensors) for one in value]
        if hasattr(value, "_fields"):
            return type(value)(*parts)
        return tuple(parts) if isinstance(value, tuple) else parts
    return value


def find_call(
    network: Any, example: Any, shapes: dict[str, Any], window: int | None = None
) -> Call:
    """Find arguments that the network takes.

    Args:
        shapes: shape of a frame and kind of numbers of each input of the data, by name.
        window: steps of the sequences that the network is asked for, None for any.

    Raises:
        CallError: none of the usual ones are taken.
    """
    if example is not None:
        arguments = example if isinstance(example, tuple) else (example,)
        # Which axis is time is found in the exported graph.
        outputs = run(copied(network), arguments)
        stepped = len(flat(arguments)) > 1 and bool(states_of(arguments, outputs))
        return _settled(Call(arguments, None, stepped, network))
    if not shapes:
        raise CallError(
            "what it takes is not known: give --data, or let the function return "
            "(network, example inputs)"
        )
    errors: list[Exception] = []
    for call in _offers(network, shapes, window or STEPS):
        try:
            outputs = run(copied(network), call.arguments)
        except Exception as error:  # the network's own, whatever it is
            errors.append(error)
            continue
        if call.time is not None and not _looks_back(network, call, outputs):
            continue
        if not call.stepped or states_of(call.arguments, outputs):
            return _settled(call._replace(network=network))
    if further := [item.name for item in parameters(network)[1:] if item.default is item.empty]:
        raise CallError(
            f"what '{further[0]}' is, is not known: let the function return (network, example "
            "inputs), such as (network, (torch.zeros(1, 1, 3), states)), with inputs of one step "
            "where it takes states; lengths of sequences a stream does not have"
        )
    reason = " ".join(str(errors[0]).split())[:200] if errors else "no way fits"
    raise CallError(
        f"it does not take the data's frames ({reason}); if it takes sequences of one length "
        "alone, give --window W; or let the function return (network, example inputs), with inputs "
        "of one step where it takes states"
    )


def copied(network: Any) -> Any:
    """Return a copy, as calls may change a network; the network itself if it cannot be copied."""
    try:
        return copy.deepcopy(network)
    except Exception:  # whatever the user's classes raise
        return network


def _settled(call: Call) -> Call:
    """Find out whether the network keeps states from call to call.

    Raises:
        CallError: it is a step without states though it is recurrent, or its outputs vary.
    """
    import torch

    fresh = [copied(call.network) for _ in range(2)]
    first, again = (flat(run(one, call.arguments)) for one in fresh)
    if not all(map(equal, first, again)):
        raise CallError(
            "it gives other outputs for equal inputs, as it draws random numbers; let it draw none "
            "after eval()"
        )
    second = flat(run(fresh[0], call.arguments))
    keeps = not all(map(equal, first, second))
    is_frame = call.time is None and not call.stepped and _is_frame(call)
    cells = torch.nn.RNNBase, torch.nn.RNNCellBase
    if is_frame and not keeps and any(isinstance(one, cells) for one in call.network.modules()):
        raise CallError(
            "it takes one frame, and begins anew at each: let it take the states of its "
            "recurrences and give the new ones, or take a sequence"
        )
    return call._replace(keeps=keeps, is_frame=is_frame)


def _looks_back(network: Any, call: Call, outputs: Any) -> bool:
    """Tell whether what is called time is that to the network, and no batch.

    A network without recurrences that takes its batch first may compute each frame alone."""
    import torch

    cells = torch.nn.RNNBase, torch.nn.RNNCellBase
    axis = call.time or 0
    if axis and not any(isinstance(one, cells) for one in network.modules()):
        return True
    ids = not call.arguments[0].is_floating_point()
    # A network that normalizes what lies far from zero (air pressure) is saturated near it.
    for change in (1,) if ids else (1, 10, 1e2, 1e3, 1e4, 1e5, 1e6):
        first = call.arguments[0].clone()
        first.select(axis, 0).add_(change)
        try:
            changed = run(copied(network), (first, *call.arguments[1:]))
        except Exception:  # an id that is not in the table
            return ids
        for before, after in zip(flat(outputs), flat(changed), strict=True):
            later = before.dim() > axis and before.shape[axis] == first.shape[axis]
            rows = slice(1, None) if later else slice(None)
            if not equal(before.movedim(axis, 0)[rows] if later else before,
                          after.movedim(axis, 0)[rows] if later else after):  # fmt: skip
                return True
    return False


def equal(a: Any, b: Any) -> bool:
    import torch

    return bool(a.shape == b.shape and torch.equal(a, b))


def _is_frame(call: Call) -> bool:
    """Tell whether a call without an axis of time is of one frame."""
    (first, *_) = flat(call.arguments)
    return first.dim() < 3 or all(size == 1 for size in first.shape[:-1])


def _offers(network: Any, shapes: dict[str, Any], steps: int) -> Iterator[Call]:
    """Offer calls: one step with states, then a sequence, then one frame without states."""
    frame, kind = next(iter(shapes.values()))
    for first, _ in _first_inputs(network, frame, kind, 1):
        for states in _state_inputs(network, first):
            yield Call((first, *states), None, True)
    if _needs_more(network):
        return
    for first, time in _first_inputs(network, frame, kind, steps):
        if time is not None:
            yield Call((first,), time, False)
    for first, _ in _first_inputs(network, frame, kind, 1):
        yield Call((first,), None, False)


def _needs_more(network: Any) -> bool:
    """Tell whether the network must be given more than one argument."""
    return any(item.default is item.empty for item in parameters(network)[1:])


def parameters(network: Any) -> list[inspect.Parameter]:
    """List the arguments of forward that can be given by position."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    if schema := getattr(network.forward, "schema", None):  # TorchScript
        return [
            inspect.Parameter(
                item.name, kind,
                default=item.default_value if item.has_default_value() else inspect.Parameter.empty,
            )
            for item in schema.arguments[1:]
        ]  # fmt: skip
    return [
        item
        for item in inspect.signature(network.forward).parameters.values()
        if item.kind in (kind, item.POSITIONAL_ONLY)
    ]


def run(network: Any, arguments: tuple[Any, ...]) -> Any:
    import torch

    with torch.no_grad():
        return network(*arguments)


def _first_inputs(
    network: Any, frame: list[int], kind: str, steps: int
) -> Iterator[tuple[Any, int | None]]:
    """Offer first inputs as networks take them, each with its axis of time."""
    import torch

    recurrent = [one for one in network.modules() if isinstance(one, torch.nn.RNNBase)]
    batch_first = not recurrent or recurrent[0].batch_first
    forms: list[tuple[tuple[int, ...], int | None]]
    if kind == "ids":
        forms = [((1, steps), 1), ((steps, 1), 0), ((steps,), 0)]
    else:
        forms = [((1, steps, *frame), 1), ((steps, 1, *frame), 0)]
        if steps > 1:
            forms += [((1, steps), 1)] * (frame == [1]) + [((steps, *frame), 0)]
        forms += [((1, *frame, steps), len(frame) + 1), ((1, 1, *frame, steps), len(frame) + 2)]
        if steps == 1:
            forms += [((1, *frame), None), (tuple(frame), None), ((1, 1, *frame), None)]
    if not batch_first:
        forms[:2] = forms[1::-1]
    for shape, time in forms:
        yield torch.zeros(shape, dtype=torch.int64) if kind == "ids" else torch.randn(shape), time


def _state_inputs(network: Any, first: Any) -> Iterator[tuple[Any, ...]]:
    """Offer states as further arguments."""
    import torch

    states = [item for item in parameters(network)[1:] if item.default in (item.empty, None)]
    if not states:
        return
    for method, arguments in itertools.product(STATE_METHODS, ((), (1,))):
        try:
            given = getattr(network, method)(*arguments)
        except Exception:  # noqa: S112  # there is none, or it takes others
            continue
        if flat(given):
            yield (given,) if len(states) == 1 else tuple(given)
    if not _needs_more(network):
        try:
            outputs = run(network, (first,))
        except Exception:
            return
        if isinstance(outputs, tuple | list) and len(outputs) > 1:
            given = outputs[1:] if len(states) > 1 else (outputs[1],)
            zeros = [iter([torch.zeros_like(item) for item in flat(one)]) for one in given]
            yield tuple(filled(one, own) for one, own in zip(given, zeros, strict=True))
    yield from _cell_states(network, len(states))


def _cell_states(network: Any, count: int) -> Iterator[tuple[Any, ...]]:
    """Offer states for the cells and recurrences of a network, in the order of their making."""
    import torch

    if not count:
        return
    found: list[Any] = []
    for one in network.modules():
        if isinstance(one, torch.nn.LSTMCell):
            found.append((torch.zeros(1, one.hidden_size), torch.zeros(1, one.hidden_size)))
        elif isinstance(one, torch.nn.GRUCell | torch.nn.RNNCell):
            found.append(torch.zeros(1, one.hidden_size))
        elif isinstance(one, torch.nn.RNNBase):
            h = torch.zeros(one.num_layers, 1, one.hidden_size)
            found.append((h, h.clone()) if isinstance(one, torch.nn.LSTM) else h)
    if len(found) == count:
        yield tuple(found)
    if count == 1 and len(found) > 1:
        yield (tuple(found),)
        yield (list(found),)
    tensors = flat(found)
    if len(tensors) == count and len(tensors) != len(found):
        yield tuple(tensors)


def states_of(arguments: tuple[Any, ...], outputs: Any) -> list[tuple[int, int]]:
    """Pair the inputs behind the first with outputs behind the first, by order and shapes."""
    taken, given = flat(arguments), flat(outputs)
    # Nested alike in the same order: what comes last of the outputs are the states.
    behind = len(flat(arguments[1:]))
    tail = list(range(len(given) - behind, len(given)))
    places = list(range(len(taken) - behind, len(taken)))
    if behind and tail[0] >= 1 and all(
        taken[i].shape == given[o].shape for i, o in zip(places, tail, strict=True)
    ):  # fmt: skip
        return list(zip(places, tail, strict=True))
    return []


def input_names(network: Any, arguments: tuple[Any, ...]) -> list[str]:
    """Name the tensors of the arguments after the parameters of forward."""
    known = getattr(network, "argument_names", None) or [
        item.name for item in parameters(network)]  # fmt: skip
    names: list[str] = []
    for number, argument in enumerate(arguments):
        name = known[number] if number < len(known) else f"input_{number}"
        parts = len(flat(argument))
        names += [name] if parts == 1 else [f"{name}_{part}" for part in range(parts)]
    return names
