"""Find which states of a window that is computed as a whole are its last frames, as they came in.

Then a frame without an answer need not be computed: the frames move on by one, and the new one is
written behind them, which gives the same bytes as the graph does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from device_runner.errors import BadModelError
from device_runner.model.constants import read_constant
from device_runner.model.flatbuffer import Operator
from device_runner.model.names import STEP_SIGNATURE
from device_runner.model.step_file import StepModel

# What gives the bytes of its first input again, if it has as many.
_PASSING = frozenset(("EXPAND_DIMS", "RESHAPE"))


def stored_frames(model: StepModel) -> dict[str, str]:
    """Return the input that each state holds the last frames of, by state name.

    It is empty if that is not so for all states, or if the window is stepped in lanes.
    """
    contract, graph = model.contract, model.graph
    if contract.window is None or contract.window.lanes or not contract.states:
        return {}
    signature = graph.signature(STEP_SIGNATURE)
    makers = {index: operator for operator in graph.operators for index in operator.outputs}
    inputs = {signature.inputs[spec.name]: spec for spec in contract.inputs}
    found = {}
    for state in contract.states:
        taken, given = signature.inputs[state.name], signature.outputs[state.name]
        newest = _put_behind(model, makers, taken, given)
        spec = None if newest is None else inputs.get(newest)
        if (
            spec is None
            or state.shape[:2] != (1, contract.window.steps)
            or state.byte_count != contract.window.steps * spec.byte_count
            or (state.dtype, state.scale, state.zero_point)
            != (spec.dtype, spec.scale, spec.zero_point)
        ):
            return {}
        found[state.name] = spec.name
    return found


def _put_behind(
    model: StepModel, makers: Mapping[int, Operator], taken: int, given: int
) -> int | None:
    """Return the tensor that is put behind the frames of ``taken``, without the first, to make
    ``given``; None if that is not how it is made."""
    tensors, joined = model.graph.tensors, makers.get(given)
    if joined is None or joined.name != "CONCATENATION" or len(joined.inputs) != 2:
        return None
    kept, newest = joined.inputs
    cut, whole = makers.get(kept), tensors[taken].shape
    if (
        joined.options.get("fused_activation_function")
        or cut is None
        or cut.inputs[0] != taken
        or tensors[kept].shape != (1, whole[1] - 1, *whole[2:])
        or _start(model, cut) != [0, 1, *(0 for _ in whole[2:])]
    ):
        return None
    size = math.prod(tensors[newest].shape)
    while (maker := makers.get(newest)) is not None:
        newest = maker.inputs[0]
        as_many = math.prod(tensors[newest].shape) == size
        if not as_many or (maker.name not in _PASSING and _start(model, maker) is None):
            return None
    return newest


def _start(model: StepModel, operator: Operator) -> list[int] | None:
    """Return where a STRIDED_SLICE of stride 1 begins; None for anything else."""
    if operator.name != "STRIDED_SLICE":
        return None
    try:
        begin, _, strides = (
            read_constant(model.flatbuffer, model.graph.tensors[index]).tolist()
            for index in operator.inputs[1:]
        )
    except (BadModelError, ValueError):
        return None
    if set(strides) != {1}:
        return None
    mask = int(operator.options.get("begin_mask", 0))
    return [0 if mask >> axis & 1 else int(first) for axis, first in enumerate(begin)]
