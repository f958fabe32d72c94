"""The losses of distillation against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from models.compress.distillation import hint_loss, soft_target_loss
from tests.models.softened_shares import shares


def random_case(seed=0, width=5):
    """(logits of the student, of the teacher, lengths) with 3 sequences of up to 6 steps."""
    generator = np.random.default_rng(seed)
    student, teacher = generator.normal(0, 3, (2, 3, 6, width)).astype(np.float32)
    return student, teacher, np.array([6, 2, 4])


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_soft_target_loss_against_numpy(temperature):
    student, teacher, lengths = random_case()
    per_sequence = []
    for s, t, length in zip(student, teacher, lengths, strict=True):
        p, q = shares(t[:length], temperature), shares(s[:length], temperature)
        per_sequence.append((p * (np.log(p) - np.log(q))).sum(-1).mean())
    targets = shares(teacher, temperature).astype(np.float32)
    actual = soft_target_loss(student, targets, lengths, temperature)
    assert float(actual) == pytest.approx(temperature**2 * np.mean(per_sequence), rel=1e-4)


def test_soft_target_loss_allows_certainty():
    """A teacher's share may be 0 in float32."""
    targets = np.float32([[[1, 0, 0]]])
    loss = soft_target_loss(np.float32([[[2, 1, 0]]]), targets, np.array([1]), 1.0)
    assert float(loss) == pytest.approx(-np.log(shares([2, 1, 0], 1)[0]), rel=1e-5)


def test_temperature_keeps_the_size_of_the_gradients():
    """Hinton et al.: with the factor T^2 they tend to (s - t) / classes, logits without mean."""
    student, teacher = (z - z.mean(-1, keepdims=True) for z in (random_case()[0], random_case()[1]))
    logits = tf.Variable(student[:1, :1])
    targets = shares(teacher[:1, :1], 200).astype(np.float32)
    with tf.GradientTape() as tape:
        loss = soft_target_loss(logits, targets, np.array([1]), 200.0)
    np.testing.assert_allclose(
        tape.gradient(loss, logits), (student - teacher)[:1, :1] / 5, atol=0.03
    )


def test_hint_loss_against_numpy():
    mapped, hidden, lengths = random_case()
    expected = np.mean(
        [((m - h)[:n] ** 2).mean() for m, h, n in zip(mapped, hidden, lengths, strict=True)]
    )
    assert float(hint_loss(mapped, hidden, lengths)) == pytest.approx(expected, rel=1e-5)


def test_steps_after_the_end_do_not_count():
    student, teacher, lengths = random_case()
    targets = shares(teacher, 2).astype(np.float32)
    spoilt_student, spoilt_targets = student.copy(), targets.copy()
    for row, length in enumerate(lengths):
        spoilt_student[row, length:] = 50
        spoilt_targets[row, length:] = 1
    for loss in (hint_loss, lambda a, b, n: soft_target_loss(a, b, n, 2.0)):
        assert float(loss(spoilt_student, spoilt_targets, lengths)) == float(
            loss(student, targets, lengths)
        )
    changed = student.copy()
    changed[1, 1] += np.arange(5)
    assert float(hint_loss(changed, targets, lengths)) != float(
        hint_loss(student, targets, lengths)
    )
