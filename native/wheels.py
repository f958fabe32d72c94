"""Make edgestep's wheels for x86-64, aarch64 and armv7l Linux, with libedgestep compiled in.

Zig's C compiler (the wheel ``ziglang``) compiles for all three against glibc 2.17. The module that
calls the library from Python uses the limited API alone, so one wheel serves Python 3.10 and later.
Each wheel also has the libraries of the other machines, in ``device_runner/libraries``: from there
the device program takes them.

    python native/wheels.py [--machine aarch64]... [--output dist]
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = ROOT / "device_runner" / "libraries"
GLIBC = (2, 17)
_EPOCH = (1980, 1, 1, 0, 0, 0)
_GLIBC_SYMBOL = re.compile(rb"GLIBC_(\d+)\.(\d+)")
# What Python's headers say of the machine that they were made on, where it has 32 bits.
_OF_THE_ADDRESSES = "LONG|VOID_P|SIZE_T|UINTPTR_T|PTHREAD_T|TIME_T"
_SIZES_32 = re.compile(rf"^#define ((?:SIZEOF|ALIGNOF)_(?:{_OF_THE_ADDRESSES})) 8$", re.MULTILINE)


class Machine(NamedTuple):
    """A machine: Zig's name for it, and whether its addresses have 64 bits."""

    target: tuple[str, ...]
    wide: bool


MACHINES = {
    "x86_64": Machine(("-target", "x86_64-linux-gnu.2.17"), True),
    "aarch64": Machine(("-target", "aarch64-linux-gnu.2.17"), True),
    # Cortex-A7 is the oldest of the boards that are meant: a Raspberry Pi 2.
    "armv7l": Machine(("-target", "arm-linux-gnueabihf.2.17", "-mcpu=cortex_a7"), False),
}


def compile_machine(machine: str, folder: Path) -> dict[str, Path]:
    """Compile what a machine needs.

    Returns:
        The files by the name of their extension module in pyproject.toml.

    Raises:
        click.ClickException: the compiler is missing, or fails.
    """
    found = {}
    for module in _extension_modules():
        name = module["name"].rpartition(".")[2]
        found[name] = folder / f"{name}-{machine}.so"
        headers = _headers(machine, folder) if module.get("py-limited-api") else None
        include = [] if headers is None else ["-I", str(headers)]
        sources = [str(ROOT / source) for source in module["sources"]]
        _run(
            [sys.executable, "-m", "ziglang", "cc", *MACHINES[machine].target,
             *module["extra-compile-args"], "-DNDEBUG", "-fPIC", "-shared", "-s", *include,
             *sources, "-lm", "-o", str(found[name])]
        )  # fmt: skip
        _check_glibc(found[name])
    return found


def _check_glibc(file: Path) -> None:
    versions = ((int(a), int(b)) for a, b in _GLIBC_SYMBOL.findall(file.read_bytes()))
    if (needed := max(versions, default=GLIBC)) > GLIBC:
        raise click.ClickException(f"{file.name} needs glibc {needed[0]}.{needed[1]}")


def _extension_modules() -> list[dict[str, Any]]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    with open(ROOT / "pyproject.toml", "rb") as file:
        modules: list[dict[str, Any]] = tomllib.load(file)["tool"]["setuptools"]["ext-modules"]
    return modules


def _headers(machine: str, folder: Path) -> Path:
    """Copy this Python's headers, as they are on a machine of that width."""
    copy = folder / f"python-{machine}"
    if not copy.exists():
        source = Path(sysconfig.get_path("include"))
        if not (source / "Python.h").is_file():
            raise click.ClickException(f"no Python.h in {source}; install Python's headers")
        shutil.copytree(source, copy)
        if not MACHINES[machine].wide:
            configuration = copy / "pyconfig.h"
            configuration.write_text(_SIZES_32.sub(r"#define \1 4", configuration.read_text()))
    return copy


def _run(command: list[str], **options: Any) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it gives no reason"]
        raise click.ClickException(
            f"{' '.join(command[1:4])} fails: {lines[-1]}; "
            "for 'No module named ziglang': pip install -e '.[wheels]'"
        )


def pure_wheel(folder: Path) -> Path:
    """Make the wheel without compiled files: the compiler is one that always fails."""
    setup = "from setuptools import setup; setup()"
    _run(
        [sys.executable, "-c", setup, "-q", "build", "--build-base", str(folder / "build"),
         "bdist_wheel", "--dist-dir", str(folder)],
        cwd=ROOT, env={**os.environ, "CC": "false"},
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    return wheel


def write_wheel(pure: Path, machine: str, compiled: Mapping[str, Path], output: Path) -> Path:
    """Write a machine's wheel: the pure one with the compiled files, and with another tag."""
    tag = f"cp310-abi3-manylinux_{GLIBC[0]}_{GLIBC[1]}_{machine}"
    with zipfile.ZipFile(pure) as archive:
        members = {
            name: archive.read(name) for name in archive.namelist() if not name.endswith(".so")
        }
    (record,) = (name for name in members if name.endswith(".dist-info/RECORD"))
    facts = record.replace("RECORD", "WHEEL")
    kept = [
        line
        for line in members[facts].decode().splitlines()
        if line and not line.startswith(("Tag:", "Root-Is-Purelib:"))
    ]
    members[facts] = "\n".join([*kept, "Root-Is-Purelib: false", f"Tag: {tag}", ""]).encode()
    members["device_runner/libedgestep.so"] = compiled["libedgestep"].read_bytes()
    members["device_runner/native_call.abi3.so"] = compiled["native_call"].read_bytes()
    for file in sorted(LIBRARIES.glob("*.so")):
        if file.stem.endswith(f"-{machine}"):
            continue
        members[f"device_runner/libraries/{file.name}"] = file.read_bytes()
    del members[record]
    rows = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in members.items()]
    members[record] = "\n".join([*rows, f"{record},,", ""]).encode()
    name, version = pure.name.split("-")[:2]
    wheel = output / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            info = zipfile.ZipInfo(member, _EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return wheel


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


@click.command()
@click.option("--machine", "machines", multiple=True, type=click.Choice(list(MACHINES)),
              help="Only this one; may be given again.")  # fmt: skip
@click.option("--output", default=ROOT / "dist", type=click.Path(file_okay=False, path_type=Path))
@click.option("--libraries-only", is_flag=True, help="Compile into device_runner/libraries alone.")
def main(machines: tuple[str, ...], output: Path, libraries_only: bool) -> None:
    """Compile libedgestep for each machine, and write its wheels."""
    with tempfile.TemporaryDirectory(prefix="edgestep-wheels-") as name:
        folder = Path(name)
        compiled = {
            machine: compile_machine(machine, folder) for machine in machines or tuple(MACHINES)
        }
        LIBRARIES.mkdir(exist_ok=True)
        for files in compiled.values():
            for file in files.values():
                shutil.copyfile(file, LIBRARIES / file.name)
                click.echo(
                    f"{(LIBRARIES / file.name).relative_to(ROOT)}  {file.stat().st_size:,} bytes"
                )
        if libraries_only:
            return
        output.mkdir(parents=True, exist_ok=True)
        pure = pure_wheel(folder)
        for machine, files in compiled.items():
            wheel = write_wheel(pure, machine, files, output)
            click.echo(f"{wheel}  {wheel.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
