"""Every compression that is listed."""

import pytest

from models.compress import COMPRESSIONS
from tests.checks.compressions import check_compression

# Settings without a default.
VALUES = {
    "factorize": {"rank": 2},
    "prune": {"sparsity": 0.5},
    "cluster": {"clusters": 8},
}


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_compression(name, tmp_path):
    check_compression(name, VALUES.get(name, {}), tmp_path)
