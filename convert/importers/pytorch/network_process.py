"""Make a user's PyTorch network in a process of its own, export it, and compute it on request.

It runs as a file: ``python network_process.py SETTINGS.json``. It imports nothing of ours but the
file that finds the user's modules. The network is written as ONNX by PyTorch's own exporter. Then
each line on the standard input is a number N: the inputs in ``N-in.npz`` become ``N-out.npz``, and
the line ``done`` is answered. Failures are one line in ``failure.txt``. Nothing is pickled.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import itertools
import json
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FAILURE_FILE, MODEL_FILE, FACTS_FILE = "failure.txt", "network.onnx", "facts.json"
# Steps of the sequences that the network is exported with; they stay free in the file.
STEPS, OPSET = 9, 17
# Methods by which networks give the states that they begin with.
STATE_METHODS = ("initial_state", "init_state", "init_hidden", "get_initial_state", "zero_state",
                 "initial_states", "init_states", "reset_state")  # fmt: skip


class Call(NamedTuple):
    """Arguments that the network takes, which axis of the first is time, and whether each call is
    one step with states."""

    arguments: tuple[Any, ...]
    time: int | None
    stepped: bool


def main(settings: dict[str, Any]) -> int:
    """Make the network and serve it; return the exit code."""
    folder = Path(settings["folder"])
    # What the user's code prints does not mix with our answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        _own_file(settings["imports"])._use_working_directory()
        warnings.simplefilter("ignore")
        network, example = _network(settings)
        call = _call(network, example, settings["shapes"])
        names = _export(network, call, folder)
        _serve(network, call, names, folder, answers)
    except KeyboardInterrupt:
        return 130
    # The user's code may raise anything, SystemExit included.
    except BaseException as error:
        own_line = isinstance(error, NetworkError)
        text = str(error) if own_line else f"{type(error).__name__}: {error}"
        (folder / FAILURE_FILE).write_text(" ".join(text.split())[:400], encoding="utf-8")
        return 1
    return 0


def _own_file(path: str) -> Any:
    """Import a file of ours by its path, whatever modules the user has."""
    spec = importlib.util.spec_from_file_location(f"edgestep_{Path(path).stem}", path)
    assert spec is not None  # noqa: S101
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# What is wrong, in one line, and how weights are loaded.
_checkpoint = _own_file(str(Path(__file__).with_name("checkpoint.py")))
NetworkError = _checkpoint.NetworkError


def _network(settings: dict[str, Any]) -> tuple[Any, Any]:
    """Make the network with its weights; return it and example arguments, None if not given."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    example = None
    if settings["script"]:
        network = torch.jit.load(settings["script"], map_location="cpu")
    else:
        module, _, name = settings["source"].partition(":")
        made: Any = importlib.import_module(module)
        for part in name.split("."):
            made = getattr(made, part)
        if not isinstance(made, torch.nn.Module):
            made = made()
        if isinstance(made, tuple):
            made, example = made
        network = made
    if not isinstance(network, torch.nn.Module):
        raise NetworkError(
            f"the function gives {type(network).__name__}, not a torch.nn.Module "
            "(or a tuple of one and example inputs)"
        )
    if settings["weights"]:
        _checkpoint.load(network, settings["weights"])
    return network.float().eval(), example


def _flat(value: Any) -> list[Any]:
    """List the tensors in nested tuples, lists and dicts."""
    import torch

    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        return [item for one in value.values() for item in _flat(one)]
    if isinstance(value, list | tuple):
        return [item for one in value for item in _flat(one)]
    return []


def _filled(value: Any, tensors: Iterator[Any]) -> Any:
    """Return a nested value with other tensors."""
    import torch

    if isinstance(value, torch.Tensor):
        return next(tensors)
    if isinstance(value, dict):
        return {name: _filled(one, tensors) for name, one in value.items()}
    if isinstance(value, list | tuple):
        parts = [_filled(one, tensors) for one in value]
        if hasattr(value, "_fields"):
            return type(value)(*parts)
        return tuple(parts) if isinstance(value, tuple) else parts
    return value


def _call(network: Any, example: Any, shapes: dict[str, Any]) -> Call:
    """Find arguments that the network takes.

    Args:
        shapes: shape of a frame and kind of numbers of each input of the data, by name.

    Raises:
        NetworkError: none of the usual ones are taken.
    """
    if example is not None:
        arguments = example if isinstance(example, tuple) else (example,)
        # Which axis is time is found in the exported graph.
        stepped = len(_flat(arguments)) > 1 and bool(_states(arguments, _run(network, arguments)))
        return Call(arguments, None, stepped)
    if not shapes:
        raise NetworkError(
            "what it takes is not known: give --data, or let the function return "
            "(network, example inputs)"
        )
    errors: list[Exception] = []
    for arguments, time, stepped in _offers(network, shapes):
        try:
            outputs = _run(network, arguments)
        except Exception as error:  # the network's own, whatever it is
            errors.append(error)
            continue
        if not stepped or _states(arguments, outputs):
            return Call(arguments, time, stepped)
    reason = " ".join(str(errors[0]).split())[:200] if errors else "no way fits"
    raise NetworkError(
        f"it does not take the data's frames ({reason}); let the function return "
        "(network, example inputs), with inputs of one step where it takes states"
    )


def _offers(network: Any, shapes: dict[str, Any]) -> Iterator[Call]:
    """Offer calls: one step with states, then a sequence, then one frame without states."""
    frame, kind = next(iter(shapes.values()))
    for first, _ in _first_inputs(network, frame, kind, 1):
        for states in _state_inputs(network, first):
            yield Call((first, *states), None, True)
    if _needs_more(network):
        return
    for first, time in _first_inputs(network, frame, kind, STEPS):
        if time is not None:
            yield Call((first,), time, False)
    for first, _ in _first_inputs(network, frame, kind, 1):
        yield Call((first,), None, False)


def _needs_more(network: Any) -> bool:
    """Tell whether the network must be given more than one argument."""
    return any(item.default is item.empty for item in _parameters(network)[1:])


def _parameters(network: Any) -> list[inspect.Parameter]:
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


def _run(network: Any, arguments: tuple[Any, ...]) -> Any:
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

    states = [item for item in _parameters(network)[1:] if item.default in (item.empty, None)]
    if not states:
        return
    for method, arguments in itertools.product(STATE_METHODS, ((), (1,))):
        try:
            given = getattr(network, method)(*arguments)
        except Exception:  # noqa: S112  # there is none, or it takes others
            continue
        if _flat(given):
            yield (given,) if len(states) == 1 else tuple(given)
    if not _needs_more(network):
        try:
            outputs = _run(network, (first,))
        except Exception:
            return
        if isinstance(outputs, tuple | list) and len(outputs) > 1:
            given = outputs[1:] if len(states) > 1 else (outputs[1],)
            zeros = [iter([torch.zeros_like(item) for item in _flat(one)]) for one in given]
            yield tuple(_filled(one, own) for one, own in zip(given, zeros, strict=True))
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
    flat = _flat(found)
    if len(flat) == count and len(flat) != len(found):
        yield tuple(flat)


def _states(arguments: tuple[Any, ...], outputs: Any) -> list[tuple[int, int]]:
    """Pair the inputs behind the first with outputs behind the first, by order and shapes."""
    taken, given = _flat(arguments), _flat(outputs)
    # Nested alike in the same order: what comes last of the outputs are the states.
    behind = len(_flat(arguments[1:]))
    tail = list(range(len(given) - behind, len(given)))
    places = list(range(len(taken) - behind, len(taken)))
    if behind and tail[0] >= 1 and all(
        taken[i].shape == given[o].shape for i, o in zip(places, tail, strict=True)
    ):  # fmt: skip
        return list(zip(places, tail, strict=True))
    return []


def _export(network: Any, call: Call, folder: Path) -> list[str]:
    """Write the network as ONNX, and facts of it; return the names of its inputs."""
    import torch

    flat, outputs = _flat(call.arguments), _flat(_run(network, call.arguments))
    pairs = _states(call.arguments, _run(network, call.arguments)) if call.stepped else []
    names = _input_names(network, call.arguments)
    given = ["y"] + [f"y_{number}" for number in range(1, len(outputs))]
    for place, output in pairs:
        given[output] = f"{names[place]}_out"
    axes = {} if call.time is None else {names[0]: {call.time: "time"}}
    if call.time is not None:
        for name, tensor in zip(names[1:], flat[1:], strict=True):
            if tensor.dim() > call.time and tensor.shape[call.time] == flat[0].shape[call.time]:
                axes[name] = {call.time: "time"}
    settings = {"input_names": names, "output_names": given, "dynamic_axes": axes}
    path = str(folder / MODEL_FILE)
    try:
        # This one needs no further package, and takes a second.
        torch.onnx.export(
            network, call.arguments, path, opset_version=OPSET, dynamo=False, **settings
        )
    except Exception as error:
        _export_anew(network, call, path, settings, error)
    facts = {
        "inputs": names,
        "outputs": given,
        "states": [(names[place], given[output]) for place, output in pairs],
        "name": type(network).__name__,
        "version": torch.__version__,
    }
    (folder / FACTS_FILE).write_text(json.dumps(facts), encoding="utf-8")
    return names


def _export_anew(
    network: Any, call: Call, path: str, settings: dict[str, Any], error: Exception
) -> None:
    """Export with PyTorch's newer exporter what the older one cannot."""
    import torch

    try:
        importlib.import_module("onnxscript")
    except ImportError:
        reason = " ".join(str(error).split())[:200]
        raise NetworkError(
            f"PyTorch's older exporter cannot write it ({reason}); "
            "'pip install edgestep[pytorch-code]' installs what the newer one needs"
        ) from error
    torch.onnx.export(
        network, call.arguments, path, dynamo=True, external_data=False, verbose=False, **settings
    )


def _input_names(network: Any, arguments: tuple[Any, ...]) -> list[str]:
    """Name the tensors of the arguments after the parameters of forward."""
    parameters = [item.name for item in _parameters(network)]
    names = []
    for number, argument in enumerate(arguments):
        name = parameters[number] if number < len(parameters) else f"input_{number}"
        parts = len(_flat(argument))
        names += [name] if parts == 1 else [f"{name}_{part}" for part in range(parts)]
    return names


def _serve(network: Any, call: Call, names: list[str], folder: Path, answers: Any) -> None:
    """Compute what is asked for, until the input ends."""
    import torch

    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        number = line.strip()
        with np.load(folder / f"{number}-in.npz", allow_pickle=False) as given:
            tensors = [torch.from_numpy(np.ascontiguousarray(given[name])) for name in names]
        outputs = _flat(_run(network, _filled(call.arguments, iter(tensors))))
        arrays = {str(place): item.numpy() for place, item in enumerate(outputs)}
        np.savez(folder / f"{number}-out.npz", **arrays)
        answers.write("done\n")
        answers.flush()


if __name__ == "__main__":
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
