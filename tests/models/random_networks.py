"""Networks with random weights, a small task of random sequences, and what to cut of them."""

import numpy as np

from models.cells import CELLS, cell_class
from models.network import Architecture
from models.tasks.sequence_set import SequenceSet
from models.tasks.task import Task

INPUTS, UNITS, CLASSES, STEPS = 5, (8, 6), 3, 12
# A group cannot lose units by itself.
CUTTABLE = [name for name in CELLS if cell_class(name).weight_axes]


def random_network(cell, options=None, units=UNITS, seed=0, inputs=INPUTS, outputs=CLASSES):
    """Make a network whose weights, with biases and normalization, are all random."""
    architecture = Architecture(cell, units, inputs, outputs, options or {}, dropout=0.1)
    network = architecture.build()
    generator = np.random.default_rng(seed)
    network.set_weights([generator.normal(0, 0.6, w.shape) for w in network.get_weights()])
    return network, architecture


def random_task(seed=1, count=20):
    generator = np.random.default_rng(seed)

    def data():
        lengths = generator.integers(3, 9, count)
        return SequenceSet(
            [generator.normal(1, 2, (n, INPUTS)).astype(np.float32) for n in lengths],
            generator.integers(0, CLASSES, count),
            np.zeros(count, np.int64),
        )

    return Task(
        name="random",
        train=data(),
        validation=data(),
        test=data(),
        labels=tuple("abc"),
        channels=tuple("vwxyz"),
        units="",
        frame_period_s=0.01,
        frame_period_source="",
        group_name="",
        source="",
    )


def frames(seed=2):
    return np.random.default_rng(seed).normal(0, 1.5, (4, STEPS, INPUTS)).astype(np.float32)


def mask_of(size, kept):
    """1 for the ``kept`` ones of ``size`` units or channels, 0 for the others."""
    mask = np.zeros(size, np.float32)
    mask[kept] = 1
    return mask
