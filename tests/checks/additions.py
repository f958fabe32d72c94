"""One thing of each kind, as somebody adds it: the files it takes, and the checks it must pass."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

CELL = '''
"""A leaky unit."""

from __future__ import annotations

import tensorflow as tf

from models.cells.cell import RecurrentCell


class LeakyCell(RecurrentCell):
    """h_t = (h_{t-1} + tanh(W_hx x_t + W_hh h_{t-1} + b_h)) / 2, the output is h_t."""

    def step(self, product, states, constants):
        h = 0.5 * (states[0] + tf.tanh(product + self.recurrent_product(states[0])))
        return h, (h,)
'''
CELL_REFERENCE = '''
"""A leaky unit."""

import numpy as np

from tests.models.reference_cells.equations import Reference


def leaky(x, states, weights):
    w_hx, w_hh, b_h = weights["kernel"].T, weights["recurrent_kernel"].T, weights["bias"]
    h = (states["h"] + np.tanh(w_hx @ x + w_hh @ states["h"] + b_h)) / 2
    return h, {"h": h}


REFERENCE = Reference(leaky, ({}, {"rank": 3}))
'''
TASK = '''
"""Waves: slow or fast."""

from __future__ import annotations

import numpy as np

from models.tasks.sequence_set import SequenceSet
from models.tasks.task import Task


def load() -> Task:
    """Make sines of two frequencies."""
    return Task(
        name="waves", train=_part(1), validation=_part(2), test=_part(3),
        labels=("slow", "fast"), channels=("height",), units="m", frame_period_s=0.01,
        frame_period_source="made so", group_name="", source="made up, for a test",
    )


def _part(seed: int) -> SequenceSet:
    generator = np.random.default_rng(seed)
    labels = np.arange(20) % 2
    time = np.arange(30)[:, np.newaxis]
    sequences = [
        np.sin(0.2 * (1 + label) * time + generator.uniform(0, 6)).astype(np.float32)
        for label in labels
    ]
    return SequenceSet(sequences, labels.astype(np.int64), np.zeros(20, np.int64))
'''
COMPRESSION = '''
"""Every weight is halved."""

from __future__ import annotations

from pathlib import Path

import tf_keras as keras

from models.compress import HalveSettings
from models.compress.compressed import Compressed
from models.network import Architecture
from models.tasks.task import Task
from models.training import Progress, fit
from models.training_settings import TrainingSettings


def halve(
    network: keras.Model,
    architecture: Architecture,
    task: Task,
    settings: HalveSettings,
    training: TrainingSettings,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Compressed:
    """Halve all weights and fine-tune."""
    halved = architecture.build()
    halved.set_weights([0.5 * weight for weight in network.get_weights()])
    return Compressed(halved, architecture, fit(halved, task, training, checkpoint, progress))
'''
COMPRESSION_SETTINGS = '''
@dataclass(frozen=True)
class HalveSettings:
    """Nothing to set."""

    @property
    def label(self) -> str:
        """What marks the files of networks compressed so."""
        return "halved"


'''
BACKEND = '''
"""The reference under another name."""

from __future__ import annotations

from device_runner.backends import reference
from device_runner.backends.backend import Backend, LoadOptions
from device_runner.model.step_file import StepModel

NAME = "numpy-again"


def load(model: StepModel, options: LoadOptions) -> Backend:
    """Load a step model."""
    backend = reference.load(model, options)
    backend.name = NAME
    return backend


def probe() -> str:
    """The version of the reference."""
    return reference.probe()
'''


@dataclass(frozen=True)
class Addition:
    """Something that is added to the tree.

    Args:
        name: by which the lists have it.
        files: new files by path.
        lines: what is inserted in files that are there: path, the text before which it comes, and
            the text.
        checks: arguments of pytest.
    """

    name: str
    files: dict[str, str] = field(default_factory=dict)
    lines: tuple[tuple[str, str, str], ...] = ()
    checks: tuple[tuple[str, ...], ...] = ()

    @property
    def touched(self) -> set[str]:
        """Every file that somebody has to write or to change."""
        return {*self.files, *(path for path, _, _ in self.lines)}

    def put_into(self, tree: Path) -> None:
        """Add it to a copy of the tree."""
        for path, text in self.files.items():
            assert not (tree / path).exists()
            (tree / path).write_text(text.lstrip())
        for path, before, line in self.lines:
            text = (tree / path).read_text()
            assert text.count(before) == 1, (path, before)
            (tree / path).write_text(text.replace(before, line + before))


SCHEME = '''
"""float32 under another name."""

from __future__ import annotations

from dataclasses import replace

from convert.schemes import float32

SCHEME = replace(float32.SCHEME, name="float32-again")
'''
TARGET = {
    "title": "a board that is made up",
    "sources": [{"what": "everything", "where": "made up, for a test", "date": "2026-11-28"}],
    "schemes": ["int8", "float32"],
    "schemes_reason": "made up",
    "dtypes": ["float32", "int8", "int32"],
    "constant_dtypes": [],
    "rest": "the board refuses the file",
    "rest_on_cpu": False,
    "operators": "runtime",
}
ADDITIONS = {
    "cell": Addition(
        "leaky",
        {
            "models/cells/leaky.py": CELL,
            "tests/models/reference_cells/leaky.py": CELL_REFERENCE,
        },
        (
            (
                "models/cells/__init__.py",
                '    "lstm": CellEntry(',
                '    "leaky": CellEntry("leaky.LeakyCell", "made up", "a test"),\n',
            ),
            (
                "recipes/zoo.toml",
                '[[models]]\ncell = "linear-attention"',
                '[[models]]\ncell = "leaky"\nunits = 64\n\n',
            ),
        ),
        (
            ("tests/checks/test_cells.py", "-k", "leaky"),
            ("tests/pipeline/test_techniques.py", "-k", "zoo"),
            (
                "tests/convert/test_schemes.py",
                "-m",
                "slow or not slow",
                "-k",
                "leaky and (int8 or float32)",
            ),
        ),
    ),
    "task": Addition(
        "waves",
        {"models/tasks/waves.py": TASK},
        (
            (
                "models/tasks/__init__.py",
                '    "japanese-vowels": TaskEntry(',
                '    "waves": TaskEntry("waves.load", "made up", "Waves: slow or fast"),\n',
            ),
            ("docs/tasks.md", "## Basic motions:", "## Waves: `waves`\n\nMade up.\n\n"),
        ),
        (
            ("tests/checks/test_tasks.py", "-k", "waves"),
            ("tests/checks/test_pages.py",),
            ("tests/pipeline/test_techniques.py", "-k", "zoo"),
        ),
    ),
    "scheme": Addition(
        "float32-again",
        {"convert/schemes/float32_again.py": SCHEME},
        (
            (
                "convert/schemes/__init__.py",
                '    "float16": SchemeEntry(',
                '    "float32-again": SchemeEntry("float32_again", "made up", "a test"),\n',
            ),
            (
                "docs/quantization.md",
                "| `float16` | float16 |",
                "| `float32-again` | float32 | float32 | all | nothing |\n",
            ),
            (
                "tests/convert/test_targets.py",
                '    "float16": {"cpu", "gpu"},',
                '    "float32-again": {"cpu", "gpu", "micro"},\n',
            ),
        ),
        (
            ("tests/checks/test_schemes.py", "-k", "again"),
            ("tests/checks/test_pages.py",),
            ("tests/convert/test_targets.py", "-k", "again"),
        ),
    ),
    "target": Addition(
        "board",
        {"convert/targets/board.json": json.dumps(TARGET)},
        (
            (
                "convert/targets/__init__.py",
                '    "micro": TargetEntry(',
                '    "board": TargetEntry("board.json", "made up", "a test"),\n',
            ),
            ("docs/targets.md", "| `gpu` |", "| `board` | made up | | | |\n"),
        ),
        (
            ("tests/checks/test_targets.py", "-k", "board"),
            ("tests/checks/test_pages.py",),
        ),
    ),
    "backend": Addition(
        "numpy-again",
        {"device_runner/backends/numpy_again.py": BACKEND},
        (
            (
                "device_runner/backends/__init__.py",
                '    "edgetpu": BackendEntry(',
                '    "numpy-again": BackendEntry("numpy_again", "a test"),\n',
            ),
            (
                "docs/backends.md",
                "| `onnxruntime` |",
                "| `numpy-again` | the reference | everywhere | nothing | a test |\n",
            ),
        ),
        (
            ("tests/checks/test_backends.py", "-k", "again"),
            ("tests/checks/test_pages.py",),
            ("tests/device_runner/test_doctor.py",),
        ),
    ),
    "compression": Addition(
        "halve",
        {"models/compress/halving.py": COMPRESSION},
        (
            (
                "models/compress/__init__.py",
                "class CompressionEntry(",
                COMPRESSION_SETTINGS.lstrip("\n"),
            ),
            (
                "models/compress/__init__.py",
                '    "cluster": CompressionEntry(',
                '    "halve": CompressionEntry(\n'
                '        "halving.halve", HalveSettings, "made up", "a test"\n    ),\n',
            ),
            (
                "docs/compression.md",
                "| weight clustering (TFMOT) |",
                "| halving | `models/compress/halving.py` | `halve = {}` | nothing |\n",
            ),
        ),
        (
            ("tests/checks/test_compressions.py", "-k", "halve"),
            ("tests/checks/test_pages.py",),
            ("tests/pipeline/test_recipe.py",),
        ),
    ),
}
