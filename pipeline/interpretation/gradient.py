"""Gradients of a decision through all steps of a float step model.

Gradient times input (A. Shrikumar et al., "Not just a black box", 2016), from a baseline: what the
output would lose, to first order, if the input were the baseline instead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from device_runner.model.names import INPUT_NAME, OUTPUT_NAME
from device_runner.model.step_file import StepModel
from pipeline.interpretation.memory import beginnings


def why_no_gradient(model: StepModel) -> str | None:
    """Say why a model has no gradients here; None if it has."""
    contract = model.contract
    if contract.scheme != "float32":
        return "integers have no gradient; give the float32 file"
    if contract.input.vocabulary is not None:
        return "token ids have no gradient"
    if contract.window is not None:
        return "its lanes begin anew in turn"
    if len(contract.inputs) > 1 or len(contract.outputs) > 1:
        return "it has several inputs or outputs"
    if (contract.input.name, contract.output.name) != (INPUT_NAME, OUTPUT_NAME):
        return "its input and output have names of their own"
    return None


def gradient_times_input(
    model: StepModel, sequence: NDArray[np.float32], nothing: NDArray[np.float32], index: int
) -> NDArray[np.float64]:
    """Compute the gradient of an output at the last step, times the input's distance from nothing.

    Args:
        model: a float32 step model for which :func:`why_no_gradient` is None.
        sequence: [steps, channels] in real units.
        nothing: the frame [channels] that says nothing.
        index: which value of the output.

    Returns:
        [steps, channels].

    Raises:
        UnsupportedLayerError: the graph has an operator that TensorFlow does not simulate.
    """
    import tensorflow as tf

    from convert.schemes.scheme import FloatStep
    from convert.simulation import SimulatedNetwork

    contract = model.contract
    step = FloatStep(
        model.flatbuffer,
        {},
        initial=beginnings(contract),
        periods={state.name: state.period for state in contract.states if state.period > 1},
        first_phase=contract.first_phase,
    )
    network = SimulatedNetwork(step, {}, simulate=False)
    x = tf.constant(sequence[np.newaxis])
    with tf.GradientTape() as tape:
        tape.watch(x)
        decided = network(x)[0, -1, index]
    gradient: NDArray[np.float64] = tape.gradient(decided, x).numpy()[0].astype(np.float64)
    weighted: NDArray[np.float64] = gradient * (sequence - nothing)
    return weighted
