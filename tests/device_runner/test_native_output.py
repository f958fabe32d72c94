"""Native output is captured whole, and goes where it went before once that is over."""

import os

import pytest

from device_runner.backends.native_output import STDERR, STDOUT, captured


def test_output_is_captured_and_then_no_more(capfd):
    os.write(STDERR, b"before ")
    with captured(STDOUT, STDERR) as log:
        os.write(STDOUT, b"a reason\n")
        assert log() == "a reason\n"
        os.write(STDERR, b"and another")
        assert log() == "a reason\nand another"
    os.write(STDERR, b"after")
    assert capfd.readouterr() == ("", "before after")


def test_other_descriptors_are_left_alone(capfd):
    with captured(STDERR) as log:
        os.write(STDOUT, b"a result")
        assert log() == ""
    assert capfd.readouterr().out == "a result"


def test_an_error_ends_it(capfd):
    with pytest.raises(RuntimeError), captured(STDERR):
        raise RuntimeError
    os.write(STDERR, b"after")
    assert capfd.readouterr().err == "after"
