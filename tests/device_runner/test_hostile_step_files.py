"""Step model files made to do harm, or damaged anywhere: nothing is run, nothing large unpacked."""

from __future__ import annotations

import pickle
import random
import tracemalloc
from pathlib import Path

import numpy as np

from device_runner.errors import BadModelError
from device_runner.model import step_file
from device_runner.model.step_file import load_step_model
from tests.device_runner.test_bad_step_files import lying_size, patched


def test_pickled_golden_is_not_unpickled(workshop, refusal):
    """Unpickling would call the function that the pickle names."""
    refusal(workshop.write(workshop.with_golden(y=np.array([Marker()], object))))
    assert Marker.unpickled == 0


class Marker:
    """Counts how often one is made by unpickling."""

    unpickled = 0

    def __reduce__(self):
        return Marker.make, ()

    @staticmethod
    def make() -> Marker:
        Marker.unpickled += 1
        return Marker()


def test_marker_counts_unpickling():
    pickle.loads(pickle.dumps(Marker()))
    assert Marker.unpickled == 1
    Marker.unpickled = 0


def test_lying_zip_bomb_is_not_unpacked(workshop, refusal):
    path = workshop.write(lying_size(workshop))
    tracemalloc.start()
    try:
        refusal(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


def test_foreign_members_are_not_unpacked(workshop, monkeypatch):
    monkeypatch.setattr(step_file, "MEMBER_LIMIT_BYTES", 10_000_000)
    path = workshop.write(workshop.zipped(**{f"other_{n}": bytes(9_000_000) for n in range(4)}))
    tracemalloc.start()
    try:
        load_step_model(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


def test_every_changed_byte_of_the_model_is_noticed(workshop, refusal):
    rng = random.Random(5)
    path = Path(workshop.folder / "changed.tflite")
    for position in rng.sample(range(len(workshop.model.flatbuffer)), 150):
        changed = bytes([workshop.data[position] ^ (1 << rng.randrange(8))])
        path.write_bytes(patched(workshop.data, position, changed))
        refusal(path)


def test_every_truncation_is_refused(workshop, refusal):
    path = Path(workshop.folder / "cut.tflite")
    size = len(workshop.data)
    for length in [*range(0, size, 97), *range(size - 30, size)]:
        path.write_bytes(workshop.data[:length])
        refusal(path)


def test_damaged_zip_loads_or_is_refused(workshop):
    """Some bytes of a ZIP do not matter (dates, attributes), so a damaged one may still load."""
    rng = random.Random(9)
    path = Path(workshop.folder / "damaged.tflite")
    start = len(workshop.model.flatbuffer)
    refused, other = 0, []
    for _ in range(600):
        damaged = bytearray(workshop.data)
        lowest = rng.choice([start, len(damaged) - 300])
        for _ in range(rng.choice([1, 2, 8])):
            damaged[rng.randrange(lowest, len(damaged))] = rng.choice([0, 1, 127, 128, 255])
        path.write_bytes(damaged)
        try:
            load_step_model(path)
        except BadModelError:
            refused += 1
        except Exception as error:
            other.append(error)
    assert not other
    assert refused > 100
