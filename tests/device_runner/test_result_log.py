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

from device_runner.errors import OptionError
from device_runner.measure.result_log import append_result, check_appendable

WRITER = """
import sys
from pathlib import Path
from device_runner.measure.result_log import append_result
for number in range(int(sys.argv[3])):
    result = {"result_format": 2, "writer": sys.argv[2], "number": number, "pad": "x" * 20000}
    append_result(Path(sys.argv[1]), result)
"""


def writer(path, name: str, count: int) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), name, str(count)])


def result(**facts: object) -> dict:
    return {"result_format": 2, **facts}


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
    append_result(path, result(writer="next"))
    *killed, last = read(path)
    assert last == result(writer="next")
    assert [line["number"] for line in killed] == list(range(len(killed)))


def lines_of(*results: dict) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in results)


@pytest.mark.parametrize("length", [0, 1, 10, 18, 30, 5000])
def test_a_torn_line_is_cut_off(length, tmp_path):
    path = tmp_path / "results.jsonl"
    torn = lines_of(result(half="x" * 10_000))[:length]
    for lines in (b"", lines_of(result(first=1))):
        path.write_bytes(lines + torn)
        check_appendable(path)
        assert path.read_bytes() == lines + torn
        append_result(path, result(second=2))
        assert path.read_bytes() == lines + lines_of(result(second=2))


def test_a_result_without_its_line_end_is_kept(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_bytes(lines_of(result(first=1), result(second=2))[:-1])
    append_result(path, result(third=3))
    assert path.read_bytes() == lines_of(result(first=1), result(second=2), result(third=3))


FOREIGN = {
    "one line of JSON": b'{"name": "a package of somebody"}',
    "lines of JSON": b'{"file": "a.tflite"}\n{"file": "b.tflite"}\n',
    "the start of other JSON": b'{"half',
    "JSON on several lines": b'{\n  "result_format": 2\n}\n',
    "text without a line end": b"what I must not forget",
    "ours with text behind": lines_of({"result_format": 2}) + b"a note",
    "text with a line of ours behind": b"a note\n" + lines_of({"result_format": 2}),
    "an empty line": b"\n",
    "zeros": bytes(1000),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_file_of_something_else_is_refused_and_kept(content, tmp_path):
    path = tmp_path / "mine"
    path.write_bytes(content)
    for attempt in (lambda: check_appendable(path), lambda: append_result(path, result(first=1))):
        with pytest.raises(OptionError, match="name another file") as caught:
            attempt()
        assert str(path) in caught.value.message
        assert len(caught.value.message.splitlines()) == 1
        assert path.read_bytes() == content


def test_a_model_is_refused_and_kept(int8_file, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(int8_file.read_bytes())
    with pytest.raises(OptionError, match="name another file"):
        check_appendable(path)
    assert path.read_bytes() == int8_file.read_bytes()


def test_a_disk_that_fills_up_within_a_line_keeps_the_lines_before(tmp_path):
    path = tmp_path / "results.jsonl"
    append_result(path, result(first=1))
    size = path.stat().st_size
    # A limit on the size of files stands in for a full disk: a part is written, then an error.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, limits[1]))
    try:
        with pytest.raises(OSError) as caught:  # noqa: PT011  # its file name is checked
            append_result(path, result(second="x" * 1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.filename == str(path)
    assert path.stat().st_size == size
    append_result(path, result(second=2))
    assert read(path) == [result(first=1), result(second=2)]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_device_is_an_error():
    from pathlib import Path

    with pytest.raises(OSError, match="No space left"):
        append_result(Path("/dev/full"), result(first=1))
