"""What a device sends is not believed: each answer costs that device its result, no other."""

from __future__ import annotations

import json
import re

import pytest

from pipeline.errors import DeviceError, InventoryError
from pipeline.remote import remote_run
from pipeline.remote.bench import bench_devices
from pipeline.remote.device_answers import exit_code, process_number, read_result
from pipeline.remote.inventory import parse_address
from tests.pipeline.remote.device_runs import (
    QUICK,
    SHORT,
    Watch,
    assert_clean,
    device,
    invoke,
    needs_sshd,
)


@pytest.fixture
def impostor(serve):
    """Makes a device whose Python is a shell script; gives its server and the device."""

    def make(script: str):
        server = serve()
        fake = server.home / "fake-python"
        fake.write_text(
            f'#!/bin/sh\ncase "$1" in -c) echo 3.11.2; echo aarch64; exit 0;; esac\n{script}\n'
        )
        fake.chmod(0o755)
        return server, device(server, python="~/fake-python")

    return make


ANSWERS = {
    "not UTF-8": (r"printf '\377\376\n' > results.jsonl", "damaged result .not UTF-8"),
    "an empty object": ("echo '{}' > results.jsonl", "damaged result .*is a required property"),
    "a list": ("echo '[1]' > results.jsonl", "damaged result .*is not of type 'object'"),
    "not a number": ("echo '{\"a\": NaN}' > results.jsonl", "damaged result .*holds NaN"),
    "deep": (
        "head -c 100000 /dev/zero | tr '\\0' '[' > results.jsonl; echo >> results.jsonl",
        "damaged result .nested too deeply",
    ),
    "half a line": ("printf '{\"result' > results.jsonl", "the program failed there"),
    "escape codes": (
        r"printf 'Error: \033[2J\033]0;owned\007bad\n' >&2; exit 3",
        r"pi: \?\[2J\?\]0;owned\?bad",
    ),
    "messages without end": (
        "head -c 50000000 /dev/zero | tr '\\0' 'x' >&2; echo >&2; echo 'Error: full' >&2; exit 3",
        "pi: full",
    ),
    "a strange exit": ("touch exited-abc; exit 3", "the program failed there with exit code 3"),
}


@needs_sshd
@pytest.mark.parametrize("kind", ANSWERS)
def test_a_strange_answer_is_one_line(kind, impostor, models):
    script, said = ANSWERS[kind]
    server, one = impostor(script)
    watch = Watch()
    failures = bench_devices({"pi": one}, models, SHORT, watch.keep, watch.report, QUICK)
    (failure,) = failures.values()
    assert isinstance(failure, DeviceError)
    assert failure.message.isprintable()
    assert len(failure.message) < 700
    assert re.search(said, failure.message), failure.message
    assert watch.results == []
    assert_clean(server)


@needs_sshd
def test_results_without_end_are_not_read(impostor, models, monkeypatch):
    monkeypatch.setattr(remote_run, "LONGEST_RESULT_BYTES", 1 << 20)
    _, one = impostor("head -c 5000000 /dev/zero > results.jsonl")
    watch = Watch()
    failures = bench_devices({"pi": one}, models[:1], SHORT, watch.keep, watch.report, QUICK)
    assert "more than 1 MB of results" in failures["pi"].message


@needs_sshd
def test_a_command_that_writes_without_end_is_cut_off(serve, models):
    server = serve()
    fake = server.home / "fake-python"
    fake.write_text("#!/bin/sh\nyes\n")
    fake.chmod(0o755)
    one = device(server, python="~/fake-python")
    failures = bench_devices({"pi": one}, models[:1], SHORT, print, print, QUICK)
    assert "a command there writes without end" in failures["pi"].message


@needs_sshd
def test_the_other_devices_results_stay(impostor, serve, models):
    _, bad = impostor("echo '{}' > results.jsonl")
    good = serve()
    watch = Watch()
    failures = bench_devices(
        {"bad": bad, "good": device(good)}, models[:1], SHORT, watch.keep, watch.report, QUICK
    )
    assert list(failures) == ["bad"]
    assert [result["device"] for result in watch.results] == ["good"]
    assert_clean(good)


@pytest.mark.parametrize(
    "host",
    ["$(id)", "`id`", "a;id", "a|id", "a&b", "a'b", 'a"b', "a\\b", "$HOME", "a>b", "a\x1b[2J"],
)
def test_a_host_that_a_shell_would_read_is_refused(host, models):
    with pytest.raises(InventoryError) as caught:
        parse_address(host)
    assert caught.value.message.isprintable()
    with pytest.raises(InventoryError):
        parse_address(f"{host}@pi")
    result = invoke(models[0], "--host", host)
    assert result.exit_code == 2
    assert result.stderr.strip().isprintable()


def test_what_files_names_tell():
    assert exit_code({"pid": 3, "exited-abc": 0}) is None
    assert exit_code({"exited-": 0, "exited-12345": 0, "exited--1": 0}) is None
    assert exit_code({"exited-139": 0}) == 139
    assert process_number(b"123\n") == "123"
    for content in (b"", b"\xff", b"../../1", b"1 2", b"12345678901", b"-1"):
        assert process_number(content) == ""


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"null", b"3", b'"x"', b"[]", b"{}", b"\xff", b'{"a": Infinity}', b"[" * 10**5],
)
def test_anything_but_a_result_is_a_value_error_of_one_line(line):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        read_result(line)
    assert "\n" not in str(caught.value)


def test_a_result_with_a_missing_key_is_refused(models):
    from device_runner.measure.bench_files import bench_files
    from device_runner.measure.latency import BenchSettings

    (result,) = bench_files(models[0], "litert", BenchSettings(steps=50, rounds=1, warmup_s=0))
    line = json.dumps(result).encode()
    assert read_result(line)["file"] == result["file"]
    for key in ("file", "valid", "latency_ns", "machine"):
        changed = {name: value for name, value in result.items() if name != key}
        with pytest.raises(ValueError, match=key):
            read_result(json.dumps(changed).encode())
