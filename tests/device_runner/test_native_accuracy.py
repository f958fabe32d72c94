"""Over thousands of real steps libedgestep stays as near to the float model as LiteRT does."""

from __future__ import annotations

import numpy as np
import pytest

from device_runner.backends import backend_module
from device_runner.errors import MissingRuntimeError
from device_runner.stream import Stream
from tests.conftest import EACH_VARIANT, KEPT_STEP_MODELS


@pytest.fixture(autouse=True)
def needs_library():
    try:
        backend_module("native").probe()
    except MissingRuntimeError as error:
        pytest.skip(error.message)


def check(float_file, int8_file, frames):
    """Compare with the float model on LiteRT, in float32 and int8."""
    reference, exact = (Stream(float_file, name).run(frames) for name in ("litert", "native"))
    assert np.abs(exact - reference).max() <= 1e-5 * np.ptp(reference)
    native, litert = (
        np.sqrt(np.mean((Stream(int8_file, name).run(frames) - reference) ** 2))
        for name in ("native", "litert")
    )
    assert native <= 1.02 * litert


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_kept_models_over_1000_steps(cell):
    kept = [KEPT_STEP_MODELS / f"{cell}-{scheme}.tflite" for scheme in ("float32", "int8")]
    golden = Stream(kept[0], "litert").model.golden.x
    check(*kept, np.resize(golden, (1000, *golden.shape[1:])))


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "options"), [getattr(one, "values", one) for one in EACH_VARIANT])
def test_every_cell_over_10000_steps(step_models, vowels, cell, options):
    frames = np.concatenate(vowels.test.sequences)
    frames = np.resize(frames, (10_000, frames.shape[1])).astype(np.float32)
    check(*(step_models(cell, scheme, **options) for scheme in ("float32", "int8")), frames)
