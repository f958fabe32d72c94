"""What many tests share: small networks trained on real data, and their step models."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

# The networks are small and the tests run in parallel: more threads only get in each other's way.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

CELL_NAMES = (
    "simple-rnn", "lstm", "gru", "oru", "oru-state", "fast-grnn", "min-gru", "min-lstm"
)  # fmt: skip
# (cell, options): every cell in every form that has a graph of its own.
VARIANTS = (
    *((cell, {}) for cell in CELL_NAMES),
    ("gru", {"reset_after": False}),
    ("grouped-gru", {}),
    ("graph-gru", {"nodes": 4}),
    ("linear-attention", {}),
    ("window-attention", {"window": 8}),
)
# Cells whose gates see the input alone have none, and in groups or shared by nodes it is small.
VARIANTS_WITH_RECURRENT_MATRIX = tuple(
    (cell, options)
    for cell, options in VARIANTS
    if not cell.startswith(("min-", "grouped-", "graph-", "linear-", "window-"))
)
UNITS = 16
# Whole runs, minutes of them.
LONGEST_MODULE = "test_run.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests: at the end they would leave one worker alone with them, and
    there, where tests are handed out one by one, each worker would make their shared run."""
    items.sort(key=lambda item: item.path.name != LONGEST_MODULE)


@pytest.fixture(scope="session")
def vowels():
    """The task japanese-vowels."""
    from models.tasks import load_task

    return load_task("japanese-vowels")


@pytest.fixture(scope="session")
def trained(vowels):
    """(network, architecture) by cell name, each trained for a few seconds, made on demand."""
    import tf_keras as keras

    from models.network import Architecture
    from models.training import TrainingSettings, fit

    made = {}

    def get(cell: str, **options):
        key = (cell, *sorted(options.items()))
        if key not in made:
            keras.utils.set_random_seed(1)
            architecture = Architecture(
                cell, (UNITS,), len(vowels.channels), len(vowels.labels), options
            )
            network = architecture.build()
            network.get_layer("normalization").adapt(*vowels.normalization)
            fit(network, vowels, TrainingSettings(epochs=12, learning_rate=1e-2))
            made[key] = network, architecture
        return made[key]

    return get


@pytest.fixture(scope="session")
def step_models(vowels, trained, tmp_path_factory):
    """Path of a step model by (cell, scheme), made on demand."""
    from calibration.rollout import long_streams
    from convert.export import export, float_step

    folder = tmp_path_factory.mktemp("step-models")

    def get(cell: str, scheme: str, **options) -> Path:
        network, architecture = trained(cell, **options)
        suffix = "".join(f"-{name}-{value}" for name, value in options.items())
        path = folder / f"{cell}{suffix}-{scheme.replace(':', '-')}.tflite"
        if not path.exists():
            step = float_step(network)
            streams = long_streams(vowels.train.sequences, 4000, 1)
            ranges = step.calibrate(streams)
            export(network, architecture, vowels, scheme, path, step, ranges)
        return path

    return get


@pytest.fixture(scope="session")
def small_speech(tmp_path_factory) -> Path:
    """A folder of synthetic speech with one voice in each part, and each keyword once."""
    from models.tasks.synthetic_speech import PROGRAMS, Speaker, generate

    if not all(map(shutil.which, PROGRAMS)):
        pytest.skip("needs flite and espeak-ng (apt install flite espeak-ng)")
    speakers = (
        Speaker("espeak-ng", "en-us+f3"),
        Speaker("flite", "kal16", "validation"),
        Speaker("flite", "slt", "test"),
    )
    folder = tmp_path_factory.mktemp("small") / "speech"
    generate(folder, speakers, takes=1, others=1, noise_seconds=21)
    return folder
