"""The profile of a target, read from its JSON file."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from typing import Any

from convert.errors import UnknownTargetError
from convert.targets import DATA, TARGETS


@dataclass(frozen=True)
class Source:
    """Where a fact of a profile is from: a page, or the command or test that measured it."""

    what: str
    where: str
    date: str


@dataclass(frozen=True)
class OperatorProfile:
    """What a target says of an operator: names of convert.targets.operator_rules.RULES that it must
    keep, limits that are documented and not checked here, the oldest runtime of the target that has
    it, and whether it was not tried but only read about."""

    rules: tuple[str, ...] = ()
    limits: str | None = None
    runtime: int | None = None
    documented: bool = False


@dataclass(frozen=True)
class Profile:
    """What a target takes.

    ``operators`` is None where it takes those of the runtime. ``dtypes`` may stand anywhere,
    ``constant_dtypes`` in constants alone; ``slow_dtypes`` are taken, for ``slow_reason`` better
    avoided. Of a tensor's axes only the innermost ``inner_axes`` may be longer than 1.
    ``tensorflow_lite`` is the release whose operator versions the target knows. ``all_rules`` hold
    for every operator. ``rest`` says what becomes of a graph that does not map as a whole;
    ``rest_on_cpu`` whether it runs all the same. ``schemes`` are those worth trying, the cheapest
    first, and ``schemes_reason`` why in this order.
    """

    name: str
    title: str
    sources: tuple[Source, ...]
    schemes: tuple[str, ...]
    schemes_reason: str
    dtypes: frozenset[str]
    constant_dtypes: frozenset[str]
    rest: str
    rest_on_cpu: bool
    operators: dict[str, OperatorProfile] | None
    slow_dtypes: frozenset[str] = frozenset()
    slow_reason: str = ""
    inner_axes: int | None = None
    tensorflow_lite: str | None = None
    own_output_tensors: bool = False
    all_rules: tuple[str, ...] = field(default=())


@functools.cache
def get_profile(target: str) -> Profile:
    """The profile of a target; UnknownTargetError where there is no such target."""
    if target not in TARGETS:
        raise UnknownTargetError("target", target, TARGETS)
    raw: dict[str, Any] = json.loads((DATA / f"{target}.json").read_text(encoding="utf-8"))
    operators = raw["operators"]
    sets = ("dtypes", "constant_dtypes", "slow_dtypes")
    lists = ("schemes", "all_rules")
    rest: dict[str, Any] = {
        key: frozenset(value) if key in sets else tuple(value) if key in lists else value
        for key, value in raw.items()
        if key not in ("sources", "operators")
    }
    return Profile(
        name=target,
        sources=tuple(Source(**source) for source in raw["sources"]),
        operators=None
        if operators == "runtime"
        else {
            name: OperatorProfile(**{**entry, "rules": tuple(entry.get("rules", ()))})
            for name, entry in operators.items()
        },
        **rest,
    )
