"""Whatever is handed to an entry point, it works or raises one of our errors."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration.data import InputShape, fit_sequences, load_sequences
from convert.schemes import parse_scheme
from device_runner import front_ends, strict_json
from device_runner.measure.result_log import append_result
from device_runner.model.contract import CONTRACT_FILE, Contract
from device_runner.model.flatbuffer import read_graph
from device_runner.model.golden import GOLDEN_FILE, read_golden
from device_runner.model.step_file import load_step_model, split_step_file
from device_runner.sources import csv_frames
from device_runner.stream import Stream
from pipeline.recipe import load_recipe
from pipeline.remote.device_answers import read_result
from pipeline.remote.inventory import load_inventory, parse_address
from tests.faults.kinds import STEP_MODELS

pytestmark = pytest.mark.faults

EXAMPLES = settings(
    max_examples=300, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
FILE = next(path for path in STEP_MODELS if path.name == "gru-float32.tflite")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
DTYPES = ("f2", "f8", "i1", "u8", "c8", "M8[s]", "m8[ns]", "U3", "S2", "?", "O", "i4,f4")


@st.composite
def arrays(draw: Any) -> Any:
    """An array of any shape and dtype."""
    shape = draw(st.lists(st.sampled_from((0, 1, 2, 12)), max_size=3))
    array = np.zeros(shape, draw(st.sampled_from(DTYPES)))
    if array.dtype.kind in "fc" and array.size:
        array.flat[0] = draw(st.sampled_from((np.nan, np.inf, 6e4, -1.0)))
    return np.ma.masked_array(array, mask=True) if draw(st.integers(0, 9)) == 0 else array


ANYTHING = JSON | st.binary() | st.complex_numbers() | arrays() | st.builds(object) | st.just(Path)
BYTES = st.binary(max_size=400) | st.text(max_size=200).map(lambda text: text.encode())


# What those readers raise whose callers know the file.
OF_JSON = (ValueError,)


@pytest.fixture(scope="module")
def stream() -> Stream:
    return Stream(FILE, "reference")


@EXAMPLES
@given(ANYTHING, st.sampled_from(("step", "run", "run_by_name", "load_state")))
def test_a_stream(stream, value, method):
    with contextlib.suppress(click.ClickException):
        getattr(stream, method)(value)
    stream.reset()


@EXAMPLES
@given(st.lists(st.text(max_size=30), max_size=5))
def test_lines_of_frames(stream, lines):
    with contextlib.suppress(click.ClickException):
        list(csv_frames(lines, stream.model.contract))


@EXAMPLES
@given(JSON)
def test_a_contract(value):
    raw = json.loads(split_step_file(FILE.read_bytes())[1][CONTRACT_FILE])
    for name in raw:
        with contextlib.suppress(click.ClickException):
            Contract.from_json(json.dumps({**raw, name: value}))
    with contextlib.suppress(click.ClickException):
        Contract.from_json(json.dumps(value))


KINDS = st.sampled_from(("text", "log-mel", "lpc-cepstrum", "mel", "samples", ""))


@EXAMPLES
@given(
    KINDS,
    st.dictionaries(
        st.sampled_from(
            (
                "vocabulary",
                "rate",
                "sample_rate",
                "ways",
                "window",
                "kind",
                "unit",
                "merges",
                "channels",
                "samples_per_frame",
                "tokens",
            )
        ),
        JSON,
    ),
)
def test_a_front_end(kind, fields):
    description = {"kind": kind, **fields}
    for read in (front_ends.tokenizer, front_ends.sound_front_end, front_ends.sample_frames):
        with contextlib.suppress(click.ClickException):
            read(description)


READERS: dict[str, Callable[[bytes, Path], Any]] = {
    "read_graph": lambda data, _: read_graph(data),
    "split_step_file": lambda data, _: split_step_file(data),
    "read_golden": lambda data, _: read_golden(data, load_step_model(FILE).contract),
    "strict_json": lambda data, _: strict_json.loads(data),
    "read_result": lambda data, _: read_result(data),
    "load_step_model": lambda _, path: load_step_model(path),
    "append_result": lambda _, path: append_result(path, {"result_format": 2}),
    "recipe": lambda _, path: load_recipe(path),
    "inventory": lambda _, path: load_inventory(path),
    **{
        ending: lambda _, path, ending=ending: load_sequences(  # type: ignore[misc]
            str(path.rename(path.with_suffix(ending))), [InputShape("x", (3,), None)]
        )
        for ending in (".npy", ".npz", ".csv", ".parquet")
    },
}


@pytest.mark.parametrize("reader", READERS)
def test_any_bytes(reader, tmp_path):
    path = tmp_path / "file"
    raised = OF_JSON if reader in ("strict_json", "read_result") else ()
    heads = (b"", b"\x1c\0\0\0TFL3", b"PK\x03\x04", b"\x93NUMPY\x01\0v\0", b"PAR1", b"[", b"{")

    @EXAMPLES
    @given(st.sampled_from(heads), BYTES)
    def check(head, data):
        path.write_bytes(head + data)
        with contextlib.suppress(click.ClickException, *raised):
            READERS[reader](head + data, path)

    check()


@EXAMPLES
@given(ANYTHING)
def test_sequences_of_a_function(value):
    with contextlib.suppress(click.ClickException):
        fit_sequences([value], [InputShape("x", (3,), None)])


@EXAMPLES
@given(st.text())
def test_words(text):
    for read in (parse_scheme, parse_address):
        with contextlib.suppress(click.ClickException):
            read(text)


def test_golden_bytes_of_a_model_are_read():
    model = load_step_model(FILE)
    members = split_step_file(FILE.read_bytes())[1]
    assert read_golden(members[GOLDEN_FILE], model.contract).steps == model.golden.steps
