"""The step contract: read back as written, and checked against the tensors."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from device_runner.model.contract import Contract
from device_runner.model.step_file import load_step_model, split_step_file
from device_runner.model.tensor_spec import StateSpec


def test_good_file_loads(int8_file, vowels):
    model = load_step_model(str(int8_file))
    assert model.path == int8_file
    assert model.file_bytes == int8_file.stat().st_size
    assert model.contract.cell == "gru"
    assert model.contract.scheme == "int8"
    assert model.labels == vowels.labels
    assert [state.name for state in model.contract.states] == ["h"]
    assert sum(model.golden.lengths) == len(model.golden.x) == len(model.golden.y)
    assert int8_file.read_bytes().startswith(model.flatbuffer)


def test_packing_again_gives_the_same_bytes(workshop):
    assert workshop.packed() == workshop.data


def test_a_label_may_hold_what_some_take_for_the_end_of_a_line(workshop):
    labels = ("a\u2028b", "\x0c", *workshop.model.labels[2:])
    path = workshop.write(workshop.packed(labels=labels))
    assert load_step_model(path).labels == labels


@pytest.mark.parametrize("scheme", ["float32", "int8"])
def test_json_round_trip(step_models, scheme):
    contract = load_step_model(step_models("gru", scheme)).contract
    assert Contract.from_json(contract.to_json()) == contract


def test_json_round_trip_of_given_initial_values(workshop):
    state = workshop.model.contract.states[0]
    given = replace(state, initial=tuple(range(math.prod(state.shape))))
    contract = replace(workshop.model.contract, states=(given,), versions={"edgestep": "1"})
    assert Contract.from_json(contract.to_json()) == contract


def test_initial_zeros_are_the_zero_point():
    state = StateSpec("h", (1, 3), "int8", 0.5, -7)
    assert state.initial_bytes() == np.full(3, -7, np.int8).tobytes()


def test_initial_values_are_stored_as_given():
    state = StateSpec("h", (1, 2), "float32", initial=(0.5, -1.0))
    assert state.initial_bytes() == np.array([0.5, -1.0], np.float32).tobytes()


def test_split_step_file_gives_back_all_parts(workshop):
    flatbuffer, members = split_step_file(workshop.data)
    assert flatbuffer == workshop.model.flatbuffer
    assert set(members) == {"contract.json", "labels.txt", "golden.npz", "recorded.bin"}


@pytest.mark.parametrize(
    ("field", "value"),
    [("scale", 0.5), ("zero_point", 5), ("shape", (1, 99)), ("dtype", "uint8")],
)
@pytest.mark.parametrize("side", ["input", "output", "state"])
def test_contract_that_does_not_fit_its_tensor_is_refused(side, field, value, workshop, refusal):
    contract = workshop.model.contract
    if side == "state":
        changed = replace(contract, states=(replace(contract.states[0], **{field: value}),))
    else:
        (spec,) = getattr(contract, f"{side}s")
        changed = replace(contract, **{f"{side}s": (replace(spec, **{field: value}),)})
    message = refusal(workshop.write(workshop.packed(contract=changed)))
    assert f"has {field.replace('_', ' ')} " in message
    assert "the contract says" in message
