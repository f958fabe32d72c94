"""Arm systems, 64 bits and 32, that run on x86-64 through qemu's user mode; no rights are needed.

``python -m tests.arm64.emulated_arm`` builds them in ``.cache/arm64`` of the project: Debian's
qemu-user-static, a Debian root of each architecture with Python, and each TFLite runtime's wheels
in a folder of its own. apt and pip are used as this machine configures them, apt with lists and
archives of its own, so nothing is installed system-wide. A root is renamed into place when it is
complete: an interrupted build is begun anew, from the packages that it had fetched.

Each board is a view of the root with the board's ``/proc/cpuinfo``: qemu 7.2 shows programs the
host's, and the runtimes choose their kernels by it (ai-edge-litert 2.2 and later crash on it).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "arm64"
PYTHON = "3.11"
QEMU_PACKAGE = "qemu-user-static"


@dataclass(frozen=True)
class Architecture:
    """An architecture of Debian: what it is called elsewhere, and what is installed on it.

    Of each runtime a file of pinned wheels lies beside this module.
    """

    name: str
    machine: str
    qemu: str
    packages: tuple[str, ...]
    runtimes: tuple[str, ...]


ARM64 = Architecture(
    "arm64",
    "aarch64",
    "qemu-aarch64-static",
    (f"python{PYTHON}", "libstdc++6"),
    ("tflite-runtime", "ai-edge-litert"),
)
# ai-edge-litert has no wheels for it, and NumPy none either.
ARMHF = Architecture(
    "armhf",
    "armv7l",
    "qemu-arm-static",
    (f"python{PYTHON}", "libstdc++6", "python3-numpy", "python3-click"),
    ("tflite-runtime",),
)
ARCHITECTURES = (ARM64, ARMHF)
# Debian 12 has glibc 2.36. pip takes the tags as they are and derives no older ones.
GLIBC_MINORS = range(17, 37)


class EmulationError(RuntimeError):
    """The root cannot be built here; the message is one line and says what to do."""


@dataclass(frozen=True)
class Board:
    """A board as its Linux describes the CPU: qemu's name of it, and fields of /proc/cpuinfo."""

    name: str
    architecture: Architecture
    cpu: str
    features: str
    generation: int
    variant: str
    part: str
    revision: int

    def cpuinfo(self) -> str:
        """/proc/cpuinfo, with the four cores that all these boards have."""
        cores = (
            f"processor\t: {core}\n"
            "BogoMIPS\t: 108.00\n"
            f"Features\t: {self.features}\n"
            "CPU implementer\t: 0x41\n"
            f"CPU architecture: {self.generation}\n"
            f"CPU variant\t: {self.variant}\n"
            f"CPU part\t: {self.part}\n"
            f"CPU revision\t: {self.revision}\n"
            for core in range(4)
        )
        return "\n".join(cores) + f"\nModel\t\t: {self.model}\n"

    @property
    def model(self) -> str:
        """What /proc/device-tree/model says: never the real board's name."""
        return f"emulated {self.cpu} (qemu user mode)"


_ARMV7 = "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm"
_ARMV8 = "fp asimd evtstrm crc32 cpuid"
_ARMV8_2 = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
    "asimddp"
)
BOARDS = {
    board.name: board
    for board in (
        Board("raspberry-pi-2", ARMHF, "cortex-a7", _ARMV7, 7, "0x0", "0xc07", 5),
        Board("raspberry-pi-3", ARM64, "cortex-a53", _ARMV8, 8, "0x0", "0xd03", 4),
        Board("raspberry-pi-4", ARM64, "cortex-a72", _ARMV8, 8, "0x0", "0xd08", 3),
        Board("raspberry-pi-5", ARM64, "cortex-a76", _ARMV8_2, 8, "0x4", "0xd0b", 1),
    )
}


@dataclass(frozen=True)
class ArmPython:
    """Python of the emulated root, as a board would run it, with one runtime installed."""

    root: Path
    board: str
    runtime: str

    def run(self, *arguments: object, cwd: Path, timeout: float = 300):
        """Run Python with these arguments; paths outside the root are the host's."""
        view, board = self.root / "boards" / self.board, BOARDS[self.board]
        wheels = self.root / "runtimes" / f"{self.runtime}-{board.architecture.name}"
        return subprocess.run(
            [
                str(self.root / board.architecture.qemu), "-cpu", board.cpu, "-L", str(view),
                str(view / "usr/bin" / f"python{PYTHON}"), *map(str, arguments),
            ],
            cwd=cwd,
            env={
                "PATH": "/usr/bin:/bin",
                "LANG": "C.UTF-8",
                "HOME": str(cwd),
                "PYTHONPATH": str(wheels),
            },
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )  # fmt: skip


def build(cache: Path = CACHE) -> Path:
    """The complete root, built if it is not there. One process builds, others wait.

    Raises:
        EmulationError: a package is not to be had, or this machine is not x86-64 Debian.
    """
    root = cache / f"root-{_recipe_hash()}"
    if root.exists():
        return root
    _check_host()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if root.exists():
            return root
        partial = cache / "root.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        _fill(partial, cache / "packages")
        for old in cache.glob("root-*"):
            shutil.rmtree(old)
        partial.rename(root)
    return root


def _recipe_hash() -> str:
    """Of all that decides what is in a root: another recipe makes another root."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for pins in sorted(HERE.glob("*.txt")):
        digest.update(pins.read_bytes())
    return digest.hexdigest()[:12]


def _check_host() -> None:
    if platform.machine() != "x86_64":
        raise EmulationError(
            f"the emulated Arm root is for x86-64 machines, this one is {platform.machine()}; "
            "on Arm run the tests themselves"
        )
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise EmulationError(f"{tool} is missing; build the Arm root on Debian 12")


def _fill(root: Path, packages: Path) -> None:
    _say("qemu")
    (emulator,) = (
        archive
        for archive in _download("amd64", (QEMU_PACKAGE,), packages)
        if archive.name.startswith(QEMU_PACKAGE)
    )
    for architecture in ARCHITECTURES:
        _extract_program(emulator, f"./usr/bin/{architecture.qemu}", root / architecture.qemu)
        _say(f"Debian's packages for {architecture.name}")
        debian = root / f"debian-{architecture.name}"
        for archive in _download(architecture.name, architecture.packages, packages):
            _call("dpkg-deb", "-x", archive, debian)
        _choose_alternatives(debian)
        for runtime in architecture.runtimes:
            _say(f"{runtime} for {architecture.name}")
            _install_wheels(runtime, architecture, root)
    for board in BOARDS.values():
        _add_board(root, board)
        for runtime in board.architecture.runtimes:
            _check_import(ArmPython(root, board.name, runtime))


def _choose_alternatives(debian: Path) -> None:
    """What the packages' scripts would do, which are not run: NumPy's libraries in their place."""
    for library in debian.glob("usr/lib/*/*/*.so.3"):
        if library.parent.name in ("blas", "lapack"):
            place = library.parent.parent / library.name
            place.symlink_to(os.path.relpath(library, place.parent))


def _download(architecture: str, names: Sequence[str], packages: Path) -> list[Path]:
    """Fetch Debian packages with all that they depend on, as onto an empty system."""
    folder = packages / architecture
    archives = folder / "archives"
    for needed in (folder / "lists" / "partial", archives / "partial"):
        needed.mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    configuration = folder / "apt.conf"
    # The hooks are cleared because they clean the system's own cache.
    configuration.write_text(
        f"""\
APT::Architecture "{architecture}";
#clear APT::Architectures;
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Retries "3";
Dir::State "{folder}";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}";
Dir::Log "{folder}";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
"""
    )
    apt = ("apt-get", "-qq", "-c", configuration)
    try:
        _call(*apt, "update")
    except EmulationError:
        # A mirror that is being renewed, or one source of many out of reach: the lists that were
        # had may do.
        _say(f"apt-get could not update every list for {architecture}; going on with what it has")
    # What an interrupted build fetched may have been replaced by a newer version since.
    _call(*apt, "autoclean")
    _call(*apt, "install", "--yes", "--download-only", *names)
    return sorted(archives.glob("*.deb"))


def _extract_program(archive: Path, member: str, target: Path) -> None:
    """One file of a Debian package: all of qemu's emulators would be 370 MB."""
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE) as reader,
        tarfile.open(fileobj=reader.stdout, mode="r|") as files,
    ):
        for entry in files:
            content = files.extractfile(entry) if entry.name == member else None
            if content is not None:
                with target.open("wb") as copy:
                    shutil.copyfileobj(content, copy)
                target.chmod(0o755)
    if not target.exists():
        raise EmulationError(f"{archive.name} has no {member}; build the Arm root on Debian 12")


def _add_board(root: Path, board: Board) -> None:
    """A root whose files are Debian's except for what the kernel says of the CPU.

    qemu looks up every path in it first and takes the host's where it has none.
    """
    view = root / "boards" / board.name
    view.mkdir(parents=True)
    for entry in (root / f"debian-{board.architecture.name}").iterdir():
        (view / entry.name).symlink_to(os.path.relpath(entry, view))
    cpus = view / "sys/devices/system/cpu"
    for folder in (view / "proc/device-tree", cpus):
        folder.mkdir(parents=True)
    (view / "proc/cpuinfo").write_text(board.cpuinfo())
    (view / "proc/device-tree/model").write_text(board.model + "\0")
    for name in ("possible", "present", "online"):
        (cpus / name).write_text("0-3\n")


def _install_wheels(runtime: str, architecture: Architecture, root: Path) -> None:
    name = f"{runtime}-{architecture.name}"
    tags = [f"manylinux_2_{minor}_{architecture.machine}" for minor in GLIBC_MINORS]
    tags.append(f"manylinux2014_{architecture.machine}")
    _call(
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--target", root / "runtimes" / name, "--no-deps", "--no-compile", "--require-hashes",
        "--only-binary", ":all:", "--implementation", "cp", "--python-version", PYTHON,
        *(option for tag in tags for option in ("--platform", tag)),
        "--requirement", HERE / f"{name}.txt",
    )  # fmt: skip


def _check_import(python: ArmPython) -> None:
    module = python.runtime.replace("-", "_")
    started = python.run("-c", f"import {module}.interpreter", cwd=python.root)
    if started.returncode != 0:
        raise EmulationError(
            f"{python.runtime} does not start in the emulated root: {_last_line(started.stderr)}; "
            f"delete {CACHE} and build again"
        )


def _call(*command: str | Path) -> None:
    done = subprocess.run(
        list(map(str, command)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
        check=False,
    )
    if done.returncode != 0:
        name = "pip" if "pip" in command else command[0]
        raise EmulationError(
            f"{name} failed: {_last_line(done.stderr)}; the Arm root needs Debian 12 with its "
            "package sources and pip's index within reach"
        )


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "ERROR:"))]
    return (errors or lines or ["no message"])[-1].strip()


def _say(what: str) -> None:
    print(f"Arm root: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        print(build())
    except EmulationError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(4)
