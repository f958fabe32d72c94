"""The public face of edgestep: what a user's program imports.

>>> import edgestep
>>> edgestep.Stream.__module__
'device_runner.stream'

Nothing is imported before it is used, so that a device needs no TensorFlow. Nothing else is here:
each name is made where it belongs, in ``device_runner`` and ``convert``.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convert.file_conversion import convert_file as convert
    from device_runner.measure.bench_files import bench_files as bench
    from device_runner.model.step_file import load_step_model
    from device_runner.stream import Stream

__all__ = ["Stream", "bench", "convert", "load_step_model"]

# Where each name is made: its module, its name there, and those of our packages that it needs.
_DEVICE = ("device_runner",)
_WORKSTATION = ("models", "calibration", "convert", "device_runner")
_HOMES = {
    "Stream": ("device_runner.stream", "Stream", _DEVICE),
    "load_step_model": ("device_runner.model.step_file", "load_step_model", _DEVICE),
    "bench": ("device_runner.measure.bench_files", "bench_files", _DEVICE),
    "convert": ("convert.file_conversion", "convert_file", _WORKSTATION),
}
# The folder that holds all our packages.
_ROOT = Path(__file__).resolve().parents[1]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgestep' has no attribute '{name}'")
    module, name_there, packages = _HOMES[name]
    for package in packages:
        _check_ours(package, name)
    found = getattr(importlib.import_module(module), name_there)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _check_ours(package: str, wanted_by: str) -> None:
    """Raise ImportError if a user's own package of this name would be imported instead of ours."""
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # loaded by hand, without a spec
        spec = None
    places = list(spec.submodule_search_locations or ()) if spec else []
    if places and Path(places[0]).resolve() == _ROOT / package:
        return
    in_the_way = (places[0] if places else spec.origin) if spec else "a module of that name"
    raise ImportError(
        f"edgestep.{wanted_by} needs edgestep's package '{package}', but {in_the_way} is imported "
        "under that name; rename it, or use the command edgestep, which never mistakes them",
        name=package,
    )
