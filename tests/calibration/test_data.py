"""Calibration data from files and functions."""

import sys

import numpy as np
import pytest

from calibration.data import (
    InputShape,
    fit_sequences,
    load_sequences,
    random_sequences,
    without_padding,
)
from calibration.errors import CalibrationError

X = (InputShape("x", (3,)),)
BOTH = (InputShape("x", (3,)), InputShape("place", (2,), constant=True))
TOKENS = (InputShape("x", (1,), vocabulary=5),)
FRAMES = np.random.default_rng(1).normal(size=(4, 6, 3)).astype(np.float32)


def test_arrays_of_one_and_of_many_sequences(tmp_path):
    np.save(tmp_path / "many.npy", FRAMES)
    np.save(tmp_path / "one.npy", FRAMES[0])
    many = load_sequences(str(tmp_path / "many.npy"), X)
    assert len(many) == 4
    np.testing.assert_array_equal(many[2]["x"], FRAMES[2])
    (one,) = load_sequences(str(tmp_path / "one.npy"), X)
    np.testing.assert_array_equal(one["x"], FRAMES[0])


def test_several_inputs_of_which_one_stays(tmp_path):
    places = np.arange(8, dtype=np.float32).reshape(4, 2)
    np.savez(tmp_path / "d.npz", x=FRAMES, place=places)
    sequences = load_sequences(str(tmp_path / "d.npz"), BOTH)
    np.testing.assert_array_equal(sequences[1]["place"], np.repeat(places[1:2], 6, 0))


@pytest.mark.parametrize("axes", [(4,), (4, 1)])
def test_an_id_may_stay_for_a_sequence(tmp_path, axes):
    inputs = (InputShape("x", (3,)), InputShape("site", (1,), vocabulary=5, constant=True))
    np.savez(tmp_path / "d.npz", x=FRAMES, site=np.arange(4).reshape(axes))
    sequences = load_sequences(str(tmp_path / "d.npz"), inputs)
    assert sequences[2]["site"].tolist() == [[2]] * 6
    (drawn, _) = random_sequences(inputs, 1, 2, 9)
    assert (drawn["site"] == drawn["site"][0]).all()


def test_what_stays_for_a_sequence_has_no_steps(tmp_path):
    np.savez(tmp_path / "d.npz", x=FRAMES, place=np.ones((4, 6, 2)))
    with pytest.raises(CalibrationError, match=r"whole sequence: give \[sequences, 2\]"):
        load_sequences(str(tmp_path / "d.npz"), BOTH)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_are_cut_at_their_sequence_column(tmp_path, suffix):
    pandas = pytest.importorskip("pandas")
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    table = pandas.DataFrame(FRAMES.reshape(-1, 3), columns=["a", "b", "c"])
    table["sequence"] = np.repeat([7, 3, 9, 1], 6)
    path = tmp_path / f"d.{suffix}"
    table.to_csv(path, index=False) if suffix == "csv" else table.to_parquet(path)
    sequences = load_sequences(str(path), X)
    np.testing.assert_allclose(sequences[1]["x"], FRAMES[1], rtol=1e-6)


def test_token_ids(tmp_path):
    np.save(tmp_path / "ids.npy", np.array([[1, 4, 0], [2, 2, 3]]))
    sequences = load_sequences(str(tmp_path / "ids.npy"), TOKENS)
    assert sequences[0]["x"].tolist() == [[1], [4], [0]]
    assert sequences[0]["x"].dtype == np.int32
    assert without_padding(sequences, "x", 0)[0]["x"].tolist() == [[1], [4]]


FUNCTIONS = """
import os, signal, sys
import numpy

def frames():
    return [numpy.ones((5, 3)), {"x": numpy.zeros((2, 3))}]

def fails():
    raise RuntimeError("no sensor,\\nno frames")

def leaves():
    sys.exit("come back later")

def leaves_silently():
    os._exit(0)

def crashes():
    os.kill(os.getpid(), signal.SIGSEGV)

def objects():
    return [numpy.array([None, 1], dtype=object)]

def masked():
    return [numpy.ma.masked_invalid([[1.0, numpy.nan, 2.0]])]

def one_too_few():
    return [numpy.ones((5, 2))]
"""


def test_a_function(tmp_path, monkeypatch):
    (tmp_path / "my_frames.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    sequences = load_sequences("my_frames:frames", X)
    assert [len(item["x"]) for item in sequences] == [5, 2]
    assert "my_frames" not in sys.modules


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("my_frames:fails", "RuntimeError: no sensor, no frames"),
        ("my_frames:leaves", "SystemExit: come back later"),
        ("my_frames:leaves_silently", "exit code 0"),
        ("my_frames:crashes", "exit code -11"),
        ("my_frames:objects", "not numbers"),
        ("my_frames:masked", "masked array"),
        ("my_frames:one_too_few", "takes 3 values"),
        ("my_frames:not_there", "not_there"),
        ("nothing_there:frames", "nothing_there"),
    ],
)
def test_a_function_that_gives_no_sequences_is_one_line(tmp_path, monkeypatch, function, message):
    (tmp_path / "my_frames.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CalibrationError, match=message) as caught:
        load_sequences(function, X)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("file", ["models/__init__.py", "models/mine.py", "models.py"])
def test_a_function_imports_its_own_models(tmp_path, monkeypatch, file):
    """A user's package or module called as one of ours, with an __init__.py or without."""
    (tmp_path / "models").mkdir()
    (tmp_path / file).write_text("HEIGHT = 7\n")
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    (tmp_path / "my_frames.py").write_text(
        f"import numpy\nfrom {module} import HEIGHT\n"
        "def frames():\n    return [numpy.full((2, 3), HEIGHT)]\n"
    )
    monkeypatch.chdir(tmp_path)
    (only,) = load_sequences("my_frames:frames", X)
    assert (only["x"] == 7).all()


def test_a_function_may_use_ours_beside_a_folder_of_model_files(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "net.keras").write_text("")
    (tmp_path / "my_frames.py").write_text(
        "import numpy\nfrom models.errors import ModelsError\n"
        "def frames():\n    return [numpy.full((2, 3), ModelsError.exit_code)]\n"
    )
    monkeypatch.chdir(tmp_path)
    (only,) = load_sequences("my_frames:frames", X)
    assert (only["x"] == 3).all()


@pytest.mark.parametrize(
    ("array", "inputs", "message"),
    [
        (np.zeros((4, 5)), X, "takes 3 values"),
        (np.zeros((2, 2, 2, 3)), X, "not a sequence"),
        (np.array([[1, 2, 3], [1, np.nan, 3]]), X, "NaN or infinity, first at step 1"),
        (np.array([[1, 2, 3], [1, 1e39, 3]]), X, "too large for float32, first at step 1"),
        (np.array([0.0, 1.5]), TOKENS, "at step 1 it holds a fraction"),
        (np.array([0, 5]), TOKENS, "token ids from 0 to 5"),
        (np.zeros((0, 3)), X, "no sequence in it"),
        (np.array([["a", "b", "c"]]), X, "does not hold numbers"),
        (np.array([None, 1], dtype=object), X, "cannot be read"),
    ],
)
def test_data_that_does_not_fit_is_one_line(tmp_path, array, inputs, message):
    np.save(tmp_path / "d.npy", array, allow_pickle=True)
    with pytest.raises(CalibrationError, match=message) as caught:
        load_sequences(str(tmp_path / "d.npy"), inputs)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", ["d.npy", "d.npz", "d.csv", "d.parquet"])
def test_a_damaged_file_is_one_line(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x93NUMPY\x00 PAR1 \xff\xfe")
    with pytest.raises(CalibrationError, match=name) as caught:
        load_sequences(str(tmp_path / name), X)
    assert "\n" not in caught.value.message


def test_missing_and_unknown_files(tmp_path):
    with pytest.raises(CalibrationError, match="no such file"):
        load_sequences(str(tmp_path / "d.npy"), X)
    with pytest.raises(CalibrationError, match=r"module:function"):
        load_sequences(str(tmp_path / "d.txt"), X)


def test_random_sequences_fit_the_inputs():
    one, two = random_sequences((*BOTH, InputShape("t", (1,), vocabulary=4)), 1, 2, 9)
    assert {name: values.shape for name, values in one.items()} == {
        "x": (9, 3), "place": (9, 2), "t": (9, 1),
    }  # fmt: skip
    assert (one["place"] == one["place"][0]).all()
    assert one["t"].min() >= 1
    assert one["t"].max() < 4
    assert not np.array_equal(one["x"], two["x"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,c\n1,2,3\n4,5,6,7\n", "line 3 has 4 values, but the first line names 3"),
        ("a,b,c\n1,2,3,4\n4,5,6,7\n", "line 2 has 4 values"),
        ("a,b,c\n1,2,3\n4,5\n", "line 3 has 2 values"),
        ("1,2,3\n4,5,6\n", "line 1 holds numbers; it must name the columns"),
        ("sequence,a,b,c\n1,1,2,3\n,1,2,3\n", "line 3: its column 'sequence' is empty"),
        ("a,b,c\n1,2,3\n4,,6\n", "line 3: '' is not a number"),
        ("a,b,c\n1,2,3\n4,x,6\n", "line 3: 'x' is not a number"),
        ("a,b,c\n1,2,3\n4,5_0,6\n", "line 3: '5_0' is not a number"),
        ("sequence,sequence,b,c\n1,2,3,4\n", "names 'sequence' twice"),
        ("Sequence,b,c\n1,2,3\n", "must be called 'sequence'"),
        ("a,b,c\n1,2,3\n4,1e39,6\n", "too large for float32, first at step 1"),
        ("a,b,c\n1,2,3\n4,nan,6\n", "NaN or infinity, first at step 1"),
        ("a;b;c\n1;2;3\n", "values separated by commas"),
        ("a,b\n1,2\n", "2 columns apart from 'sequence', but the model takes 3"),
        ("", "it is empty"),
        ('a,b,c\n"1,2,3\n', "cannot be read"),
    ],
)
def test_a_table_that_would_lose_or_shift_values_is_one_line(tmp_path, text, message):
    path = tmp_path / "d.csv"
    path.write_text(text)
    with pytest.raises(CalibrationError, match=message) as caught:
        load_sequences(str(path), X)
    assert "\n" not in caught.value.message


def test_a_table_without_column_names_may_number_them(tmp_path):
    (tmp_path / "d.csv").write_bytes(b"\xef\xbb\xbf0,1,2\n1,2,3\n\n4,5,6\n")
    (only,) = load_sequences(str(tmp_path / "d.csv"), X)
    np.testing.assert_array_equal(only["x"], [[1, 2, 3], [4, 5, 6]])


def test_a_parquet_table_without_a_sequence_number_is_one_line(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    table = pandas.DataFrame({"sequence": [1.0, None], "a": [1, 2], "b": [1, 2], "c": [1, 2]})
    table.to_parquet(tmp_path / "d.parquet")
    with pytest.raises(CalibrationError, match="row 1: its column 'sequence' is empty"):
        load_sequences(str(tmp_path / "d.parquet"), X)


def test_a_masked_array_is_one_line():
    with pytest.raises(CalibrationError, match="masked array"):
        fit_sequences([np.ma.masked_invalid([[1.0, np.nan, 2.0]])], X)
    with pytest.raises(CalibrationError, match="masked array"):
        fit_sequences([[np.zeros(3), np.ma.masked_invalid([1.0, np.nan, 2.0])]], X)


@pytest.mark.parametrize(
    "given",
    [[None, []], np.ma.masked_all(2, "i4,f4"), np.zeros(3, "M8[s]"), object()],
    ids=["ragged", "masked records", "dates", "object"],
)
def test_what_are_no_numbers_is_one_line(given):
    with pytest.raises(CalibrationError, match="numbers"):
        fit_sequences([given], X)
