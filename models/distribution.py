"""Data-parallel training with ``tf.distribute``: each replica takes a part of every batch.

``mirrored`` uses all GPUs of this machine; ``multi-worker`` the machines that the environment
variable TF_CONFIG lists, each of which runs the same program. Gradients are averaged before they
are clipped, so a step computes what one device computes of the whole batch, but for rounding, and
for the random numbers of noise and dropout.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from models.errors import ModelsError
from models.losses import Loss
from models.tasks.sequence_set import TargetKind

Distribution = Literal["none", "mirrored", "multi-worker"]
CLUSTER_VARIABLE = "TF_CONFIG"


@dataclass(frozen=True)
class Group:
    """The replicas that train together.

    Attributes:
        replicas: how many there are, on all machines.
        processes: how many machines there are.
        is_first: whether this process keeps checkpoints and results.
    """

    strategy: tf.distribute.Strategy
    replicas: int
    processes: int
    is_first: bool

    def split(self, array: NDArray[Any]) -> Any:
        """Give each replica its part of a batch [batch, ...]."""
        size = len(array) // self.replicas

        def part(context: Any) -> tf.Tensor:
            start = context.replica_id_in_sync_group * size
            return tf.constant(array[start : start + size])

        return self.strategy.experimental_distribute_values_from_function(part)

    def from_first(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the array of the first process, of the same shape and dtype in all of them."""
        if self.processes == 1:
            return values
        return self._sum(values, np.zeros_like(values))

    def bytes_from_first(self, content: bytes | None) -> bytes | None:
        """Return the bytes of the first process, or None of it; what the others give does not
        matter."""
        if self.processes == 1:
            return content
        size = -1 if content is None else len(content)
        size = int(self.from_first(np.array([size], np.int32))[0])
        if size <= 0:
            return None if size else b""
        numbers = np.zeros(size, np.int32)
        if self.is_first:
            numbers[:] = np.frombuffer(content or b"", np.uint8)
        return self.from_first(numbers).astype(np.uint8).tobytes()

    def any(self, here: bool) -> bool:
        """Tell whether something holds in any process."""
        if self.processes == 1:
            return here
        each = np.array([here], np.int32)
        return bool(self._sum(each, each)[0])

    def _sum(self, own: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
        """Add up: of the first process ``own``, once, and of others what they give."""
        value = own if self.is_first else others

        def part(context: Any) -> tf.Tensor:
            replica = context.replica_id_in_sync_group
            counts = replica % (self.replicas // self.processes) == 0
            return tf.constant(value if counts else np.zeros_like(value))

        parts = self.strategy.experimental_distribute_values_from_function(part)
        return np.asarray(self.strategy.reduce("SUM", parts, axis=None))


def group_of(strategy: tf.distribute.Strategy) -> Group:
    """Describe the replicas of a strategy; without one there is a single replica."""
    resolver = strategy.cluster_resolver
    processes = len(resolver.cluster_spec().as_dict().get("worker", ())) if resolver else 1
    is_first = not resolver or not resolver.task_id
    return Group(strategy, strategy.num_replicas_in_sync, max(processes, 1), is_first)


@cache
def group_named(name: Distribution) -> Group:
    """Return the group that a recipe's ``distribute`` names. Several machines wait for each other
    here; call it before TensorFlow has computed anything.

    Raises:
        ModelsError: there is one device alone, or TF_CONFIG does not list the machines.
    """
    if name == "none":
        return group_of(tf.distribute.get_strategy())
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        if len(devices) < 2:
            raise ModelsError(
                f'distribute = "mirrored" is for several devices; this machine has one '
                f"({devices[0].name}); leave it out of [training]"
            )
        names = [device.name for device in devices]
        return group_of(tf.distribute.MirroredStrategy(names))
    _check_cluster()
    return group_of(tf.distribute.MultiWorkerMirroredStrategy())


def _check_cluster() -> None:
    told = os.environ.get(CLUSTER_VARIABLE, "")
    try:
        facts = json.loads(told or "{}")
        workers, task = facts["cluster"]["worker"], facts["task"]
        right = (
            set(facts["cluster"]) == {"worker"}
            and task["type"] == "worker"
            and 0 <= int(task["index"]) < len(workers)
        )
    except (ValueError, KeyError, TypeError):
        right, workers = False, []
    if not right:
        raise ModelsError(
            f'distribute = "multi-worker" needs {CLUSTER_VARIABLE} in the environment, such as '
            '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, '
            '"task": {"type": "worker", "index": 0}}' + (f"; it is {told[:200]}" if told else "")
        )
    if len(workers) < 2:
        raise ModelsError(
            f"{CLUSTER_VARIABLE} lists one machine; leave 'distribute' out of [training], or list "
            "several"
        )


@contextlib.contextmanager
def lost_workers() -> Iterator[None]:
    """Say in a line of our own that a machine was lost."""
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError,
            tf.errors.InternalError, tf.errors.DeadlineExceededError) as error:  # fmt: skip
        raise ModelsError(
            f"another machine of {CLUSTER_VARIABLE} was lost; start the same command on all of "
            "them again, and training goes on from its checkpoint"
        ) from error


def check_batch(group: Group, batch_size: int) -> None:
    """Raise ModelsError where a batch cannot be cut into equal parts."""
    if batch_size % group.replicas:
        raise ModelsError(
            f"a batch of {batch_size} sequences cannot be shared by {group.replicas} replicas; "
            "make 'batch_size' in [training] a multiple"
        )


def shared_step(
    group: Group,
    network: keras.Model,
    optimizer: Any,
    clip_norm: float,
    loss_of: Loss,
    kind: TargetKind,
) -> Callable[[Any, Any, Any], tuple[tf.Tensor, tf.Tensor]]:
    """Make the function that trains on a batch together: (inputs, targets, lengths) -> the loss of
    the whole batch and its gradients' norm, both scalars."""
    variables, strategy = network.trainable_variables, group.strategy

    def replica_step(
        x: tf.Tensor, targets: tf.Tensor, lengths: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        context = tf.distribute.get_replica_context()
        weight = _weight(targets, kind)
        share = tf.math.divide_no_nan(weight, context.all_reduce("SUM", weight))
        with tf.GradientTape() as tape:
            loss = share * loss_of(network(x, training=True), targets, lengths)
        # Gradients of embeddings are slices; they are summed as whole arrays here.
        gradients = [tf.convert_to_tensor(one) for one in tape.gradient(loss, variables)]
        gradients, loss = context.all_reduce("SUM", (gradients, loss))
        gradients, norm = tf.clip_by_global_norm(gradients, clip_norm)
        pairs = zip(gradients, variables, strict=True)
        optimizer.apply_gradients(pairs, skip_gradients_aggregation=True)
        return loss, norm

    together = tf.function(lambda *batch: strategy.run(replica_step, args=batch))

    def step(x: Any, targets: Any, lengths: Any) -> tuple[tf.Tensor, tf.Tensor]:
        found = together(group.split(x), group.split(targets), group.split(lengths))
        loss, norm = (strategy.experimental_local_results(one)[0] for one in found)
        return loss, norm

    return step


def _weight(targets: tf.Tensor, kind: TargetKind) -> tf.Tensor:
    """How much a replica's mean loss counts in the mean of all."""
    if kind is TargetKind.STEP_LABELS:
        return tf.reduce_sum(tf.cast(targets >= 0, tf.float32))
    return tf.cast(tf.shape(targets)[0], tf.float32)
