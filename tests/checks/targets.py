"""What every target must keep; run for all that are listed in convert.targets.TARGETS."""

from __future__ import annotations

import re
from pathlib import Path

from convert.scheme_choice import candidates
from convert.schemes import parse_scheme
from convert.targets import TARGETS
from convert.targets.check import check_file
from convert.targets.operator_rules import OPERATOR_RULES
from convert.targets.profile import get_profile
from device_runner.model.tflite_schema import OPERATOR_NAMES, TENSOR_TYPES


def check_target(name: str, models: list[Path]) -> None:
    """Hold a target's profile against the tables that it names, and models against the profile.

    Args:
        models: step models, of which the target takes one at least.
    """
    _says_what_it_is(name)
    _names_what_exists(name)
    assert any(check_file(model, name).fits for model in models)


def _says_what_it_is(name: str) -> None:
    profile, entry = get_profile(name), TARGETS[name]
    assert entry.source
    assert entry.purpose
    assert profile.sources
    for source in profile.sources:
        assert source.what
        assert source.where
        assert re.match(r"20\d\d", source.date)
    assert profile.schemes_reason
    assert profile.rest


def _names_what_exists(name: str) -> None:
    profile = get_profile(name)
    dtypes = {name for name, _ in TENSOR_TYPES}
    assert profile.dtypes | profile.constant_dtypes | profile.slow_dtypes <= dtypes
    assert set(profile.operators or ()) <= set(OPERATOR_NAMES)
    rules = [rule for entry in (profile.operators or {}).values() for rule in entry.rules]
    assert {*rules, *profile.all_rules} <= set(OPERATOR_RULES)
    for scheme in profile.schemes:
        assert str(parse_scheme(scheme)) == scheme
    assert tuple(map(str, candidates(name))) == profile.schemes
