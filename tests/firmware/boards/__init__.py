"""Boards that qemu emulates: an exported model is built for one, run, and measured."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convert.exporters.c_source import c_literal
from convert.exporters.firmware.layouts import export_firmware
from convert.exporters.firmware.source import FirmwareSource
from device_runner.model.step_file import StepModel

HERE = Path(__file__).parent
_WARNINGS = ("-Wall", "-Wextra", "-Werror")
# 1 ns of the emulated time is one instruction.
_COUNTING = ("-icount", "shift=0")
_NUMBERS = re.compile(r"^(\w+) (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Board:
    """A board.

    Attributes:
        name: the processor.
        tools: the prefix of the compiler's programs.
        flags: of the compiler; for what processor.
        libc: the flag that chooses the C library with memcpy and memset.
        source: the file with its start.
        emulator: the command.
        flash, ram: where the program and its data begin.
        instructions_a_tick: of the counter that ``board_ticks`` reads.
    """

    name: str
    tools: str
    flags: tuple[str, ...]
    libc: str
    source: str
    emulator: tuple[str, ...]
    flash: int
    ram: int
    instructions_a_tick: float

    def missing(self) -> str | None:
        """Name a program that is needed and not installed."""
        programs = (f"{self.tools}-gcc", self.emulator[0])
        return next((program for program in programs if shutil.which(program) is None), None)


def _cortex(name: str, machine: str, megahertz: float, flash: int, ram: int, *flags: str) -> Board:
    return Board(
        name, "arm-none-eabi", ("-mthumb", *flags), "--specs=nano.specs", "cortex_m.c",
        ("qemu-system-arm", "-M", machine), flash, ram, 1000 / megahertz,
    )  # fmt: skip


def _riscv(name: str, architecture: str, abi: str) -> Board:
    return Board(
        name, "riscv64-unknown-elf", (f"-march={architecture}", f"-mabi={abi}", "-misa-spec=2.2"),
        "--specs=picolibc.specs", "riscv.c",
        ("qemu-system-riscv32", "-M", "virt", "-bios", "none"), 0x80000000, 0x80400000, 1.0,
    )  # fmt: skip


BOARDS = (
    _cortex("Cortex-M3", "mps2-an385", 25, 0, 0x20000000, "-mcpu=cortex-m3"),
    _cortex("Cortex-M4", "mps2-an386", 25, 0, 0x20000000, "-mcpu=cortex-m4",
            "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
    _cortex("Cortex-M7", "mps2-an500", 25, 0, 0x20000000, "-mcpu=cortex-m7",
            "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"),
    _cortex("Cortex-M55", "mps3-an547", 32, 0x10000000, 0x30000000, "-mcpu=cortex-m55",
            "-mfloat-abi=hard"),
    _riscv("RV32IMAC", "rv32imac", "ilp32"),
    _riscv("RV32IMAFC", "rv32imafc", "ilp32f"),
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What a board printed, and what the program takes.

    Attributes:
        bytes: what each frame of bytes gave.
        values: status and float32 bytes of each frame of real values.
        state: the state after the frames of bytes.
        self_test: what the model's self-test returned.
        instructions: executed in a step of bytes.
        stack: bytes that a step takes of the stack.
        code: bytes of the model's code with what it takes from the compiler's library, without
            constants.
        constants: bytes of the model's constants.
        stream: bytes of a stream, state and values of a step.
    """

    bytes: tuple[bytes, ...]
    values: tuple[tuple[int, bytes], ...]
    state: bytes
    self_test: int
    instructions: float
    stack: int
    code: int
    constants: int
    stream: int


def run_on_board(board: Board, model: StepModel, frames: list[bytes], folder: Path) -> Run:
    """Export a model, build it for a board and step it there.

    Args:
        frames: stored bytes of a frame each.
        folder: where everything is written.
    """
    source = export_firmware(model, folder, "plain", "net", force=True).source
    real = np.asarray(model.golden.x, np.float32).reshape(len(model.golden.x), -1)
    (folder / "frames.h").write_text(_frames_header(source, frames, list(real)))
    program = _build(board, folder, "program")
    command = [
        *board.emulator, *_COUNTING, "-semihosting-config", "enable=on,target=native",
        "-display", "none", "-monitor", "none", "-serial", "none", "-kernel", str(program),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    printed = done.stdout + done.stderr
    found: dict[str, list[str]] = {}
    for name, text in _NUMBERS.findall(printed):
        found.setdefault(name, []).append(text.strip())
    if "stack" not in found:
        raise RuntimeError(f"{board.name} printed {printed[-400:]!r}")
    values = [line.split() for line in found["values"]]
    bare, nothing = (
        _flash(board, _build(board, folder, name, f"-D{name.upper()}"))
        for name in ("bare", "nothing")
    )
    return Run(
        bytes=tuple(bytes.fromhex(text) for text in found["bytes"]),
        values=tuple((int(status), bytes.fromhex(y)) for status, y in values),
        state=bytes.fromhex(found["state"][0]),
        self_test=int(found["self_test"][0]),
        instructions=int(found["ticks"][0]) * board.instructions_a_tick / len(frames),
        stack=int(found["stack"][0]),
        code=bare - nothing - source.constant_bytes,
        constants=source.constant_bytes,
        stream=source.block_bytes + 8,
    )


def _build(board: Board, folder: Path, name: str, *flags: str) -> Path:
    """Compile the program with a model."""
    program = folder / f"{name}.elf"
    sources = [HERE / "program.c", HERE / board.source, *sorted(folder.glob("edgestep_*.c"))]
    command = [
        f"{board.tools}-gcc", *board.flags, board.libc, "-std=gnu11", "-O2", *_WARNINGS, *flags,
        "-ffunction-sections", "-fdata-sections", "-nostartfiles", "-Wl,--gc-sections",
        f"-I{folder}", f"-I{HERE}", f"-Wl,--defsym=FLASH={board.flash:#x}",
        f"-Wl,--defsym=RAM={board.ram:#x}", f"-T{HERE / 'board.ld'}", "-o", str(program),
        *map(str, sources),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{board.name}: {done.stderr[-2000:]}")
    return program


def _flash(board: Board, program: Path) -> int:
    """Return the bytes of a program's code and constants, and of its data's first values."""
    command = [f"{board.tools}-size", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    text, data = done.stdout.splitlines()[1].split()[:2]
    return int(text) + int(data)


def _frames_header(source: FirmwareSource, frames: list[bytes], real: list[np.ndarray]) -> str:
    name, upper = source.name, source.name.upper()
    stored = ",\n".join("{" + ", ".join(map(str, frame)) + "}" for frame in frames)
    values = ",\n".join("{" + ", ".join(f"{c_literal(v)}" for v in x.tolist()) + "}" for x in real)
    macros = "".join(
        f"#define {macro} {name}_{macro.lower()}\n"
        for macro in ("STREAM", "RESET", "STEP", "STEP_BYTES", "GET_STATE", "SELF_TEST")
    ) + "".join(
        f"#define {macro} {upper}_{macro}\n"
        for macro in ("INPUT_VALUES", "OUTPUT_VALUES", "OUTPUT_BYTES", "STATE_BYTES")
    )
    return (
        f'#include "{name}.h"\n{macros}'
        f"#define FRAMES {len(frames)}\n#define REAL_FRAMES {len(real)}\n"
        f"static const unsigned char frames[FRAMES][{upper}_INPUT_BYTES] = {{{stored}}};\n"
        f"static const float real_frames[REAL_FRAMES][{upper}_INPUT_VALUES] = {{{values}}};\n"
    )
