"""What networks are fitted by: the losses of labels, of labels at steps, and of values."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import tensorflow as tf

from models.errors import ModelsError
from models.tasks.sequence_set import TargetKind

#: (what the network gives, targets of the batch as ``SequenceSet.targets`` has them, lengths
#: [batch]) -> scalar to minimize.
Loss = Callable[[Any, tf.Tensor, tf.Tensor], tf.Tensor]


def loss_for(kind: TargetKind, loss_from: float = 0.0) -> Loss:
    """Choose what a task of this kind is fitted by: the cross entropy of every step for labels of
    sequences, that of the steps where a label is wanted, the mean squared error of values, or that
    of all ways to come to a transcript.

    Args:
        loss_from: of labels of sequences, how large a share of a sequence's steps is over before
            its loss counts, from 0 to below 1.

    Raises:
        ModelsError: ``loss_from`` is given, and the task's targets are of another kind.
    """
    if loss_from:
        if kind is not TargetKind.LABEL:
            raise ModelsError(
                "loss_from is for tasks that tell a sequence's class; take it out of [training]"
            )
        return partial(sequence_loss, loss_from=loss_from)
    losses: dict[TargetKind, Loss] = {
        TargetKind.LABEL: sequence_loss,
        TargetKind.STEP_LABELS: step_label_loss,
        TargetKind.VALUES: value_loss,
        TargetKind.TRANSCRIPT: transcript_loss,
    }
    return losses[kind]


def value_loss(outputs: tf.Tensor, values: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Compute the mean squared error of every step, see :func:`mean_over_steps`: outputs and values
    [batch, steps, outputs], lengths [batch] -> scalar, in the values' unit squared."""
    return mean_over_steps(tf.reduce_mean(tf.square(outputs - values), -1), lengths)


def step_label_loss(
    logits: tf.Tensor, step_labels: tf.Tensor, lengths: tf.Tensor | None = None
) -> tf.Tensor:
    """Compute the mean cross entropy of all steps where a label is wanted: logits [batch, steps,
    classes], class indices [batch, steps] (-1: none wanted) -> scalar, in nats; 0 where no step
    wants one. The lengths are not needed, as no label is wanted after a sequence's end."""
    wanted = tf.cast(step_labels >= 0, tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(step_labels, 0), logits)
    return tf.math.divide_no_nan(tf.reduce_sum(losses * wanted), tf.reduce_sum(wanted))


def transcript_loss(logits: tf.Tensor, transcripts: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Compute the mean loss of connectionist temporal classification: logits [batch, steps,
    classes] (class 0 is the blank), class indices in order [batch, most] (-1 after the last),
    lengths [batch] -> scalar, in nats per wanted class.

    Source: A. Graves et al., "Connectionist temporal classification" (2006)."""
    wanted = tf.reduce_sum(tf.cast(transcripts >= 0, tf.float32), 1)
    places = tf.where(transcripts >= 0)
    classes = tf.cast(tf.gather_nd(transcripts, places), tf.int32)
    losses = tf.nn.ctc_loss(
        # Sparse labels are summed in one kernel, dense ones in a loop of operators that takes as
        # long as the network.
        labels=tf.SparseTensor(places, classes, tf.shape(transcripts, tf.int64)),
        label_length=None,
        logits=logits,
        logit_length=tf.cast(lengths, tf.int32),
        logits_time_major=False,
        blank_index=0,
    )
    return tf.reduce_mean(losses / tf.maximum(wanted, 1))


def sequence_loss(
    logits: tf.Tensor, labels: tf.Tensor, lengths: tf.Tensor, loss_from: float = 0.0
) -> tf.Tensor:
    """Compute the cross entropy of every step, see :func:`mean_over_steps`: logits [batch, steps,
    classes], class indices [batch], lengths [batch] -> scalar, in nats. The first ``loss_from`` of
    each sequence's steps do not count; the last step always does."""
    every_step = tf.repeat(labels[:, tf.newaxis], tf.shape(logits)[1], axis=1)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(every_step, logits)
    if not loss_from:
        return mean_over_steps(losses, lengths)
    left_out = tf.floor(loss_from * tf.cast(lengths, tf.float32))
    return mean_over_steps(losses, lengths, tf.cast(left_out, lengths.dtype))


def mean_over_steps(
    values: tf.Tensor, lengths: tf.Tensor, left_out: tf.Tensor | None = None
) -> tf.Tensor:
    """Take the mean over each sequence's own steps, then over the sequences: values [batch, steps]
    and lengths [batch] -> scalar. What comes after a sequence's end does not count, nor do its
    first ``left_out`` steps [batch]."""
    longest = tf.shape(values)[1]
    mask = tf.sequence_mask(lengths, longest, dtype=tf.float32)
    if left_out is not None:
        mask -= tf.sequence_mask(left_out, longest, dtype=tf.float32)
    return tf.reduce_mean(tf.reduce_sum(values * mask, 1) / tf.reduce_sum(mask, 1))
