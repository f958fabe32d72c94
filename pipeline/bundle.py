"""Bundle the on-device program as one file: ``device_runner`` as a zip that Python runs."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import device_runner
from device_runner.atomic_write import write_atomically

BUNDLE_NAME = "edgestep-device.pyz"
_SHEBANG = b"#!/usr/bin/env python3\n"
_MAIN = "from device_runner.cli import main\n\nmain(prog_name='edgestep-device')\n"
# The oldest time that a ZIP can hold, so that the same sources give the same bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_bundle(path: Path) -> Path:
    """Write the on-device program to ``path``, replacing an existing file atomically.

    It runs wherever Python finds numpy, click and one runtime. (The standard library's zipapp needs
    a folder with the package and a ``__main__``, and stores the current time.)
    """
    package = Path(device_runner.__file__).parent
    files = sorted(file for file in package.rglob("*") if file.suffix in (".py", ".json"))
    program = io.BytesIO()
    program.write(_SHEBANG)
    with zipfile.ZipFile(program, "w") as archive:
        for file in files:
            name = file.relative_to(package.parent).as_posix()
            _add(archive, name, file.read_bytes())
        _add(archive, "__main__.py", _MAIN.encode())
    write_atomically(path, program.getvalue(), mode=0o755)
    return path


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
