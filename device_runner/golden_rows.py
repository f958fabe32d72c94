"""Step the golden sequences in all rows of a model that takes rows, and give them back by row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.backends.backend import Backend
from device_runner.model.contract import Contract
from device_runner.model.frames import decode_sequence, stored_frames
from device_runner.model.golden import Golden
from device_runner.model.rows import golden_places, with_rows_anew


def frames_in_rows(contract: Contract, golden: Golden, places: NDArray[np.int64]) -> list[bytes]:
    """Return the calls' frames, as stored.

    Args:
        places: the golden step that each row has at each call, [calls, rows].
    """
    values = {name: array[places] for name, array in golden.inputs.items()}
    return stored_frames(values, contract.inputs)


def step_golden_rows(
    backend: Backend, contract: Contract, golden: Golden, most: int | None = None
) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    """Step each row through the golden sequences, and reset it where one begins.

    Args:
        most: how many calls at most; None for all.

    Returns:
        The outputs by name, float32 [compared, *shape of one row], and the golden step that each
        should be that of, row after row. Without ``most`` these are all golden steps in each row.
        The states are left as they are.
    """
    places, counts = golden_places(golden.lengths, contract.rows)
    places, counts = places[:most], counts[:most]
    firsts = np.cumsum([0, *golden.lengths[:-1]])
    given = []
    backend.write_state(contract.initial_state())
    for frame, begins in zip(
        frames_in_rows(contract, golden, places), np.isin(places, firsts) & counts, strict=True
    ):
        if begins.any():
            rows = np.flatnonzero(begins).tolist()
            backend.write_state(with_rows_anew(backend.read_state(), contract, rows))
        given.append(backend.step(frame))
    decoded = decode_sequence(given, contract.outputs)
    outputs = {}
    for spec in contract.of_rows(1).outputs:
        table = decoded[spec.name].reshape(*places.shape, *spec.frame_shape)
        outputs[spec.name] = table.swapaxes(0, 1)[counts.T]
    return outputs, places.T[counts.T]
