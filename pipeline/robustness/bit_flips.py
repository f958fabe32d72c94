"""Bits that flip in a model's memory: in the states as stored, and in its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from device_runner.model.step_file import StepModel


def flip(stored: bytes, chance: float, random: np.random.Generator) -> bytes:
    """Flip each bit with a chance.

    Args:
        stored: any bytes.
        chance: of each bit, in [0, 1].
    """
    count = random.binomial(8 * len(stored), chance)
    if not count:
        return stored
    changed = np.frombuffer(stored, np.uint8).copy()
    chosen = random.choice(8 * len(stored), count, replace=False)
    # Two bits of one byte must both flip.
    np.bitwise_xor.at(changed, chosen // 8, (1 << (chosen % 8)).astype(np.uint8))
    return changed.tobytes()


def flip_states(
    states: Mapping[str, bytes], chance: float, random: np.random.Generator
) -> dict[str, bytes]:
    """Flip bits of states as stored, by name."""
    return {name: flip(stored, chance, random) for name, stored in states.items()}


def with_flipped_weights(model: StepModel, chance: float, random: np.random.Generator) -> StepModel:
    """Return a copy of a model in memory with flipped bits in its constants.

    Weights and biases of every dtype flip. Shapes and indices do not: they are no numbers that a
    model was trained to have, and a graph with other ones does not load.
    """
    changed = np.frombuffer(model.flatbuffer, np.uint8).copy()
    places = {
        (tensor.constant_start, tensor.constant_bytes)
        for tensor in model.graph.tensors
        if tensor.constant_bytes and (tensor.scales or tensor.dtype.startswith("float"))
    }
    for start, length in sorted(places):
        stored: NDArray[np.uint8] = changed[start : start + length]
        stored[:] = np.frombuffer(flip(stored.tobytes(), chance, random), np.uint8)
    flatbuffer = changed.tobytes()
    digest = hashlib.sha256(flatbuffer).hexdigest()
    return replace(
        model, flatbuffer=flatbuffer, contract=replace(model.contract, model_sha256=digest)
    )
