"""A part of the data is kept from calibration, and the error is measured on it."""

from __future__ import annotations

import numpy as np

from convert.import_conversion.held_out import LEAST_STEPS, StepError, held_out_sentence, split


def some(count: int, steps: int) -> list[dict[str, np.ndarray]]:
    """Sequences whose values tell them apart."""
    return [{"x": np.full((steps, 2), number, np.float32)} for number in range(count)]


def test_whole_sequences_are_kept():
    for count, kept in ((2, [1]), (5, [4]), (12, [4, 9])):
        rest, held = split(some(count, 7))
        assert [int(one["x"][0, 0]) for one in held.sequences] == kept
        assert len(rest) + len(held.sequences) == count
        assert held.how == f"{len(kept)} of {count} sequences"


def test_of_a_single_sequence_the_end_is_kept():
    sequence = {"x": np.arange(100.0)[:, np.newaxis], "z": np.arange(100)[:, np.newaxis]}
    rest, held = split([sequence])
    assert [len(one["z"]) for one in (*rest, *held.sequences)] == [80, 20]
    assert held.sequences[0]["x"][0, 0] == 80
    assert held.how == "the last 20 of 100 steps"


def test_too_little_data_is_not_cut():
    given = some(1, LEAST_STEPS - 1)
    rest, held = split(given)
    assert (rest, held.sequences) == (given, [])
    assert "is not known" in held_out_sentence({}, "int8")


def test_the_sentence_is_made_of_the_metrics():
    error = StepError(40, 0.0123, 0.2, 0.05)
    _, held = split(some(5, 7))
    said = held_out_sentence({"held_out": error.facts(held)}, "int8")
    assert said.endswith(
        "(1 of 5 sequences): rms 1.23% and at most 20.00% of the spread, decisions changed 5.00%"
    )
