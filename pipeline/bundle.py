"""Bundle the on-device program as one file: ``device_runner`` as a zip that Python runs."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import device_runner
from device_runner.atomic_write import write_atomically
from device_runner.backends import native_library

BUNDLE_NAME = "edgestep-device.pyz"
_SHEBANG = b"#!/usr/bin/env python3\n"
_MAIN = "from device_runner.cli import main\n\nmain(prog_name='edgestep-device')\n"
# The oldest time that a ZIP can hold, so that the same sources give the same bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_bundle(path: Path) -> Path:
    """Write the on-device program to ``path``, replacing an existing file atomically.

    It runs wherever Python finds numpy and click, and a runtime if libedgestep does not run there.
    That is carried for the machines that "make wheels" compiled it for, or as it was compiled for
    this machine. (The standard library's zipapp needs a folder with the package and a ``__main__``,
    and stores the current time.)
    """
    package = Path(device_runner.__file__).parent
    files = sorted(file for file in package.rglob("*") if file.suffix in (".py", ".json"))
    program = io.BytesIO()
    program.write(_SHEBANG)
    with zipfile.ZipFile(program, "w") as archive:
        for file in files:
            name = file.relative_to(package.parent).as_posix()
            _add(archive, name, file.read_bytes())
        for name, file in sorted(_libraries(package).items()):
            _add(archive, f"{package.name}/{native_library.FOLDER}/{name}", file.read_bytes())
        _add(archive, "__main__.py", _MAIN.encode())
    write_atomically(path, program.getvalue(), mode=0o755)
    return path


def _libraries(package: Path) -> dict[str, Path]:
    """Find libedgestep and the module that calls it, for each machine, by name in the program."""
    folder, machine = package / native_library.FOLDER, native_library.this_machine()
    found = {file.name: file for file in folder.glob("*.so")}
    compiled = {
        native_library.library_name(machine): native_library.compiled_files(),
        native_library.call_module_name(machine): sorted(package.glob("native_call*.so")),
    }
    for name, files in compiled.items():
        if files and sys.platform == "linux":
            found.setdefault(name, files[-1])
    return found


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
