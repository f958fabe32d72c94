"""Every scheme that is listed, on an LSTM, which has a state without a bound."""

import pytest

from convert.schemes import SCHEMES
from tests.checks.schemes import check_scheme


@pytest.mark.parametrize("name", SCHEMES)
def test_scheme(name, step_models):
    check_scheme(name, step_models("lstm", name), step_models("lstm", "float32"))
