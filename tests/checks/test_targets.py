"""Every target that is listed."""

import pytest

from convert.targets import TARGETS
from tests.checks.targets import check_target


@pytest.mark.parametrize("name", TARGETS)
def test_target(name, step_models):
    check_target(name, [step_models("gru", scheme) for scheme in ("int8", "float32")])
