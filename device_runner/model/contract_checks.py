"""Check that the fields of a step contract make one."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from device_runner.errors import BadModelError
from device_runner.model.names import RESERVED_NAMES
from device_runner.model.phases import LONGEST_CYCLE
from device_runner.model.tensor_spec import StateSpec
from device_runner.model.window import check_window

if TYPE_CHECKING:
    from device_runner.model.contract import Contract

CONTRACT_FILE = "contract.json"
# Of a call's streams.
MOST_ROWS = 2**16
# 30 years; what is longer cannot be counted in nanoseconds.
LONGEST_FRAME_PERIOD_S = 1e9


def check_fields(contract: Contract) -> None:
    """Check that the fields make a contract; raises what ``Contract.validate`` says."""
    _check_names(contract)
    _check_tensors(contract)
    _check_window(contract)
    _check_rows(contract)
    lanes = contract.window.lanes if contract.window else 0
    for state in contract.states:
        _check_initial(state, lanes or contract.rows)
    _check_other_fields(contract)


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise BadModelError(f"{CONTRACT_FILE}: {what}; export the model again")


def _check_names(contract: Contract) -> None:
    """Check that inputs, outputs and states have valid names, no two the same."""
    for side, specs in (("input", contract.inputs), ("output", contract.outputs)):
        _require(len(specs) > 0, f"there is no {side}")
    names = [spec.name for spec in (*contract.inputs, *contract.outputs, *contract.states)]
    for name in names:
        _require(isinstance(name, str) and name.isprintable(), f"{name!r} cannot be a name")
    twice = next((name for name in names if names.count(name) > 1), None)
    _require(twice is None, f"two inputs, outputs or states are called '{twice}'")
    for name in RESERVED_NAMES:
        _require(name not in names, f"no input, output or state may be called '{name}'")


def _check_tensors(contract: Contract) -> None:
    """Check that only inputs are token ids, and that the states' periods make a short cycle."""
    for spec in contract.inputs:
        _require(
            spec.vocabulary is not None or not spec.is_plain_integer,
            f"input '{spec.name}' is {spec.dtype} without scale, but has no vocabulary",
        )
        _require(
            spec.vocabulary is None or spec.shape[0] == contract.rows,
            f"input '{spec.name}' has {spec.shape[:1]} token ids for {contract.rows} row(s)",
        )
    for spec in (*contract.outputs, *contract.states):
        _require(spec.vocabulary is None, f"'{spec.name}' has a vocabulary but is not an input")
    for spec in contract.outputs:
        _require(not spec.is_plain_integer, f"output '{spec.name}' has no scale")
    for spec in (*contract.inputs, *contract.outputs):
        _require(len(spec.shape) > 0, f"'{spec.name}' is a single number without an axis")
    for state in contract.states:
        _require(
            isinstance(state.period, int) and state.period > 0,
            f"state '{state.name}' has the period {state.period!r}",
        )
    _require(
        math.lcm(1, *(state.period for state in contract.states)) <= LONGEST_CYCLE,
        f"the states' periods make a cycle of more than {LONGEST_CYCLE} steps",
    )
    _require(
        isinstance(contract.first_phase, int) and 0 <= contract.first_phase < len(contract.phases),
        f"the first phase {contract.first_phase!r} is none of the cycle's",
    )


def _check_window(contract: Contract) -> None:
    """Check that a window's numbers fit each other, and its lanes the tensors."""
    window = contract.window
    if window is None:
        return
    try:
        check_window(window)
    except ValueError as error:
        raise BadModelError(f"{CONTRACT_FILE}: {error}; export the model again") from None
    _require(len(contract.phases) == 1, "a window and states with periods do not go together")
    if not window.lanes:
        return
    for spec in (*contract.outputs, *contract.states):
        _require(
            spec.shape[:1] == (window.lanes,),
            f"'{spec.name}' has the shape {spec.shape}, the window {window.lanes} lanes",
        )


def _check_rows(contract: Contract) -> None:
    """Check that every tensor has as many rows as the contract says."""
    rows = contract.rows
    _require(type(rows) is int and 1 <= rows <= MOST_ROWS, f"rows is {rows!r}")
    if rows == 1:
        return
    _require(len(contract.phases) == 1, "rows and states with periods do not go together")
    _require(contract.window is None, "rows and a window do not go together")
    for spec in (*contract.inputs, *contract.outputs, *contract.states):
        fits = len(spec.shape) > 0 and spec.shape[0] % rows == 0
        _require(fits, f"'{spec.name}' has the shape {spec.shape}, which is not of {rows} rows")


def _check_initial(state: StateSpec, rows: int) -> None:
    """Check that the initial values are "zeros", or have the state's size and dtype."""
    if isinstance(state.initial, str):
        _require(
            state.initial == "zeros",
            f"state '{state.name}' starts from the unknown '{state.initial}'",
        )
        return
    _require(
        len(state.initial) == math.prod(state.shape) // rows,
        f"state '{state.name}' has {len(state.initial)} initial values for shape {state.shape}",
    )
    values = np.array(state.initial, np.float64)
    _require(
        bool(np.isfinite(values).all())
        and (
            np.dtype(state.dtype).kind == "f" or np.array_equal(values, values.astype(state.dtype))
        ),
        f"initial values of state '{state.name}' do not fit {state.dtype}",
    )


def _check_other_fields(contract: Contract) -> None:
    _require(
        contract.front_end is None or isinstance(contract.front_end, dict),
        "front_end must be an object or null",
    )
    period = contract.frame_period_s
    _require(
        isinstance(period, (int, float)) and LONGEST_FRAME_PERIOD_S >= period > 0,
        "frame_period_s must be a positive number of seconds",
    )
    limits = asdict(contract.tolerance).values()
    _require(
        all(isinstance(value, (int, float)) and math.isfinite(value) for value in limits),
        "tolerance must hold finite numbers",
    )
    _require(isinstance(contract.metrics, dict), "metrics must be an object")
    for text in (contract.task, contract.cell, contract.scheme, *contract.channels):
        _require(isinstance(text, str) and text.isprintable(), f"{text!r} cannot be a name")
    for name in ("frame_period_source", "input_units", "output_meaning", "recipe_hash"):
        _require(isinstance(getattr(contract, name), str), f"{name} must be text")
    for name in ("normalization", "versions"):
        _require(isinstance(getattr(contract, name), dict), f"{name} must be an object")
    _require(isinstance(contract.parameters, int), "parameters must be a whole number")
    _require(all(isinstance(n, int) for n in contract.units), "units must be whole numbers")
