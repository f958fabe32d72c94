"""Make a user's PyTorch network in a process of its own, export it, and compute it on request.

It runs as a file: ``python network_process.py SETTINGS.json``. It imports nothing of ours but the
file that finds the user's modules. The network is written as ONNX by PyTorch's own exporter. Then
each line on the standard input is a number N: the inputs in ``N-in.npz`` become ``N-out.npz``, and
the line ``done`` is answered. Failures are one line in ``failure.txt``. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import json
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

FAILURE_FILE, MODEL_FILE, FACTS_FILE = "failure.txt", "network.onnx", "facts.json"
OPSET = 17


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
        _check_projections(network)
        call = _calls.find_call(network, example, settings["shapes"], settings["window"])
        if call.keeps and call.is_frame:
            call = _kept_states.with_kept_states(_calls, call)
        names = _export(call, folder)
        _serve(call, names, folder, answers)
    except KeyboardInterrupt:
        return 130
    # The user's code may raise anything, SystemExit included.
    except BaseException as error:
        own_line = isinstance(error, NetworkError | _calls.CallError)
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
# What it takes.
_calls = _own_file(str(Path(__file__).with_name("network_calls.py")))
_kept_states = _own_file(str(Path(__file__).with_name("kept_states.py")))


def _network(settings: dict[str, Any]) -> tuple[Any, Any]:
    """Make the network with its weights; return it and example arguments, None if not given."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    example = None
    if settings["script"]:
        load: Any = torch.jit.load
        network = load(settings["script"], map_location="cpu")
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
        _checkpoint.load(network, settings["weights"], settings["trusted"])
    return network.float().eval(), example


def _check_projections(network: Any) -> None:
    """Refuse what PyTorch's exporters write as another network without a word."""
    for name, module in network.named_modules():
        if getattr(module, "proj_size", 0):
            raise NetworkError(
                f"'{name}' ({type(module).__name__}) has proj_size={module.proj_size}, which "
                "PyTorch's exporters leave out of the file; write its step by hand (nn.LSTMCell's "
                "equations, h = projection(o * tanh(c))) in a loop over time, with the same "
                "weights, or train it without"
            )


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Let nothing be printed, by libraries in C++ neither: exporters do when they give up."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        try:
            for place in (1, 2):
                os.dup2(nowhere.fileno(), place)
            yield
        finally:
            for place, own in zip((1, 2), kept, strict=True):
                os.dup2(own, place)
                os.close(own)


def _export(call: Any, folder: Path) -> list[str]:
    """Write the network as ONNX, and facts of it; return the names of its inputs."""
    import torch

    made = _calls.run(_calls.copied(call.network), call.arguments)
    flat, outputs = _calls.flat(call.arguments), _calls.flat(made)
    pairs = _calls.states_of(call.arguments, made) if call.stepped else []
    names: list[str] = _calls.input_names(call.network, call.arguments)
    given = ["y"] + [f"y_{number}" for number in range(1, len(outputs))]
    for place, output in pairs:
        given[output] = f"{names[place]}_out"
    axes = {} if call.time is None else {names[0]: {call.time: "time"}}
    if call.time is not None:
        for name, tensor in zip(names[1:], flat[1:], strict=True):
            if tensor.dim() > call.time and tensor.shape[call.time] == flat[0].shape[call.time]:
                axes[name] = {call.time: "time"}
    path = str(folder / MODEL_FILE)
    with _silence():
        try:
            _export_by_older(call, path, names, given, axes)
        except Exception as error:
            _check_packed(call)
            _export_anew(call, path, names, given, axes, error)
    facts = {
        "inputs": names,
        "outputs": given,
        "states": [(names[place], given[output]) for place, output in pairs],
        "name": type(getattr(call.network, "network", call.network)).__name__,
        "version": torch.__version__,
    }
    (folder / FACTS_FILE).write_text(json.dumps(facts), encoding="utf-8")
    return names


def _check_packed(call: Any) -> None:
    """Refuse packed sequences, of which the exporters only say that they cannot write them."""
    import torch

    packed: list[str] = []

    def note(name: str) -> Any:
        def hook(module: Any, given: tuple[Any, ...]) -> None:
            if given and isinstance(given[0], torch.nn.utils.rnn.PackedSequence):
                packed.append(f"'{name}' ({type(module).__name__})")

        return hook

    network = _calls.copied(call.network)
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.RNNBase):
            module.register_forward_pre_hook(note(name))
    _calls.run(network, call.arguments)
    if packed:
        raise NetworkError(
            f"{packed[0]} is given a packed sequence (pack_padded_sequence), whose lengths a "
            "stream does not have; hand it the sequence itself where no lengths are given"
        )


def _export_by_older(
    call: Any, path: str, names: list[str], given: list[str], axes: dict[str, dict[int, str]]
) -> None:
    """Export with PyTorch's older exporter, which needs no further package and takes a second.

    What it cannot cut into frames at any length, it can at one; the importer frees that again."""
    import torch

    for free in (axes, {}) if axes else ({},):
        try:
            torch.onnx.export(
                _calls.copied(call.network), call.arguments, path, opset_version=OPSET,
                dynamo=False, input_names=names, output_names=given, dynamic_axes=free,
            )  # fmt: skip
            return
        except Exception:
            if not free:
                raise


def _export_anew(
    call: Any,
    path: str,
    names: list[str],
    given: list[str],
    axes: dict[str, dict[int, str]],
    error: Exception,
) -> None:
    """Export with PyTorch's newer exporter what the older one cannot."""
    import torch

    reason = " ".join(str(error).split())[:200]
    try:
        importlib.import_module("onnxscript")
    except ImportError:
        raise NetworkError(
            f"PyTorch's older exporter cannot write it ({reason}); "
            "'pip install edgestep[pytorch-code]' installs what the newer one needs"
        ) from error
    free = {name: {axis: torch.export.Dim(text) for axis, text in own.items()}
            for name, own in axes.items()}  # fmt: skip
    shapes = _calls.filled(call.arguments, iter([free.get(name) for name in names]))
    try:
        torch.onnx.export(
            _calls.copied(call.network), call.arguments, path, dynamo=True, external_data=False,
            verbose=False, input_names=names, output_names=given,
            dynamic_shapes=shapes if free else None,
        )  # fmt: skip
    except Exception as second:
        raise NetworkError(
            f"neither of PyTorch's exporters can write it ({reason}; "
            f"{' '.join(str(second).split())[:200]})"
        ) from second


def _serve(call: Any, names: list[str], folder: Path, answers: Any) -> None:
    """Compute what is asked for, until the input ends."""
    import torch

    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        number = line.strip()
        with np.load(folder / f"{number}-in.npz", allow_pickle=False) as given:
            tensors = [torch.from_numpy(np.ascontiguousarray(given[name])) for name in names]
        network = _calls.copied(call.network) if call.keeps else call.network
        arguments = _calls.filled(call.arguments, iter(tensors))
        outputs = _calls.flat(_calls.run(network, arguments))
        arrays = {str(place): item.numpy() for place, item in enumerate(outputs)}
        np.savez(folder / f"{number}-out.npz", **arrays)
        answers.write("done\n")
        answers.flush()


if __name__ == "__main__":
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
