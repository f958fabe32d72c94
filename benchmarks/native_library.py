"""libedgestep and the timer of ``kernel_time.c``, compiled into one library for benchmarks."""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
# Instruction sets to leave out, such as "AVX512", before the library is first compiled.
without: list[str] = []
# As in pyproject.toml; the timer alone may use all that this machine has.
FLAGS = ["-O3", "-fPIC", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]


@functools.cache
def timer() -> ctypes.CDLL:
    """Compile and load the library.

    Raises:
        click.ClickException: there is no C compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise click.ClickException("this benchmark needs a C compiler (apt install gcc)")
    folder = Path(tempfile.mkdtemp(prefix="edgestep-"))
    timing, library = folder / "time.o", folder / "timed.so"
    source = str(ROOT / "benchmarks" / "kernel_time.c")
    sources = sorted(map(str, (ROOT / "native" / "src").glob("*.c")))
    left_out = [f"-DES_NO_{name}" for name in without]
    for command in (
        [compiler, "-std=gnu11", "-march=native", *FLAGS, "-c", source, "-o", str(timing)],
        [
            compiler,
            "-std=c11",
            *FLAGS,
            *left_out,
            "-shared",
            *sources,
            str(timing),
            "-o",
            str(library),
        ],
    ):
        subprocess.run(command, check=True)
    loaded = ctypes.CDLL(str(library))
    size, pointer, text = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_char_p
    for name, result, arguments in (
        ("es_load", ctypes.c_int, [text, size, pointer, text]),
        ("es_stream_bytes", size, [pointer]),
        ("es_open", pointer, [pointer, pointer]),
        ("es_input_bytes", size, [pointer]),
        ("es_output_bytes", size, [pointer]),
        ("es_state_bytes", size, [pointer]),
        ("es_set_state", None, [pointer, text]),
        ("es_instruction_set", text, []),
        ("time_step_bytes", ctypes.c_double, [pointer, text, size, size, text]),
        ("time_step", ctypes.c_double, [pointer, text, size, size, text]),
        ("time_read", ctypes.c_double, [pointer, size, size]),
    ):
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    shutil.rmtree(folder)
    return loaded


class Block:
    """Aligned memory of ``size`` bytes."""

    def __init__(self, size: int, alignment: int = 4096) -> None:
        self._memory = ctypes.create_string_buffer(size + alignment)
        start = ctypes.addressof(self._memory)
        self.address = start + -start % alignment


class Steps:
    """A model in libedgestep, with a stream that steps some frames in C."""

    def __init__(self, path: Path, frames: bytes) -> None:
        self._library = library = timer()
        data, why, model = path.read_bytes(), ctypes.create_string_buffer(256), ctypes.c_void_p()
        if library.es_load(data, len(data), ctypes.byref(model), why):
            raise click.ClickException(f"{path}: {why.value.decode()}")
        self._block = Block(library.es_stream_bytes(model))
        self._stream = library.es_open(model, self._block.address)
        self._frames, self._bytes = frames, library.es_input_bytes(model)
        self._outputs = ctypes.create_string_buffer(library.es_output_bytes(model))

    def nanoseconds(self) -> float:
        """Step all frames; return the mean time of a step."""
        count = len(self._frames) // self._bytes
        elapsed: float = self._library.time_step_bytes(
            self._stream, self._frames, self._bytes, count, self._outputs
        )
        return elapsed


def read_nanoseconds(block: Block, size: int, repeats: int) -> float:
    """Return how long it takes to read ``size`` bytes, rounded up to 512."""
    elapsed: float = timer().time_read(block.address, -(-size // 512) * 512, repeats)
    return elapsed
