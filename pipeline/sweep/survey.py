"""What networks cost, found before any of them is trained: for the sampler "ehvi".

Settings of the training change no graph, so points that differ in nothing else share one network
here. Of a large space some networks are drawn.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator

from pipeline.sweep.expected_gain import Candidate
from pipeline.sweep.jobs import DONE
from pipeline.sweep.log import SweepLog
from pipeline.sweep.settings import ACCURACY, BYTES, RangeSection, SweepSettings
from pipeline.sweep.space import Dimension, Point, Space, key_of

TRAINING = "training."
# Of settings of the training that cannot be counted, so many are drawn for each network.
DRAWN_SETTINGS = 16
# A space with more networks than this is not listed but drawn from.
LISTED = 20_000


def graph_key(point: Point) -> str:
    """Return what tells a point's network from others before it is trained."""
    return key_of({name: one for name, one in point.items() if not name.startswith(TRAINING)})


def graphs(space: Space) -> list[Point]:
    """List a point of each network to survey, the same ones whenever it is asked."""
    parts = {name: one for name, one in space.dimensions.items() if not name.startswith(TRAINING)}
    rest = {name: one for name, one in space.ends().items() if name not in parts}
    most, chance = space.settings.search.candidates, _chance(space.settings, "graphs")
    counts = [len(one.values) if one.values is not None else LISTED for one in parts.values()]
    if math.prod(counts) <= LISTED:
        whole = [{**rest, **point} for point in _product(parts)]
        return whole if len(whole) <= most else chance.sample(whole, most)
    drawn: dict[str, Point] = {}
    while len(drawn) < most:
        point = {**rest, **{name: _drawn(one, chance) for name, one in parts.items()}}
        drawn[key_of(point)] = point
    return list(drawn.values())


def candidates(space: Space, log: SweepLog) -> list[Candidate]:
    """List the points that may be tried: surveyed networks that keep their constraints, with each
    choice for their training."""
    parts = {name: one for name, one in space.dimensions.items() if name.startswith(TRAINING)}
    chance = _chance(space.settings, "candidates")
    found = []
    for point in graphs(space):
        line = log.surveyed.get(graph_key(point))
        if line is None or line["state"] != DONE:
            continue
        if any(beyond > 0 for beyond in line["violations"].values()):
            continue
        costs = tuple(
            float(line[BYTES] if name == BYTES else
                  log.measured[name.partition(":")[2], line["sha256"]]["p99_ns"])
            for name in space.settings.objective_names if name != ACCURACY
        )  # fmt: skip
        if all(one.values is not None for one in parts.values()):
            settings = list(_product(parts))
        else:
            settings = [{name: _drawn(one, chance) for name, one in parts.items()}
                        for _ in range(DRAWN_SETTINGS)]  # fmt: skip
        found += [Candidate({**point, **one}, costs, line["parameters"]) for one in settings]
    return found


def _product(parts: dict[str, Dimension]) -> Iterator[Point]:
    for chosen in itertools.product(*(one.values or [] for one in parts.values())):
        yield dict(zip(parts, chosen, strict=True))


def _drawn(dimension: Dimension, chance: random.Random) -> object:
    if dimension.values is not None:
        return chance.choice(dimension.values)
    choices = dimension.choices
    assert isinstance(choices, RangeSection)  # noqa: S101 (lists can be counted)
    if choices.log:
        return math.exp(chance.uniform(math.log(choices.low), math.log(choices.high)))
    if choices.step is None:
        return chance.uniform(choices.low, choices.high)
    steps = math.floor((choices.high - choices.low) / choices.step)
    return choices.low + chance.randint(0, steps) * choices.step


def _chance(settings: SweepSettings, what: str) -> random.Random:
    return random.Random(f"{settings.search.seed}/{what}")  # noqa: S311
