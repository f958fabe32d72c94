"""What many tests share: small networks trained on real data, and their step models."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from models.cells import CELLS
from tests.browser import browser as browser
from tests.models.reference_cells import REFERENCES

# The networks are small and the tests run in parallel: more threads only get in each other's way.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

# Forms of a cell with a graph of their own, where these are others than the plain one.
FORMS: dict[str, tuple[dict[str, object], ...]] = {
    "gru": ({}, {"reset_after": False}),
    "graph-gru": ({"nodes": 4},),
    "window-attention": ({"window": 8},),
    "attentive-gru": ({"window": 8},),
    # As grouped-gru.
    "grouped-simple-rnn": (),
    "grouped-lstm": (),
}
# (cell, options): every cell in every form that has a graph of its own.
VARIANTS = tuple((cell, options) for cell in CELLS for options in FORMS.get(cell, ({},)))
# What trains, calibrates or converts a network for every variant does so for a few in the default
# run: two states without and one with a bound, states of another shape, groups. The others are slow
# tests, which "make test-slow" runs; tests/checks/test_cells.py checks every cell in both.
QUICK_CELLS = ("lstm", "gru", "window-attention", "grouped-gru")


def slow_but_some(variants: Iterable[tuple[str, dict[str, object]]]) -> list[Any]:
    """Parameters for these variants, slow but for the plain forms of QUICK_CELLS."""
    return [
        pytest.param(cell, options, marks=() if _is_quick(cell, options) else pytest.mark.slow)
        for cell, options in variants
    ]


def _is_quick(cell: str, options: dict[str, object]) -> bool:
    return cell in QUICK_CELLS and "reset_after" not in options


def slow_but_some_cells(cells: Iterable[str]) -> list[Any]:
    """Parameters for these cells, slow but for QUICK_CELLS."""
    return [
        pytest.param(cell, marks=() if cell in QUICK_CELLS else pytest.mark.slow) for cell in cells
    ]


EACH_VARIANT = slow_but_some(VARIANTS)
# Cells whose gates see the input alone have none, and in groups or shared by nodes it is small.
VARIANTS_WITH_RECURRENT_MATRIX = tuple(
    (cell, options)
    for cell, options in VARIANTS
    if any("rank" in tested for tested in REFERENCES[cell].options)
)
# Plain ones: enough where the form does not matter.
CELL_NAMES = tuple(
    cell
    for cell, options in VARIANTS
    if not options and not cell.startswith(("grouped-", "graph-", "linear-", "window-"))
)
UNITS = 16
# For runs without TensorFlow; written anew by tests/test_kept_step_models.py.
KEPT_STEP_MODELS = Path(__file__).parent / "step_models"
# Whole runs, minutes of them.
LONGEST_MODULE = "test_run.py"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-step-models", action="store_true", help="write tests/step_models anew"
    )


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
def made_once(tmp_path_factory, request) -> Callable[[str, Callable[[Path], None]], Path]:
    """A file or folder by name that is made once for all workers of a test run: ``get(name,
    make)`` gives its path, and calls ``make`` with a path to write to where nobody has yet."""
    base = tmp_path_factory.getbasetemp()
    # pytest-xdist gives each worker a folder of its own within the run's.
    folder = (base.parent if hasattr(request.config, "workerinput") else base) / "made-once"
    folder.mkdir(exist_ok=True)

    def get(name: str, make: Callable[[Path], None]) -> Path:
        path = folder / name
        with (folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                # The suffix stays, as some writers go by it.
                partial = folder / f"partial-{name}"
                make(partial)
                partial.rename(path)
        return path

    return get


@pytest.fixture(scope="session")
def trained(vowels, made_once):
    """(network, architecture) by cell name, each trained for a few seconds, made on demand."""
    import tf_keras as keras

    from models.network import Architecture, load_network, save_network
    from models.training import fit
    from models.training_settings import TrainingSettings

    loaded = {}

    def get(cell: str, **options):
        key = _label(cell, options)

        def train(folder: Path) -> None:
            keras.utils.set_random_seed(1)
            architecture = Architecture(
                cell, (UNITS,), len(vowels.channels), len(vowels.labels), options
            )
            network = architecture.build()
            network.get_layer("normalization").adapt(*vowels.normalization)
            fit(network, vowels, TrainingSettings(epochs=12, learning_rate=1e-2))
            folder.mkdir()
            save_network(folder, network, architecture)

        if key not in loaded:
            loaded[key] = load_network(made_once(key, train))
        return loaded[key]

    return get


@pytest.fixture(scope="session")
def calibrated(vowels, trained, made_once):
    """(step graph, ranges) of a trained network by cell name, rolled out over 4,000 steps."""
    from calibration.ranges import Ranges
    from calibration.rollout import long_streams
    from convert.export import float_step
    from convert.quantization_aware import load_step, save_step

    loaded = {}

    def get(cell: str, **options):
        key = _label(cell, options)

        def roll_out(folder: Path) -> None:
            folder.mkdir()
            step = float_step(trained(cell, **options)[0])
            save_step(folder, step)
            step.calibrate(long_streams(vowels.train.sequences, 4000, 1)).save(
                folder / "ranges.json"
            )

        if key not in loaded:
            folder = made_once(f"{key}-calibrated", roll_out)
            loaded[key] = load_step(folder), Ranges.load(folder / "ranges.json")
        return loaded[key]

    return get


def _label(cell: str, options: dict[str, object]) -> str:
    return cell + "".join(f"-{name}-{value}" for name, value in sorted(options.items()))


@pytest.fixture(scope="session")
def step_models(request, vowels, made_once):
    """Path of a step model by (cell, scheme), made on demand; without TensorFlow, a kept one."""
    is_quick = request.config.pluginmanager.hasplugin("tests.without_tensorflow")

    def get(cell: str, scheme: str, **options) -> Path:
        name = f"{_label(cell, options)}-{scheme.replace(':', '-')}.tflite"
        if is_quick and (KEPT_STEP_MODELS / name).exists():
            return KEPT_STEP_MODELS / name
        trained, calibrated = map(request.getfixturevalue, ("trained", "calibrated"))

        def write(path: Path) -> None:
            from convert.export import export

            network, architecture = trained(cell, **options)
            step, ranges = calibrated(cell, **options)
            export(network, architecture, vowels, scheme, path, step, ranges)

        return made_once(name, write)

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
