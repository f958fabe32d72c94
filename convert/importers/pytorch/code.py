"""Import a PyTorch network from the user's own code, which makes it, or from TorchScript.

The code runs because the user names it, in a process of its own
(:mod:`convert.importers.pytorch.network_process`). PyTorch's exporter writes the network as ONNX,
which is imported as any ONNX file. The reference is PyTorch itself, in that process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration import data_function_process
from convert.errors import ConvertError, SourceModelError
from convert.importers import NO_HINTS, ImportHints, is_code
from convert.importers.imported import ImportedModel
from convert.importers.onnx.files import read_model
from convert.importers.onnx.importer import imported_graph
from convert.importers.pytorch import network_process as process
from models.tensorflow_log import quiet


def import_code(source: str, hints: ImportHints = NO_HINTS) -> ImportedModel:
    """Import the network that ``module:function`` makes, or a TorchScript file.

    Args:
        source: a module that can be imported from the working directory, and what makes the network
            there: a function, a class, or a network; or the path of a TorchScript file.
        hints: the weights' file, the shapes of the data's frames, and what else the user says.

    Raises:
        SourceModelError: the code fails, or PyTorch is not installed.
        UnsupportedLayerError: the network cannot be stepped.
    """
    network = _Process(source, hints)
    try:
        states = hints.states or tuple(map(tuple, network.facts["states"]))
        with quiet():
            model = read_model(network.folder / process.MODEL_FILE)
            imported = imported_graph(
                model, network.facts["name"], replace(hints, states=states),
                f"PyTorch {network.facts['version']}", network,
            )  # fmt: skip
    except ConvertError as error:
        raise type(error)(f"{source}: {error.message}") from error
    return imported


class _Process:
    """The process that holds the network, used like a session of ONNX Runtime."""

    def __init__(self, source: str, hints: ImportHints) -> None:
        self._source = source
        self._temporary = tempfile.TemporaryDirectory(prefix="edgestep-network-")
        self.folder = Path(self._temporary.name)
        settings = self.folder / "settings.json"
        settings.write_text(json.dumps({
            "source": source,
            "script": "" if is_code(source) else source,
            "trusted": hints.trusts_code,
            "weights": "" if hints.weights is None else str(hints.weights),
            "shapes": {name: [list(shape), kind] for name, shape, kind in hints.frames},
            "window": hints.window,
            "folder": str(self.folder),
            "imports": data_function_process.__file__,
        }))  # fmt: skip
        self._child = subprocess.Popen(
            [sys.executable, process.__file__, str(settings)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._end = weakref.finalize(self, _end, self._child)
        self._calls = 0
        self._answer("ready")
        self.facts: dict[str, Any] = json.loads((self.folder / process.FACTS_FILE).read_text())

    def _answer(self, wanted: str) -> None:
        assert self._child.stdout is not None  # noqa: S101
        # The process ends or answers; a network that never ends is the user's to stop.
        if self._child.stdout.readline().strip() == wanted:
            return
        code = self._child.wait()
        if code == data_function_process.INTERRUPTED_EXIT_CODE:
            raise KeyboardInterrupt
        failure = self.folder / process.FAILURE_FILE
        reason = failure.read_text(encoding="utf-8") if failure.exists() else ""
        if "No module named 'torch'" in reason:
            reason += "; install it with 'pip install torch'"
        raise SourceModelError(
            f"{self._source}: no network was made "
            f"({reason or f'it ended the process with exit code {code}'})"
        )

    def run(self, names: list[str], feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Compute outputs by name, as a session of ONNX Runtime does."""
        self._calls += 1
        given = self.folder / f"{self._calls}-in.npz"
        np.savez(given, **feeds)
        assert self._child.stdin is not None  # noqa: S101
        try:
            self._child.stdin.write(f"{self._calls}\n")
            self._child.stdin.flush()
        except OSError:  # it has ended; its failure is read below
            pass
        self._answer("done")
        result = self.folder / f"{self._calls}-out.npz"
        with np.load(result, allow_pickle=False) as outputs:
            found = [outputs[str(self.facts["outputs"].index(name))] for name in names]
        given.unlink()
        result.unlink()
        return found


def _end(child: subprocess.Popen[str]) -> None:
    """End the process with its input."""
    if child.stdin is not None:
        child.stdin.close()
    if child.stdout is not None:
        child.stdout.close()
    child.wait()
