"""The profile of a target, read from its JSON file."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

from convert.errors import UnknownTargetError
from convert.targets import DATA, TARGETS


@dataclass(frozen=True)
class Source:
    """Where a fact of a profile comes from: a page, or the command or test that measured it."""

    what: str
    where: str
    date: str


@dataclass(frozen=True)
class OperatorProfile:
    """What a target says about an operator.

    Attributes:
        rules: names of convert.targets.operator_rules.OPERATOR_RULES that it must keep.
        limits: limits that are documented but not checked here.
        runtime: the oldest runtime of the target that has it.
        documented: whether this is only documented, not tried.
    """

    rules: tuple[str, ...] = ()
    limits: str | None = None
    runtime: int | None = None
    documented: bool = False


@dataclass(frozen=True)
class Profile:
    """What a target takes.

    Attributes:
        name: the target's name in convert.targets.TARGETS.
        title: what it is, in words.
        sources: where its facts come from.
        schemes: names of those worth trying, the cheapest first.
        schemes_reason: why in this order.
        dtypes: dtypes that any tensor may have.
        constant_dtypes: dtypes that only constants may have.
        rest: what becomes of a graph that does not map as a whole.
        rest_on_cpu: whether that rest runs on the CPU.
        operators: by name; None if the target takes those of the runtime.
        slow_dtypes: dtypes that are taken but better avoided.
        slow_reason: why they are slow.
        inner_axes: how many innermost axes of a tensor may be longer than 1; None for any number.
        tensorflow_lite: the release whose operator versions the target knows; None for any.
        own_output_tensors: whether every output must have a tensor of its own.
        open_shapes: whether a batch or a number of steps may be left open (-1 in a signature); the
            runtime resizes it, or takes it as 1.
        control_flow: whether further subgraphs are taken that loops, branches and CALL_ONCE call.
        all_rules: names of rules that hold for every operator.
        compiled_operator: what the target's compiler puts in place of the operators it took.
        next_command: what to run with a step model made for it; None if the file is all that is
            needed.
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
    open_shapes: bool = False
    control_flow: bool = False
    all_rules: tuple[str, ...] = ()
    compiled_operator: str | None = None
    next_command: str | None = None


@functools.cache
def get_profile(target: str) -> Profile:
    """Read the profile of a target; UnknownTargetError if there is no such target."""
    if target not in TARGETS:
        raise UnknownTargetError("target", target, TARGETS)
    raw: dict[str, Any] = json.loads((DATA / TARGETS[target].profile).read_text(encoding="utf-8"))
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
