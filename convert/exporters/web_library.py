"""libedgestep as WebAssembly: found in the package, or compiled from the sources beside it.

The compiled library is not kept in the repository. ``make web`` makes it with clang and lld, and
wheels carry it. In a checkout the file's name has the hash of what it was compiled from, so an old
one is not taken for the present one.

    python -m convert.exporters.web_library
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import click

from convert.errors import NotExportableError
from device_runner.errors import MissingRuntimeError

FOLDER = Path(__file__).parent / "web"
SOURCES = Path(__file__).parents[2] / "native"
# A model's plan as text is for export-c, and prints more than wasm/libc.c can.
LEFT_OUT = ("describe.c",)
# A page's model and its streams; beyond that loading fails with a message.
MOST_MEMORY_BYTES = 256 * 1024 * 1024
STACK_BYTES = 256 * 1024
# As in pyproject.toml. A float that no integer holds gives the nearest one, and does not trap.
COMPILE = (
    "--target=wasm32", "-nostdlib", "-std=c11", "-O3", "-msimd128", "-mnontrapping-fptoint",
    "-mbulk-memory", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
    "-fvisibility=hidden", "-DNDEBUG",
)  # fmt: skip
# What a page calls.
EXPORTS = (
    "malloc", "es_load_parts", "es_stream_bytes", "es_open", "es_reset", "es_input_values",
    "es_output_values", "es_input_bytes", "es_output_bytes", "es_step", "es_step_bytes",
    "es_state_bytes", "es_get_state", "es_set_state", "es_instruction_set",
)  # fmt: skip
LINK = (
    "-Wl,--no-entry", *(f"-Wl,--export={name}" for name in EXPORTS), "-Wl,--stack-first",
    "-Wl,--strip-all",
    f"-Wl,-z,stack-size={STACK_BYTES}",
    f"-Wl,--max-memory={MOST_MEMORY_BYTES}",
)  # fmt: skip
_INSTALL = "install clang and lld, or an edgestep wheel, which carries it"


def web_library() -> bytes:
    """Return the library, compiled if it is not there.

    Raises:
        MissingRuntimeError: it is not in the package, and there are no sources or no compiler.
        NotExportableError: the compiler fails.
    """
    if not sources():
        kept = sorted(FOLDER.glob("*.wasm"))
        if not kept:
            raise MissingRuntimeError(f"this edgestep has no libedgestep for browsers; {_INSTALL}")
        return kept[-1].read_bytes()
    path = library_path()
    if path.is_file():
        return path.read_bytes()
    library = compile_library()
    try:
        # A name of its own, as others may compile it at the same time.
        with tempfile.TemporaryDirectory(dir=FOLDER, prefix="partial-") as folder:
            Path(folder, path.name).write_bytes(library)
            os.replace(Path(folder, path.name), path)
    except OSError:
        return library  # a checkout that is not ours to write
    for other in FOLDER.glob("*.wasm"):
        if other != path:
            other.unlink(missing_ok=True)
    return library


def sources() -> list[Path]:
    """List the C files that the library is compiled from; none in an installed package."""
    files = [*SOURCES.glob("src/*.c"), *SOURCES.glob("wasm/*.c")]
    return sorted(file for file in files if file.name not in LEFT_OUT)


def library_path() -> Path:
    """Return where the library of the present sources lies, or will."""
    headers = [*SOURCES.glob("*/*.h"), *SOURCES.glob("wasm/include/*.h")]
    found = hashlib.sha256(" ".join([*COMPILE, *LINK]).encode())
    for file in sorted([*sources(), *headers]):
        found.update(file.relative_to(SOURCES).as_posix().encode() + b"\0" + file.read_bytes())
    return FOLDER / f"libedgestep-{found.hexdigest()[:16]}.wasm"


def compile_library(*options: str) -> bytes:
    """Compile the library, with further options of the compiler.

    Raises:
        MissingRuntimeError: clang or wasm-ld is missing.
        NotExportableError: the compiler fails.
    """
    compiler = shutil.which("clang")
    if compiler is None or shutil.which("wasm-ld") is None:
        raise MissingRuntimeError(f"libedgestep is not compiled for browsers; {_INSTALL}")
    with tempfile.TemporaryDirectory(prefix="edgestep-web-") as folder:
        output = Path(folder, "libedgestep.wasm")
        command: list[str | Path] = [
            compiler, *COMPILE, *options, "-I", SOURCES / "wasm" / "include", *sources(), *LINK,
            "-o", output,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "error:" in line]
            reason = lines[0] if lines else "it gives no reason"
            raise NotExportableError(
                f"clang does not compile libedgestep for browsers ({reason}); "
                "it needs the target wasm32, as clang 14 has it"
            )
        return output.read_bytes()


if __name__ == "__main__":
    web_library()
    click.echo(f"{library_path()}  {library_path().stat().st_size:,} bytes")
