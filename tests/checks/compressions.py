"""What every compression must keep; run for all that are listed in models.compress.COMPRESSIONS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from models.compress import COMPRESSIONS, compression, rehearse
from models.network import load_network, save_network
from models.training_settings import TrainingSettings
from tests.models.random_networks import random_network, random_task


def check_compression(name: str, values: dict[str, Any], folder: Path) -> None:
    """Compress a small network, after a rehearsal, and hold the result against what the stages of
    a recipe take for granted.

    Args:
        values: settings of the compression.
        folder: to write to.
    """
    entry = COMPRESSIONS[name]
    assert entry.source
    assert entry.purpose
    settings = entry.settings(**values)
    assert settings.label
    network, architecture = random_network("gru")
    before = [weight.copy() for weight in network.get_weights()]
    _, rehearsed = rehearse(name, network, architecture, settings)
    training = TrainingSettings(epochs=2, batch_size=8)
    task = random_task()
    result = compression(name)(network, architecture, task, settings, training)
    # The network that was given stays as it is.
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    assert result.architecture == rehearsed
    assert set(entry.facts) <= set(result.facts)
    assert json.loads(json.dumps(result.history_facts()))
    frames = task.test.sequences[0][np.newaxis]
    if result.channels is not None:
        frames = frames[..., list(result.channels)]
    outputs = np.asarray(result.network(frames))
    assert np.isfinite(outputs).all()
    save_network(folder, result.network, result.architecture)
    loaded, as_saved = load_network(folder)
    assert as_saved == result.architecture
    np.testing.assert_allclose(np.asarray(loaded(frames)), outputs, atol=1e-6)
