"""What networks are fitted by: the losses of labels, of labels at steps, and of values."""

from __future__ import annotations

import tensorflow as tf


def task_loss(outputs: tf.Tensor, targets: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """What a task is fitted by: the cross entropy of every step for class indices [batch], that
    of the steps where a label is wanted for class indices [batch, steps], the mean squared error
    for values [batch, steps, outputs]; see :func:`mean_over_steps`."""
    targets = tf.convert_to_tensor(targets)
    if not targets.dtype.is_integer:
        return mean_over_steps(tf.reduce_mean(tf.square(outputs - targets), -1), lengths)
    if len(targets.shape) == 2:
        return step_label_loss(outputs, targets)
    return sequence_loss(outputs, targets, lengths)


def step_label_loss(logits: tf.Tensor, step_labels: tf.Tensor) -> tf.Tensor:
    """Mean cross entropy of all steps where a label is wanted: logits [batch, steps, classes],
    class indices [batch, steps] (-1: none wanted) -> scalar, in nats; 0 where no step wants one."""
    wanted = tf.cast(step_labels >= 0, tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(step_labels, 0), logits)
    return tf.math.divide_no_nan(tf.reduce_sum(losses * wanted), tf.reduce_sum(wanted))


def sequence_loss(logits: tf.Tensor, labels: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Cross entropy of every step, see :func:`mean_over_steps`: logits [batch, steps, classes],
    class indices [batch], lengths [batch] -> scalar, in nats."""
    every_step = tf.repeat(labels[:, tf.newaxis], tf.shape(logits)[1], axis=1)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(every_step, logits)
    return mean_over_steps(losses, lengths)


def mean_over_steps(values: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Mean over each sequence's own steps, then over the sequences: values [batch, steps] and
    lengths [batch] -> scalar. What comes after a sequence's end does not count."""
    mask = tf.sequence_mask(lengths, tf.shape(values)[1], dtype=tf.float32)
    return tf.reduce_mean(tf.reduce_sum(values * mask, 1) / tf.reduce_sum(mask, 1))
