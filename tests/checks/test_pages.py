"""Every thing that is listed is on its page."""

from pathlib import Path

import pytest

from convert.schemes import SCHEMES
from convert.targets import TARGETS
from device_runner.backends import BACKENDS
from models.compress import COMPRESSIONS
from models.tasks import TASKS

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {
    "tasks.md": TASKS,
    "quantization.md": SCHEMES,
    "targets.md": TARGETS,
    "backends.md": BACKENDS,
    "compression.md": COMPRESSIONS,
}


@pytest.mark.parametrize(
    ("page", "name"), [(page, name) for page, names in PAGES.items() for name in names]
)
def test_it_is_on_its_page(page, name):
    assert name in (DOCS / page).read_text(), f"add {name} to docs/{page}"


@pytest.mark.parametrize("name", SCHEMES)
def test_a_scheme_has_its_row(name):
    assert f"| `{name}` |" in (DOCS / "quantization.md").read_text()
