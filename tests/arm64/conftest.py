"""The emulated boards with every cell's step models, and what the same models do on x86-64."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from device_runner.model.step_file import load_step_model
from models.cells import CELLS
from tests.arm64.emulated_arm import BOARDS, ArmPython, build

SCHEMES = ("float32", "int8")
# Every cell there is; the GRU in both its forms.
FORMS = {
    **{cell: (cell, {}) for cell in CELLS},
    "gru-reset-before": ("gru", {"reset_after": False}),
}
BACKENDS = {"tflite-runtime": "tflite-runtime", "ai-edge-litert": "litert"}
SYSTEMS = [
    (board.name, runtime) for board in BOARDS.values() for runtime in board.architecture.runtimes
]
STEP_GOLDEN = Path(__file__).with_name("step_golden.py")

# What differs from x86, by (runtime, scheme, form), then by board: for the summary.
differences: defaultdict[tuple[str, str, str], dict[str, str]] = defaultdict(dict)


@dataclass(frozen=True)
class Run:
    """What a command left: its end, and the folder that it wrote to."""

    done: subprocess.CompletedProcess
    folder: Path

    def outputs(self, model: Path, which: str = "outputs") -> np.ndarray:
        """step_golden's output tensors as stored, [steps, outputs]; ``which`` as its suffix."""
        spec = load_step_model(model).contract.output
        stored = (self.folder / model.stem).with_suffix(f".{which}").read_bytes()
        return np.frombuffer(stored, spec.dtype).reshape(-1, spec.shape[-1])


@pytest.fixture(scope="session")
def arm_root() -> Path:
    """The emulated root, built if it is not cached."""
    return build()


@pytest.fixture(scope="session")
def arm_python(arm_root) -> Callable[[str, str], ArmPython]:
    """Python of a board with a runtime."""
    return lambda board, runtime: ArmPython(arm_root, board, runtime)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory) -> Path:
    """edgestep-device.pyz as users copy it."""
    from pipeline.bundle import BUNDLE_NAME, write_bundle

    return write_bundle(tmp_path_factory.mktemp("bundle") / BUNDLE_NAME)


@pytest.fixture(scope="session")
def models(step_models) -> dict[tuple[str, str], Path]:
    """Step model by (form of a cell, scheme)."""
    return {
        (form, scheme): step_models(cell, scheme, **options)
        for form, (cell, options) in FORMS.items()
        for scheme in SCHEMES
    }


@pytest.fixture(scope="session")
def combinations(arm_python, bundle, models, tmp_path_factory):
    """(verify run, step_golden run) as futures by (board, runtime), all begun at once."""
    folder = tmp_path_factory.mktemp("arm64")
    files = list(models.values())

    def verify(python: ArmPython) -> Run:
        backend = BACKENDS[python.runtime]
        arguments = ("verify", "--json", "--backend", backend, *files)
        return Run(python.run(bundle, *arguments, cwd=folder), folder)

    def step(python: ArmPython) -> Run:
        target = folder / f"{python.board}-{python.runtime}"
        target.mkdir()
        backend = BACKENDS[python.runtime]
        return Run(
            python.run(STEP_GOLDEN, bundle, backend, target, "-", *files, cwd=folder), target
        )

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {
            (board, runtime): tuple(
                pool.submit(work, arm_python(board, runtime)) for work in (verify, step)
            )
            for board, runtime in SYSTEMS
        }


@pytest.fixture(scope="session")
def verified(combinations) -> Callable[[str, str], dict[str, dict]]:
    """The lines of `verify --json` of all models on a board, by file."""

    @cache
    def get(board: str, runtime: str) -> dict[str, dict]:
        done = _result(combinations[board, runtime][0]).done
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert done.returncode in (0, 5), done.stderr
        return {line["file"]: line for line in lines}

    return get


@pytest.fixture(scope="session")
def stepped(combinations) -> Callable[[str, str], Run]:
    """step_golden's run of all models on a board."""

    def get(board: str, runtime: str) -> Run:
        run = _result(combinations[board, runtime][1])
        assert run.done.returncode == 0, run.done.stderr
        return run

    return get


@pytest.fixture(scope="session")
def stepped_on_x86(bundle, models, tmp_path_factory) -> Callable[..., Run]:
    """step_golden's run of all models on this machine, from saved states if they are given."""

    @cache
    def get(runtime: str, states: Path | str = "-") -> Run:
        folder = tmp_path_factory.mktemp("x86")
        arguments = (STEP_GOLDEN, bundle, BACKENDS[runtime], folder, states, *models.values())
        done = subprocess.run(
            [sys.executable, "-P", *map(str, arguments)],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return Run(done, folder)

    return get


def _result(future: Future[Run]) -> Run:
    return future.result(timeout=600)


def pytest_terminal_summary(terminalreporter):
    """How far Arm and x86-64 are apart: facts, of which only the tolerance is asserted."""
    if not differences:
        return
    terminalreporter.section("outputs on Arm against x86-64, same runtime")
    for (runtime, scheme, form), found in sorted(differences.items()):
        for difference in sorted(set(found.values())):
            boards = [board for board in found if found[board] == difference]
            terminalreporter.write_line(
                f"{runtime:15} {scheme:8} {form:17} {difference}: {', '.join(boards)}"
            )
