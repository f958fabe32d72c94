"""Step an imported network's float step and compare it with the original."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from calibration.data import random_sequences
from convert.import_conversion.conversion import step_inputs
from convert.import_conversion.original import original_outputs
from convert.step.step_module import StepModule

STEPS = 12


def largest_error(imported):
    """Step the float module eagerly; the largest error as a share of the output's range."""
    module = StepModule(imported.graph)
    (sequence,) = random_sequences(step_inputs(module), 3, 1, STEPS)
    wanted = original_outputs(imported, module, sequence)
    states = {
        name: tf.zeros((1, *state.shape)) if state.initial is None else state.initial[None]
        for name, state in module.states.items()
    }
    outputs = {name: [] for name in module.outputs}
    for number in range(STEPS):
        inputs = [tf.reshape(sequence[one.name][number], one.shape) for one in module.inputs]
        given = module.step(*inputs, *states.values())
        states = {name: given[name] for name in states}
        for name, values in outputs.items():
            values.append(given[name][0].numpy())
    return max(
        np.abs(np.stack(values) - wanted[name].reshape(np.shape(values))).max()
        / max(np.ptp(wanted[name]), 1e-3)
        for name, values in outputs.items()
    )


def largest_error_in_time(imported):
    """As :func:`largest_error`, for steps that answer late or not at each step."""
    module = StepModule(imported.graph)
    (sequence,) = random_sequences(step_inputs(module), 3, 1, 2 * STEPS)
    wanted = original_outputs(imported, module, sequence)
    found = module.run(sequence)
    return max(
        np.abs(found[name] - wanted[name].reshape(found[name].shape)).max()
        / max(np.ptp(wanted[name]), 1e-3)
        for name in module.outputs
    )
