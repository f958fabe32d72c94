"""Find libedgestep and the module that calls it, and load them.

They lie beside this package where they were compiled at installation or came in a wheel. The
device program carries those of several machines in ``device_runner/libraries``; it is a ZIP, so
they are loaded from memory.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.machinery
import importlib.util
import os
import pkgutil
import platform
import sys
from pathlib import Path
from types import ModuleType

from device_runner.errors import MissingRuntimeError, one_line

PACKAGE = "device_runner"
FOLDER = "libraries"
# Of these machines, by platform.machine(); "make wheels" compiles them.
MACHINES = ("x86_64", "aarch64", "armv7l")
# A build names the file after Python's own platform tag.
_LIBRARY_FILES = "libedgestep*.so"
_CALL_MODULE = "native_call"


def this_machine() -> str:
    """Name the machine that this Python was compiled for, which may be the CPU's older half."""
    machine = platform.machine()
    if sys.maxsize < 2**32 and machine in ("aarch64", "armv8l"):
        return "armv7l"
    return machine


def library_name(machine: str) -> str:
    """Name the library of a machine in ``libraries``."""
    return f"libedgestep-{machine}.so"


def call_module_name(machine: str) -> str:
    """Name the calling module of a machine in ``libraries``."""
    return f"{_CALL_MODULE}-{machine}.so"


def compiled_files() -> list[Path]:
    """List the libraries beside this package, the preferred one last."""
    return sorted(Path(__file__).parents[1].glob(_LIBRARY_FILES))


@functools.cache
def load_library() -> ctypes.CDLL:
    """Load the library and declare its functions.

    Raises:
        MissingRuntimeError: it was not compiled, or does not load.
    """
    files = compiled_files()
    path = str(files[-1]) if files else _carried(library_name(this_machine()))
    if path is None:
        raise MissingRuntimeError(
            "libedgestep is not compiled; install a C compiler and edgestep again"
        )
    try:
        return _declared(ctypes.CDLL(path))
    except (OSError, AttributeError) as error:
        raise MissingRuntimeError(
            f"libedgestep does not load ({one_line(error)}); install edgestep again"
        ) from error


@functools.cache
def load_call_module() -> ModuleType | None:
    """Load the module that calls the library with little around it; None if it is not here."""
    name = f"{PACKAGE}.{_CALL_MODULE}"
    try:
        if importlib.util.find_spec(name) is not None:
            return importlib.import_module(name)
        if sys.implementation.name != "cpython":
            return None
        path = _carried(call_module_name(this_machine()))
        if path is None:
            return None
        loader = importlib.machinery.ExtensionFileLoader(name, path)
        spec = importlib.machinery.ModuleSpec(name, loader, origin=path)
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
    except (ImportError, OSError):
        return None
    return module


def _carried(name: str) -> str | None:
    """Return a path of a file in ``libraries`` that can be loaded; None if it is not there."""
    folder = Path(__file__).parents[1] / FOLDER
    if (folder / name).is_file():
        return str(folder / name)
    try:
        content = pkgutil.get_data(PACKAGE, f"{FOLDER}/{name}")
        if content is None:
            return None
        # The file stays open: the loader takes two files of one name for the same.
        number = os.memfd_create(name)
        with open(number, "wb", closefd=False) as file:
            file.write(content)
    except (OSError, AttributeError):  # no such file; no such call on this system
        return None
    return f"/proc/self/fd/{number}"


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    size, pointer, text = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_char_p
    for name, result, arguments in (
        ("es_load_parts", ctypes.c_int, [text, size, text, size, pointer, text]),
        ("es_free", None, [pointer]),
        ("es_stream_bytes", size, [pointer]),
        ("es_open", pointer, [pointer, pointer]),
        ("es_input_bytes", size, [pointer]),
        ("es_output_bytes", size, [pointer]),
        ("es_step_bytes", size, None),
        ("es_step", ctypes.c_int, None),
        ("es_state_bytes", size, [pointer]),
        ("es_get_state", None, [pointer, text]),
        ("es_set_state", None, [pointer, text]),
        ("es_instruction_set", text, []),
    ):
        function = getattr(library, name)
        function.restype = result
        # A call without a declaration is faster; its arguments are made once, as pointers.
        if arguments is not None:
            function.argtypes = arguments
    return library
