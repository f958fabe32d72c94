"""Data that several tests of this package share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


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
