"""What is said of the machine."""

import struct
import sys

import pytest

from device_runner.measure import machine

X86_64, AARCH64, ARM = 62, 183, 40


def elf_header(cpu: int, bits: int = 64) -> bytes:
    """Return the first 20 bytes of a little-endian ELF program."""
    identification = b"\x7fELF" + bytes([bits // 32, 1, 1]) + bytes(9)
    return identification + struct.pack("<HH", 3, cpu)


def test_this_python_is_not_emulated():
    assert machine.emulated() is False
    assert machine.describe_machine()["emulated"] is False


@pytest.mark.parametrize(
    ("running", "python", "emulated"),
    [
        (elf_header(X86_64), elf_header(AARCH64), True),
        (elf_header(AARCH64), elf_header(X86_64), True),
        # 32-bit programs on a 64-bit kernel are not emulated.
        (elf_header(ARM, 32), elf_header(ARM, 32), False),
        (elf_header(AARCH64), elf_header(ARM, 32), True),
        # Nothing is guessed: a shell script in Python's place, no /proc.
        (elf_header(X86_64), b"#!/bin/sh\nexec python3\n", False),
        (None, elf_header(AARCH64), False),
    ],
)
def test_emulation_shows_in_the_program_that_the_kernel_runs(
    running, python, emulated, monkeypatch, tmp_path
):
    for name, content in (("running", running), ("python", python)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(machine, "_RUNNING_PROGRAM", tmp_path / "running")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert machine.emulated() is emulated
