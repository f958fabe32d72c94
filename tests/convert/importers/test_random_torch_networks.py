"""Random PyTorch networks: exported and stepped, they give what PyTorch gives over sequences."""

import pytest

from convert.importers import ImportHints, import_model
from tests.convert.importers.float_steps import largest_error

pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
pytest.importorskip("onnxruntime")

pytestmark = [pytest.mark.pytorch, pytest.mark.slow]
MODULE = "tests.convert.importers.random_torch_networks"
NETWORKS, GROUPS = 64, 8


@pytest.mark.parametrize("group", range(GROUPS))
def test_random_networks_are_stepped_as_pytorch_computes_them(group):
    hints = ImportHints(frames=(("x", (3,), "values"),))
    errors = {}
    for number in range(group, NETWORKS, GROUPS):
        network = import_model(f"{MODULE}:n{number}", hints=hints)
        errors[number] = largest_error(network)
    assert not {number: error for number, error in errors.items() if error > 1e-4}
