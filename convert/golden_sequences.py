"""Choose a step model's golden sequences: real inputs with the network's own outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tf_keras as keras
from numpy.typing import NDArray

from device_runner.model.golden import Golden, golden_input
from device_runner.model.names import INPUT_NAME
from models.tasks.sequence_set import SequenceSet

# Enough steps to reveal a wrong state, few enough not to bloat a small model's file.
GOLDEN_STEPS = 32
GOLDEN_SEQUENCES = 3


def golden_of_network(network: keras.Model, data: SequenceSet, outputs: Sequence[str]) -> Golden:
    """Choose the beginnings of some sequences and compute the network's outputs for them.

    Inputs are rounded to float16 where it can hold them, which halves their size in the file. The
    network computes its outputs from the rounded values, so inputs and outputs match exactly. Token
    ids stay as they are.

    Args:
        network: [1, steps, inputs] -> [1, steps, outputs], or several inputs and outputs.
        data: the task's validation data.
        outputs: names of the network's outputs, in its order.
    """
    sequences = []
    chosen, steps = _chosen(data)
    for index in chosen:
        sequences.append(golden_input(data.sequences[index][:steps]))
    found: dict[str, list[NDArray[Any]]] = {name: [] for name in outputs}
    for sequence in sequences:
        results = network(sequence[np.newaxis], training=False)
        values = results if isinstance(results, list | tuple) else [results]
        for name, value in zip(outputs, values, strict=True):
            found[name].append(value.numpy()[0])
    return Golden(
        {INPUT_NAME: np.concatenate(sequences)},
        {name: np.concatenate(parts) for name, parts in found.items()},
        tuple(len(s) for s in sequences),
    )


def _chosen(data: SequenceSet) -> tuple[NDArray[np.int64], int]:
    """Choose which sequences to take, and how many steps of each, a few dozen steps in all.

    The first ones of different labels are taken, or some from all over the data if there are no
    labels.

    Of long sequences fewer are taken. Their beginnings alone, before a word is spoken, hold nothing
    to decide on, and how a tie is decided tells nothing about a runtime.
    """
    _, first = np.unique(data.labels, return_index=True)
    if len(first) < GOLDEN_SEQUENCES:
        first = np.unique(np.linspace(0, len(data) - 1, GOLDEN_SEQUENCES).astype(int))
    whole = GOLDEN_STEPS // int(np.median(data.lengths))
    count = min(max(1, whole), GOLDEN_SEQUENCES)
    # A single one has a label from the middle: the first may be "silence", or "none of them".
    chosen = first[:count] if count > 1 else first[len(first) // 2 :][:1]
    return chosen, GOLDEN_STEPS // count
