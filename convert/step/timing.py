"""When each value of a step graph comes, and what follows from that for states and outputs.

A convolution over time without padding has no answer before its window is full, and one with
strides answers at every s-th step only. In a stream:

- A slower layer's states have a period: the step updates them when its input has come
  (:mod:`device_runner.model.phases`). Outputs in between are the last ones, held in a state.
- A layer with a memory begins at its input's first value. Until then its states are held at their
  initial values by a gate, which a shift register of zeros and a one opens.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from convert.errors import UnsupportedLayerError
from convert.layers.layer_rule import GATE_BOUND, LayerValues, State, StepRule
from convert.step.step_graph import CarriedState, Instruction, Kind, Place, StepGraph, Timing


def with_timing(graph: StepGraph, shapes: Mapping[str, tuple[int, ...]]) -> StepGraph:
    """Give states their periods and gates, and hold outputs that do not come at each step.

    Args:
        graph: a step graph whose instructions say when each layer answers.
        shapes: of the outputs, without batch and time, by name.

    Returns:
        The same graph if every layer answers at each step.

    Raises:
        UnsupportedLayerError: a layer joins values that come at different steps.
    """
    timings = _timings(graph)
    if all(timing in (None, Timing()) for timing in timings.values()):
        return graph
    outputs = {name: timings[place] or Timing() for name, place in graph.outputs}
    held = tuple(
        CarriedState(
            State(f"{name}_held", shapes[name], period=outputs[name].period),
            taken=("held", name),
            given=place,
        )
        for name, place in graph.outputs
        if outputs[name].period > 1
    )
    return replace(
        graph,
        instructions=tuple(_with_gates(graph.instructions, timings)),
        carried=(*graph.carried, *held),
        timings=outputs,
        first_phase=_first_phase(graph.instructions, timings),
    )


def _timings(graph: StepGraph) -> dict[Place, Timing | None]:
    """Find when each value comes; None for what does not change over the sequence."""
    timings: dict[Place, Timing | None] = {
        item.place: Timing() if item.kind is Kind.STEP else None for item in graph.inputs
    }
    timings |= {one.taken: Timing() for one in graph.carried}
    for item in graph.instructions:
        given = _given(item, timings)
        after = given and Timing(
            given.delay + item.rule.delay * given.period, given.period * item.rule.stride
        )
        timings.update(dict.fromkeys(item.outputs, after))
    return timings


def _given(item: Instruction, timings: Mapping[Place, Timing | None]) -> Timing | None:
    """Return when an instruction's inputs come.

    Raises:
        UnsupportedLayerError: they come at different steps.
    """
    found = list(dict.fromkeys(filter(None, (timings[place] for place in item.inputs))))
    if len(found) > 1:
        one, other = found[:2]
        raise UnsupportedLayerError(
            f"layer '{item.layer}' joins values that come at different steps: from step "
            f"{one.delay} on, every {one.period}, and from step {other.delay} on, every "
            f"{other.period}; pad the convolution in front in time, (n, 0), so that both come at "
            "each step"
        )
    return found[0] if found else None


def _first_phase(
    instructions: Iterable[Instruction], timings: Mapping[Place, Timing | None]
) -> int:
    """Return the phase that a sequence begins with, so that all states are due when they should be.

    Raises:
        UnsupportedLayerError: there is none.
    """
    wanted = {timing for timing in timings.values() if timing and timing.period > 1}
    for item in instructions:
        given = _given(item, timings) or Timing()
        wanted |= {
            Timing(given.delay, given.period * state.period)
            for state in item.states
            if state.period > 1
        }
    cycle = math.lcm(1, *(timing.period for timing in wanted))
    for phase in range(cycle):
        if all((phase + timing.delay) % timing.period == 0 for timing in wanted):
            return phase
    raise UnsupportedLayerError(
        "layers with strides in time answer at steps that never fall together; pad the "
        "convolutions in front in time, (n, 0)"
    )


def _with_gates(
    instructions: Iterable[Instruction], timings: Mapping[Place, Timing | None]
) -> Iterator[Instruction]:
    """Give states their periods, and gates where they must wait for their first input."""
    clocks: set[int] = set()
    for item in instructions:
        given = _given(item, timings)
        if given is None or not item.states:
            yield item
            continue
        states = tuple(replace(state, period=state.period * given.period) for state in item.states)
        item = replace(item, states=states)
        # If it is not due before its first input comes, nothing needs to wait.
        if not item.rule.begins_anew or given.delay < given.period:
            yield item
            continue
        if given.delay not in clocks:
            clocks.add(given.delay)
            yield _clock(given.delay)
        place = _gate(given.delay)
        yield replace(item, rule=_gated(item.rule), inputs=(*item.inputs, place))


def _gate(delay: int) -> Place:
    return ("begun", delay)


def _clock(delay: int) -> Instruction:
    """Make the gate that is 0 up to step ``delay``, and 1 after it.

    Before that step there is no input yet; at it, the old states are the initial ones."""
    begin = np.zeros(delay + 2, np.float32)
    begin[-1] = 1
    state = State(f"begun_{delay}", begin.shape, GATE_BOUND, begin)

    def step(inputs: LayerValues, states: LayerValues) -> tuple[LayerValues, LayerValues]:
        (register,) = states
        moved = tf.concat([register[:, 1:], register[:, -1:]], -1)
        # RELU gives it the range of a gate, 0 to 1.
        return (tf.nn.relu(register[:, :1]),), (moved,)

    return Instruction(state.name, StepRule(step, (state,)), (), (_gate(delay),), (state,))


def _gated(rule: StepRule) -> StepRule:
    """Make the rule that gets a gate as its last input, and begins anew while that is 0."""

    def step(inputs: LayerValues, states: LayerValues) -> tuple[LayerValues, LayerValues]:
        *given, gate = inputs
        old = tuple(
            _begun(gate, value, state) for value, state in zip(states, rule.states, strict=True)
        )
        return rule.step(tuple(given), old)

    return replace(rule, step=step)


def _begun(gate: Any, value: Any, state: State) -> Any:
    open_part = tf.reshape(gate, (-1, *(1 for _ in state.shape))) * value
    if state.initial is None or not state.initial.any():
        return open_part
    closed = 1.0 - tf.reshape(gate, (-1, *(1 for _ in state.shape)))
    return open_part + closed * state.initial[np.newaxis]
