"""What ``from edgestep import ...`` gives, and what it leaves alone."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import edgestep
from device_runner.measure.latency import BenchSettings
from device_runner.measure.paced import PacedSettings
from tests.convert.importers.architectures import ARCHITECTURES, TENSORFLOW, saved

LITERT = "litert"


def test_every_name_is_there_and_an_unknown_one_is_not():
    assert set(edgestep.__all__) <= set(dir(edgestep))
    assert all(callable(getattr(edgestep, name)) for name in edgestep.__all__)
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        edgestep.train  # noqa: B018


def test_importing_it_loads_nothing():
    script = (
        "import sys; import edgestep; before = set(sys.modules); "
        "print([name for name in before if name in ('numpy', 'device_runner', 'models')]); "
        "edgestep.Stream, edgestep.load_step_model, edgestep.bench, edgestep.convert; "
        "print([name for name in sys.modules if name in ('tensorflow', 'keras')])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert shown.stdout.split() == ["[]", "[]"]


def test_a_model_of_ones_own_is_converted_stepped_and_measured(tmp_path):
    (architecture,) = (a for a in ARCHITECTURES if (a.framework, a.name) == (TENSORFLOW, "GRU"))
    path = saved(architecture, tmp_path)[0]
    news: list[str] = []
    probe = edgestep.convert(path, "cpu", scheme="float32", tell=news.append)
    frames = np.random.default_rng(3).normal(size=(6, 9, probe.model.contract.input.shape[-1]))
    made = edgestep.convert(path, "cpu", list(frames), scheme="int8", frame_period_s=0.02)
    assert made.path.name == "model-int8.tflite"
    assert made.report.fits
    assert not any(one["failure"] for one in made.verified)
    assert any("random numbers" in line for line in news)
    stream = edgestep.Stream(made.path, LITERT)
    assert np.isfinite(stream.step(frames[0, 0])).all()
    assert edgestep.load_step_model(made.path).contract.frame_period_s == 0.02

    settings = BenchSettings(steps=100, rounds=1, warmup_s=0)
    both = edgestep.bench([probe.path, made.path], LITERT, settings)
    assert [result["file"] for result in both] == [probe.path.name, made.path.name]
    (paced,) = edgestep.bench(made.path, LITERT, PacedSettings(duration_s=0.1))
    assert paced["settings"]["mode"] == "paced"
