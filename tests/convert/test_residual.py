"""Residual recurrences, from the network to the int8 step model."""

import numpy as np
import pytest
import tf_keras as keras

from calibration.rollout import long_streams
from convert.export import export, float_step
from convert.step.keras_graph import keras_step_graph
from convert.step.step_module import StepModule
from device_runner.model.flatbuffer import read_graph
from models.cells import CELLS
from models.network import Architecture
from models.prediction import predict
from models.training import fit
from models.training_settings import TrainingSettings
from tests.conftest import slow_but_some_cells
from tests.convert.test_step import stepped

# Largest rms error of the int8 outputs over 10,000 steps, as a share of their spread.
DRIFT_BOUND = 0.05


@pytest.mark.parametrize("cell", slow_but_some_cells(CELLS))
def test_residual_stack_of_any_cell_steps_as_the_network(vowels, cell):
    keras.utils.set_random_seed(5)
    network = Architecture(cell, (8, 8, 8), 12, 9, residual=True).build()
    network.get_layer("normalization").adapt(*vowels.normalization)
    sequence = vowels.test.sequences[0]
    whole = network(sequence[np.newaxis]).numpy()[0]
    given = stepped(StepModule(keras_step_graph(network)), {"x": sequence})["y"]
    np.testing.assert_allclose(given, whole, atol=1e-5)


@pytest.mark.parametrize(
    "cell",
    ["gru", *(pytest.param(cell, marks=pytest.mark.slow)
              for cell in ("min-gru", "lstm", "fast-grnn", "grouped-gru"))],
)  # fmt: skip
@pytest.mark.slow
def test_residual_stack_in_int8_stays_near_the_network(vowels, tmp_path, cell):
    keras.utils.set_random_seed(1)
    architecture = Architecture(cell, (16, 16), 12, 9, residual=True)
    network = architecture.build()
    network.get_layer("normalization").adapt(*vowels.normalization)
    fit(network, vowels, TrainingSettings(epochs=8, learning_rate=1e-2))
    step = float_step(network)
    ranges = step.calibrate(long_streams(vowels.train.sequences, 4000, 1))
    model = export(network, architecture, vowels, "int8", tmp_path / "x.tflite", step, ranges)
    assert model.contract.metrics["drift"]["rms"] < DRIFT_BOUND
    # The sum is an operator of its own, in integers as all others.
    without = Architecture(cell, (16, 16), 12, 9).build()
    # A bias of zeros would be no operator.
    without.set_weights(network.get_weights())
    adds = [
        sum(op.name == "ADD" for op in read_graph(flatbuffer).operators)
        for flatbuffer in (model.flatbuffer, float_step(without).flatbuffer)
    ]
    assert adds[0] == adds[1] + 1
    assert {tensor.dtype for tensor in model.graph.tensors} <= {"int8", "int32"}
    decided = predict(network, vowels.test)[np.arange(len(vowels.test)), vowels.test.lengths - 1]
    right = float(np.mean(decided.argmax(-1) == vowels.test.labels))
    assert model.contract.metrics["accuracy"] == pytest.approx(right, abs=0.05)
