"""How trials stand to each other: which of them none beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.sweep.front import front
from pipeline.sweep.log import SweepLog
from pipeline.sweep.settings import SweepSettings


def losses(
    records: Sequence[Mapping[str, Any]], names: Sequence[str], directions: Mapping[str, bool]
) -> list[list[float]]:
    """Turn objectives into numbers that are to be small, [records, objectives]."""
    return [
        [
            -one["objectives"][name] if directions[name] else one["objectives"][name]
            for name in names
        ]
        for one in records
    ]


def front_of(log: SweepLog, settings: SweepSettings) -> list[int]:
    """List the numbers of the complete trials that none beats, the smallest loss first."""
    records, names = log.complete(), settings.objective_names
    if not records or log.header is None:
        return []
    points = losses(records, names, log.header["directions"])
    best = sorted(front(points), key=lambda index: points[index])
    return [records[index]["trial"] for index in best]
