"""The step models that runs without TensorFlow use are such as are made now.

``python -m pytest tests/test_kept_step_models.py --write-step-models`` writes them anew.
"""

from __future__ import annotations

import shutil

import pytest

from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream
from device_runner.verify import verify
from tests.conftest import KEPT_STEP_MODELS

KEPT = [(cell, scheme) for cell in ("gru", "lstm") for scheme in ("float32", "int8")]


@pytest.mark.parametrize(("cell", "scheme"), KEPT)
def test_a_kept_step_model_is_as_one_made_now(step_models, request, cell, scheme):
    path = step_models(cell, scheme)
    kept_path = KEPT_STEP_MODELS / path.name
    if request.config.getoption("--write-step-models"):
        shutil.copyfile(path, kept_path)
    made, kept = load_step_model(path), load_step_model(kept_path)
    assert verify(Stream(kept, "litert")).failure is None
    # The weights are another machine's; the graph and what the contract says of it are not.
    assert [one.name for one in made.graph.operators] == [one.name for one in kept.graph.operators]

    def specs_of(model):
        contract = model.contract
        specs = (*contract.inputs, *contract.states, *contract.outputs)
        return [(spec.name, spec.shape, spec.dtype) for spec in specs]

    assert specs_of(made) == specs_of(kept)


def test_a_kept_step_model_with_a_window_is_as_one_made_now(request, tmp_path):
    from tests.windowed_steps import windowed, windowed_model

    made = windowed_model(windowed(7, 3), tmp_path, "int8")
    kept_path = KEPT_STEP_MODELS / made.path.name
    if request.config.getoption("--write-step-models"):
        shutil.copyfile(made.path, kept_path)
    kept = load_step_model(kept_path)
    assert kept.contract == made.contract
    assert verify(Stream(kept, "litert")).failure is None
