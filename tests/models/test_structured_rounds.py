"""Structured pruning in rounds: what goes in each, fine tuning, resuming."""

from dataclasses import replace

import numpy as np
import pytest
import tf_keras as keras

from models.compress import PruneSettings
from models.compress.structured.cut import select_channels
from models.compress.structured.importance import input_importance
from models.compress.structured.rounds import prune_in_rounds, prune_units
from models.errors import ModelsError
from models.prediction import evaluate
from models.training_settings import TrainingSettings
from tests.models.weight_comparison import assert_same_weights

SETTINGS = TrainingSettings(epochs=4, learning_rate=5e-3)


@pytest.fixture(scope="module")
def in_rounds(vowels, trained):
    """(result, what progress was told) of 16 -> 4 units in two rounds."""
    keras.utils.set_random_seed(1)
    told = []
    quarter = PruneSettings(keep=0.25, rounds=2)
    result = prune_in_rounds(
        *trained("gru"), vowels, quarter, SETTINGS, lambda *call: told.append(call)
    )
    return result, told


def test_rounds_shrink_by_the_same_share(in_rounds, trained):
    result, _ = in_rounds
    assert [entry["units"] for entry in result.facts["rounds"]] == [(8,), (4,)]
    assert result.architecture.units == (4,)
    assert result.channels is None
    assert result.network.output_shape == trained("gru")[0].output_shape
    assert trained("gru")[1].units == (16,)


def test_units_and_inputs_go_together(trained, vowels):
    """Both in equal steps; the channels are told by their places in the whole task."""
    both = PruneSettings(keep=8, keep_inputs=3, rounds=2)
    result = prune_in_rounds(*trained("gru"), vowels, both, replace(SETTINGS, epochs=2))
    rounds = [(entry["units"], entry["inputs"]) for entry in result.facts["rounds"]]
    assert rounds == [((11,), 6), ((8,), 3)]
    kept = result.history_facts()["channels_kept"]
    assert kept == list(result.channels)
    assert len(kept) == result.architecture.inputs == 3
    narrowed = select_channels(vowels, kept)
    loss, _ = evaluate(result.network, narrowed.validation)
    assert result.facts["rounds"][-1]["tuned_loss"] == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(
        np.ravel(result.network.get_layer("normalization").get_weights()[0]),
        1 / vowels.normalization[1][kept],
        rtol=1e-5,
    )


def test_inputs_alone(trained, vowels):
    """The channels that matter least go, and no unit."""
    whole, architecture = trained("gru")
    half = PruneSettings(keep_inputs=0.5, rounds=1)
    result = prune_in_rounds(whole, architecture, vowels, half, replace(SETTINGS, epochs=1))
    smaller = result.architecture
    assert (smaller.units, smaller.inputs) == (architecture.units, 6)
    scores = input_importance(whole, vowels)
    assert set(result.channels) == set(np.argsort(scores)[6:])


def test_fine_tuning_mends_each_round(in_rounds, vowels, trained):
    """And the whole is better than cutting at once without it."""
    result, _ = in_rounds
    network, rounds = result.network, result.facts["rounds"]
    for entry in rounds:
        assert entry["tuned_loss"] < entry["cut_loss"]
    tuned_loss, tuned_score = evaluate(network, vowels.validation)
    assert rounds[-1]["tuned_loss"] == pytest.approx(tuned_loss, rel=1e-5)
    assert rounds[-1]["tuned_score"] == pytest.approx(tuned_score)
    at_once, _ = prune_units(*trained("gru"), vowels, 0.25)
    assert evaluate(network, vowels.test)[0] < evaluate(at_once, vowels.test)[0] - 0.1


def test_history_and_progress_go_over_all_rounds(in_rounds):
    result, told = in_rounds
    history = result.history
    epochs = 2 * SETTINGS.epochs
    assert [(epoch, total) for epoch, total, _ in told] == [
        (epoch, epochs) for epoch in range(1, epochs + 1)
    ]
    assert len(history.loss) == len(history.validation_loss) == epochs
    losses = history.validation_loss
    last_round = losses[SETTINGS.epochs :]
    assert history.best_epoch == SETTINGS.epochs + int(np.argmin(last_round))


@pytest.mark.parametrize("epoch", [3, 5])
@pytest.mark.slow
def test_interrupted_rounds_go_on_where_they_were(vowels, trained, tmp_path, monkeypatch, epoch):
    """In the first round, before it is done, and in the second."""
    monkeypatch.setattr("models.training.CHECKPOINT_INTERVAL_S", 0)
    both = PruneSettings(keep=8, keep_inputs=6, rounds=2)
    settings = replace(SETTINGS, epochs=3)
    file = tmp_path / "c.npz"

    def run(progress=None, checkpoint=None):
        return prune_in_rounds(*trained("gru"), vowels, both, settings, progress, checkpoint)

    def interrupt(done, epochs, losses):
        if done == epoch:
            raise KeyboardInterrupt

    expected = run()
    with pytest.raises(KeyboardInterrupt):
        run(interrupt, file)
    epochs = []
    resumed = run(lambda done, *_: epochs.append(done), file)
    assert epochs == list(range(epoch, 7)), "it did not resume from the last epoch written"
    assert (resumed.architecture, resumed.channels) == (expected.architecture, expected.channels)
    assert [r["units"] for r in resumed.facts["rounds"]] == [(11,), (8,)]
    np.testing.assert_allclose(resumed.history.loss, expected.history.loss, atol=1e-5, rtol=0)
    assert_same_weights(resumed.network, expected.network, atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["c.npz"]


def test_a_damaged_checkpoint_of_rounds_is_an_error_of_one_line(vowels, trained, tmp_path):
    file = tmp_path / "c.npz"
    file.write_bytes(b"no checkpoint")
    with pytest.raises(ModelsError, match=r"c\.npz: the checkpoint cannot be read") as caught:
        prune_in_rounds(*trained("gru"), vowels, PruneSettings(keep=8), SETTINGS, None, file)
    assert "\n" not in caught.value.message
