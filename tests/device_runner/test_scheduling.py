"""CPU affinity and priority: for real where the machine allows it."""

from __future__ import annotations

import os

import pytest

from device_runner.errors import BadInputError, MissingRuntimeError
from device_runner.measure.scheduling import scheduled


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity here")
def test_bound_to_a_cpu_and_released():
    before = os.sched_getaffinity(0)
    cpu = max(before)
    with scheduled(cpus=[cpu]):
        assert os.sched_getaffinity(0) == {cpu}
    assert os.sched_getaffinity(0) == before


def test_a_cpu_that_is_not_there_is_named():
    with pytest.raises(BadInputError, match="there is no CPU 4095 for this process"):
        scheduled(cpus=[0, 4095]).__enter__()


def test_priority_is_restored(monkeypatch):
    given = []
    monkeypatch.setattr(os, "sched_setscheduler", lambda *arguments: given.append(arguments))
    with scheduled(realtime=40):
        (pid, policy, parameters) = given[0]
        assert (pid, policy, parameters.sched_priority) == (0, os.SCHED_FIFO, 40)
    assert given[1][1] == os.SCHED_OTHER


def test_without_the_right_to_it_is_said_what_to_do(monkeypatch, int8_file, invoke, error_line):
    def refuse(*arguments):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    result = invoke("bench", int8_file, "--realtime", "10")
    assert result.exit_code == MissingRuntimeError.exit_code
    assert "leave out --realtime" in error_line(result)
