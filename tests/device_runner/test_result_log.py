"""Results on disk survive a second writer, a kill and a full disk."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from device_runner.measure.result_log import append_result

WRITER = """
import sys
from pathlib import Path
from device_runner.measure.result_log import append_result
for number in range(int(sys.argv[3])):
    append_result(Path(sys.argv[1]), {"writer": sys.argv[2], "number": number, "pad": "x" * 20000})
"""


def writer(path, name: str, count: int) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), name, str(count)])


def read(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_two_writers_at_once_lose_nothing(tmp_path):
    path = tmp_path / "results.jsonl"
    writers = [writer(path, name, 40) for name in "ab"]
    assert [process.wait(60) for process in writers] == [0, 0]
    found = read(path)
    for name in "ab":
        assert [line["number"] for line in found if line["writer"] == name] == list(range(40))


def test_a_killed_writer_leaves_whole_lines_to_the_next(tmp_path):
    path = tmp_path / "results.jsonl"
    process = writer(path, "killed", 10**6)
    while not path.exists() or path.stat().st_size < 10**6:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    append_result(path, {"writer": "next"})
    *killed, last = read(path)
    assert last == {"writer": "next"}
    assert [line["number"] for line in killed] == list(range(len(killed)))


@pytest.mark.parametrize("torn", [b'{"half', b'{"half' + b"x" * 10_000])
def test_a_torn_line_is_cut_off(torn, tmp_path):
    path = tmp_path / "results.jsonl"
    for lines in (b"", b'{"first": 1}\n'):
        path.write_bytes(lines + torn)
        append_result(path, {"second": 2})
        assert path.read_bytes() == lines + b'{"second": 2}\n'


def test_a_disk_that_fills_up_within_a_line_keeps_the_lines_before(tmp_path):
    path = tmp_path / "results.jsonl"
    append_result(path, {"first": 1})
    size = path.stat().st_size
    # A limit on the size of files stands in for a full disk: a part is written, then an error.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, limits[1]))
    try:
        with pytest.raises(OSError) as caught:  # noqa: PT011  # its file name is checked
            append_result(path, {"second": "x" * 1000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.filename == str(path)
    assert path.stat().st_size == size
    append_result(path, {"second": 2})
    assert read(path) == [{"first": 1}, {"second": 2}]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_device_is_an_error():
    from pathlib import Path

    with pytest.raises(OSError, match="No space left"):
        append_result(Path("/dev/full"), {"first": 1})
