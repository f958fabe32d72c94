"""Folds inside the training data."""

from dataclasses import replace

import numpy as np
import pytest

from models.cross_validation import folds
from models.errors import ModelsError
from models.tasks import load_task


def ids(data):
    return {sequence.tobytes() for sequence in data.sequences}


def test_every_group_is_judged_once_and_the_test_data_never():
    vowels = load_task("japanese-vowels")
    made = folds(vowels)
    assert len(made) == 5
    everything = ids(vowels.train) | ids(vowels.validation)
    judged = [ids(fold.test) for fold in made]
    assert set().union(*judged) == everything
    assert sum(map(len, judged)) == len(everything)
    for fold in made:
        sides = [ids(side) for side in (fold.train, fold.validation, fold.test)]
        assert len(set().union(*sides)) == sum(map(len, sides)) == 270
        assert not any(side & ids(vowels.test) for side in sides)
        groups = [set(side.groups.tolist()) for side in (fold.train, fold.validation, fold.test)]
        assert not groups[0] & groups[1]
        assert not groups[2] & (groups[0] | groups[1])
        # Each speaker has six utterances in a fold.
        assert np.bincount(fold.test.labels).tolist() == [6] * 9


def test_a_task_without_groups_is_refused():
    vowels = load_task("japanese-vowels")
    flat = replace(
        vowels,
        **{
            name: replace(side, groups=np.zeros_like(side.groups))
            for name, side in (("train", vowels.train), ("validation", vowels.validation))
        },
    )
    with pytest.raises(ModelsError, match=r"has 1 group\(s\)"):
        folds(flat)
