"""One time step of our own recurrent layers."""

from __future__ import annotations

from typing import Any

from convert.layers.rule import Joined, Scaled, State, StepRule, Values, plain
from models.network import Recurrence


def recurrence(layer: Recurrence, node: Any) -> StepRule:
    """A cell of ours. A normalization in front of it is folded into its input product: no
    operator, no rounding."""
    cell = layer.cell

    def step(inputs: Values, states: Values) -> tuple[Values, Values]:
        (value,) = inputs
        value = plain(value) if isinstance(value, Joined) else value
        affine = (value.scale, value.shift) if isinstance(value, Scaled) else ()
        value = value.value if isinstance(value, Scaled) else value
        output, new_states = layer.step(value, states, cell.begin(), affine)
        return (output,), new_states

    states = tuple(
        State(name, shape, cell.state_bounds.get(name))
        for name, shape in zip(cell.state_names, cell.state_shapes, strict=True)
    )
    return StepRule(step, states, takes_deferred=True)
