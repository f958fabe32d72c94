"""One thing of each kind, as somebody adds it: the files it takes, and the checks it must pass."""

from __future__ import annotations

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
CELL_REFERENCE = """
def leaky(x, states, weights):
    w_hx, w_hh, b_h = weights["kernel"].T, weights["recurrent_kernel"].T, weights["bias"]
    h = (states["h"] + np.tanh(w_hx @ x + w_hh @ states["h"] + b_h)) / 2
    return h, {"h": h}


"""
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
BACKEND = '''
"""The reference under another name."""

from __future__ import annotations

from device_runner.backends import reference
from device_runner.backends.backend import Backend, LoadOptions
from device_runner.model.step_file import StepModel


def load(model: StepModel, options: LoadOptions) -> Backend:
    """Load a step model."""
    backend = reference.load(model, options)
    backend.name = "numpy-again"
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
