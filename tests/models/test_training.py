"""Fitting: repeatable, resumable, honest about its data; its loss and its score."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import models.training
from models.errors import DivergedError, ModelsError
from models.losses import step_label_loss
from models.metrics import Metric, accuracy
from models.network import Architecture
from models.prediction import evaluate, predict
from models.tasks.sequence_set import SequenceSet
from models.training import fit
from models.training_settings import TrainingSettings
from tests.models.weight_comparison import assert_same_weights, largest_difference

SETTINGS = TrainingSettings(epochs=5, batch_size=16, learning_rate=2e-2)


@pytest.fixture(scope="module")
def small_task(vowels):
    """A sixth of the vowels, all nine speakers."""
    return replace(
        vowels,
        train=vowels.train.select(np.arange(40)),
        validation=vowels.validation.select(np.arange(0, 54, 3)),
    )


def new_network(task, cell="gru", seed=1, units=4):
    keras.utils.set_random_seed(seed)
    network = Architecture(cell, (units,), len(task.channels), len(task.labels)).build()
    network.get_layer("normalization").adapt(*task.normalization)
    return network


def assert_same_history(actual, expected):
    assert actual.best_epoch == expected.best_epoch
    for name in ("loss", "validation_loss", "validation_score", "gradient_norm"):
        np.testing.assert_allclose(
            getattr(actual, name), getattr(expected, name), atol=1e-6, rtol=0
        )
    assert len(actual.seconds) == len(expected.seconds)


# Resuming


def interrupted_checkpoint(task, file, monkeypatch, settings=SETTINGS, epoch=3, **options):
    """Return the checkpoint that a fit left behind when it was interrupted after ``epoch``."""
    monkeypatch.setattr(models.training, "CHECKPOINT_INTERVAL_S", 0)

    def interrupt(done, epochs, losses):
        if done == epoch:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(new_network(task), task, settings, file, progress=interrupt, **options)
    return file


@pytest.fixture(scope="module")
def checkpoint_content(small_task, tmp_path_factory):
    """A sound checkpoint of one epoch."""
    file = tmp_path_factory.mktemp("checkpoint") / "c.npz"
    with pytest.MonkeyPatch.context() as monkeypatch:
        interrupted_checkpoint(small_task, file, monkeypatch, epoch=2)
    return file.read_bytes()


@pytest.mark.parametrize("keep", ["best", "last"])
def test_resumed_fit_equals_an_uninterrupted_one(small_task, tmp_path, monkeypatch, keep):
    # Against wrong labels the validation loss grows while the training loss falls, so that the
    # best epoch lies before the interruption and must come out of the checkpoint.
    wrong = (small_task.validation.labels + 1) % len(small_task.labels)
    small_task = replace(small_task, validation=replace(small_task.validation, labels=wrong))
    settings = replace(SETTINGS, epochs=7, learning_rate=0.1, keep=keep)
    whole = new_network(small_task)
    expected = fit(whole, small_task, settings)
    checkpoint = interrupted_checkpoint(
        small_task, tmp_path / "runs" / "c.npz", monkeypatch, settings, epoch=6
    )
    resumed = new_network(small_task, seed=99)
    epochs = []
    history = fit(resumed, small_task, settings, checkpoint, lambda done, *_: epochs.append(done))
    assert epochs == [6, 7], "it did not resume from the last epoch written"
    assert expected.best_epoch < 4, "the case is not the one meant: choose other settings"
    assert_same_history(history, expected)
    assert_same_weights(resumed, whole)


def test_finished_checkpoint_gives_the_result_without_training(small_task, tmp_path, monkeypatch):
    monkeypatch.setattr(models.training, "CHECKPOINT_INTERVAL_S", 0)
    first, second = new_network(small_task), new_network(small_task, seed=99)
    expected = fit(first, small_task, SETTINGS, tmp_path / "c.npz")
    epochs = []
    history = fit(
        second, small_task, SETTINGS, tmp_path / "c.npz", lambda done, *_: epochs.append(done)
    )
    assert epochs == []
    assert_same_history(history, expected)
    assert_same_weights(second, first, atol=0)


def test_checkpoint_is_not_written_before_its_interval(small_task, tmp_path, monkeypatch):
    monkeypatch.setattr(models.training, "CHECKPOINT_INTERVAL_S", 1e6)
    fit(new_network(small_task), small_task, replace(SETTINGS, epochs=2), tmp_path / "c.npz")
    assert list(tmp_path.iterdir()) == []


def test_checkpoint_survives_an_interruption_while_it_is_written(small_task, tmp_path, monkeypatch):
    checkpoint = interrupted_checkpoint(small_task, tmp_path / "c.npz", monkeypatch)
    before = checkpoint.read_bytes()

    def half_written(stream, **arrays):
        stream.write(b"PK")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", half_written)
    with pytest.raises(KeyboardInterrupt):
        fit(new_network(small_task), small_task, SETTINGS, checkpoint)
    assert checkpoint.read_bytes() == before


def with_facts(content, change):
    """Change the facts in a checkpoint's bytes."""
    arrays = dict(np.load(io.BytesIO(content)))
    facts = change(json.loads(str(arrays.pop("facts"))))
    stream = io.BytesIO()
    np.savez(stream, facts=np.array(json.dumps(facts)), **arrays)
    return stream.getvalue()


def flipped(content):
    """Flip a run of bytes in the middle."""
    start = len(content) // 3
    return (
        content[:start]
        + bytes(b ^ 255 for b in content[start : start + 400])
        + content[start + 400 :]
    )


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: b"not a checkpoint", id="another-file"),
        pytest.param(lambda content: content[: len(content) // 2], id="half"),
        pytest.param(lambda content: content[:-1], id="last-byte-missing"),
        pytest.param(flipped, id="wrong-bytes"),
        pytest.param(lambda content: with_facts(content, lambda facts: {}), id="no-facts"),
        pytest.param(
            lambda content: with_facts(content, lambda facts: {**facts, "history": {}}),
            id="no-history",
        ),
    ],
)
def test_damaged_checkpoint_is_an_error_of_one_line(
    small_task, tmp_path, checkpoint_content, damage
):
    checkpoint = tmp_path / "c.npz"
    checkpoint.write_bytes(damage(checkpoint_content))
    with pytest.raises(ModelsError) as caught:
        fit(new_network(small_task), small_task, SETTINGS, checkpoint)
    assert str(checkpoint) in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(("cell", "units"), [("gru", 5), ("lstm", 4), ("oru", 4)])
def test_checkpoint_of_another_network_is_an_error_of_one_line(
    small_task, tmp_path, checkpoint_content, cell, units
):
    checkpoint = tmp_path / "c.npz"
    checkpoint.write_bytes(checkpoint_content)
    with pytest.raises(ModelsError) as caught:
        fit(new_network(small_task, cell, units=units), small_task, SETTINGS, checkpoint)
    assert str(checkpoint) in caught.value.message
    assert "\n" not in caught.value.message


# Repeatable


def test_same_seed_gives_the_same_weights(small_task):
    settings = replace(SETTINGS, epochs=2)
    first, second, other = (new_network(small_task) for _ in range(3))
    fit(first, small_task, settings)
    fit(second, small_task, settings)
    fit(other, small_task, replace(settings, seed=2))
    assert_same_weights(second, first)
    assert largest_difference(other, first) > 1e-3


def test_test_data_are_not_touched(small_task):
    """Test data full of NaN, with impossible labels, change nothing."""
    poison = SequenceSet(
        [np.full_like(s, np.nan) for s in small_task.test.sequences],
        np.full_like(small_task.test.labels, -1),
        small_task.test.groups,
    )
    poisoned_task = replace(small_task, test=poison)
    clean, poisoned = new_network(small_task), new_network(poisoned_task)
    expected = fit(clean, small_task, SETTINGS)
    assert_same_history(fit(poisoned, poisoned_task, SETTINGS), expected)
    assert_same_weights(poisoned, clean)


def test_normalization_is_not_trained(small_task):
    network = new_network(small_task)
    before = network.get_layer("normalization").get_weights()
    fit(network, small_task, replace(SETTINGS, epochs=1))
    for actual, expected in zip(
        network.get_layer("normalization").get_weights(), before, strict=True
    ):
        np.testing.assert_array_equal(actual, expected)


# Stopping


def fit_with_snapshots(task, settings):
    """(network, history, the weights after every epoch)."""
    network = new_network(task)
    snapshots = []
    history = fit(
        network,
        task,
        settings,
        progress=lambda *_: snapshots.append(network.get_weights()),
    )
    return network, history, snapshots


def test_early_stopping_keeps_the_best_validation_epoch(small_task):
    settings = replace(SETTINGS, epochs=40, learning_rate=0.2, patience=3)
    network, history, snapshots = fit_with_snapshots(small_task, settings)
    best = int(np.argmin(history.validation_loss))
    assert 0 < best < settings.epochs - 4, "the case is not the one meant: choose other settings"
    assert history.best_epoch == best
    assert len(history.loss) == len(snapshots) == best + settings.patience + 1
    for actual, expected in zip(network.get_weights(), snapshots[best], strict=True):
        np.testing.assert_array_equal(actual, expected)
    assert evaluate(network, small_task.validation)[0] == pytest.approx(
        min(history.validation_loss), abs=1e-6
    )


def test_keep_last_keeps_the_last_epoch(small_task):
    settings = replace(SETTINGS, epochs=40, learning_rate=0.2, patience=3, keep="last")
    network, history, snapshots = fit_with_snapshots(small_task, settings)
    assert history.best_epoch < len(snapshots) - 1
    for actual, expected in zip(network.get_weights(), snapshots[-1], strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_nan_in_training_data_is_a_diverged_error(small_task):
    sequences = [s.copy() for s in small_task.train.sequences]
    sequences[5][2, 3] = np.nan
    broken = replace(
        small_task, train=SequenceSet(sequences, small_task.train.labels, small_task.train.groups)
    )
    with pytest.raises(DivergedError, match="epoch 1;") as caught:
        fit(new_network(small_task), broken, SETTINGS)
    assert "\n" not in caught.value.message


def test_fit_learns(small_task):
    network = new_network(small_task)
    before, _ = evaluate(network, small_task.validation)
    history = fit(network, small_task, replace(SETTINGS, epochs=10, learning_rate=0.1))
    after, right = evaluate(network, small_task.validation)
    assert history.loss[-1] < 0.7 * history.loss[0]
    assert after < 0.8 * before
    assert right > 2 / len(small_task.labels)


# Loss and decisions


def test_evaluate_against_each_sequence_alone(small_task):
    """Cross entropy of every step and the decision after the last, without any padding."""
    network = new_network(small_task)
    data = small_task.validation
    assert len(set(data.lengths)) > 1
    losses, right = [], []
    for sequence, label in zip(data.sequences, data.labels, strict=True):
        logits = network(sequence[np.newaxis]).numpy()[0].astype(np.float64)
        log_shares = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        losses.append(-log_shares[:, label].mean())
        right.append(logits[-1].argmax() == label)
    loss, share = evaluate(network, data)
    assert loss == pytest.approx(np.mean(losses), abs=1e-5)
    assert share == pytest.approx(np.mean(right))
    assert accuracy(predict(network, data), data) == pytest.approx(np.mean(right))


def with_step_labels(data):
    """Each sequence's speaker, wanted after every third step alone."""
    labels = [
        np.where(np.arange(len(s)) % 3 == 2, label, -1)
        for s, label in zip(data.sequences, data.labels, strict=True)
    ]
    return replace(data, step_labels=labels)


@pytest.fixture(scope="module")
def step_task(small_task):
    return replace(
        small_task,
        train=with_step_labels(small_task.train),
        validation=with_step_labels(small_task.validation),
        test=with_step_labels(small_task.test),
    )


def test_loss_of_labelled_steps_by_hand(step_task):
    network, data = new_network(step_task), step_task.validation
    losses, right = [], []
    for sequence, labels in zip(data.sequences, data.step_labels, strict=True):
        logits = network(sequence[np.newaxis]).numpy()[0].astype(np.float64)
        log_shares = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        for step in np.flatnonzero(labels >= 0):
            losses.append(-log_shares[step, labels[step]])
            right.append(logits[step].argmax() == labels[step])
    loss, share = evaluate(network, data)
    assert loss == pytest.approx(np.mean(losses), abs=1e-5)
    assert share == pytest.approx(np.mean(right))


def test_labelled_steps_are_learned(step_task):
    network = new_network(step_task)
    history = fit(network, step_task, replace(SETTINGS, epochs=10, learning_rate=0.1))
    assert history.loss[-1] < 0.7 * history.loss[0]
    assert history.validation_score[-1] > 2 / len(step_task.labels)


def test_no_step_wanted_is_no_loss_and_no_gradient():
    logits = tf.Variable(np.ones((2, 3, 4), np.float32))
    with tf.GradientTape() as tape:
        loss = step_label_loss(logits, np.full((2, 3), -1))
    assert float(loss) == 0
    np.testing.assert_array_equal(tape.gradient(loss, logits), 0)


def test_the_score_is_the_tasks_metric(small_task):
    metric = Metric("share of the first class", "%", True, "", lambda outputs, data: 0.25)
    task = replace(small_task, metric=metric)
    history = fit(new_network(task), task, replace(SETTINGS, epochs=1))
    assert history.validation_score == [0.25]


# Batches of one length


def test_grouped_batches_hold_every_sequence_once_and_are_cut(small_task):
    seen = []

    def train_step(x, targets, lengths):
        seen.append((x, lengths))
        return tf.constant(1.0), tf.constant(1.0)

    settings = replace(SETTINGS, batch_size=4, group_lengths=True)
    models.training._train_epoch(train_step, small_task.train, settings, 0, None)
    lengths = np.concatenate([lengths for _, lengths in seen])
    np.testing.assert_array_equal(np.sort(lengths), np.sort(small_task.train.lengths))
    longest = small_task.train.padded.shape[1]
    assert {x.shape[1] for x, _ in seen} <= {longest, *(-(-longest // 4) * n for n in (1, 2, 3))}
    assert all(x.shape[1] >= lengths.max() for x, lengths in seen)
    assert sum(x.shape[1] for x, _ in seen) < len(seen) * longest
    spread = [np.ptp(lengths) for _, lengths in seen]
    assert np.mean(spread) < np.ptp(small_task.train.lengths) / 2


@pytest.mark.parametrize("wanted", ["labels", "steps"])
def test_a_batch_that_is_cut_has_the_loss_of_the_whole_one(small_task, step_task, wanted):
    task = small_task if wanted == "labels" else step_task
    grouped = replace(SETTINGS, epochs=1, batch_size=len(task.train), group_lengths=True)
    histories = [
        fit(new_network(task), task, settings)
        for settings in (grouped, replace(grouped, group_lengths=False))
    ]
    assert_same_history(*histories)
