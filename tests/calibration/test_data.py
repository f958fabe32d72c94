"""Calibration data from files and functions."""

import numpy as np
import pytest

from calibration.data import InputShape, load_sequences, random_sequences, without_padding
from calibration.errors import CalibrationError

X = (InputShape("x", 3),)
BOTH = (InputShape("x", 3), InputShape("place", 2, constant=True))
TOKENS = (InputShape("x", 1, vocabulary=5),)
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


def test_a_function(tmp_path, monkeypatch):
    (tmp_path / "my_frames.py").write_text(
        "import numpy\ndef frames():\n    return [numpy.ones((5, 3)), {'x': numpy.zeros((2, 3))}]\n"
        "def fails():\n    raise RuntimeError('no sensor')\n"
    )
    monkeypatch.chdir(tmp_path)
    sequences = load_sequences("my_frames:frames", X)
    assert [len(item["x"]) for item in sequences] == [5, 2]
    with pytest.raises(CalibrationError, match="no sensor"):
        load_sequences("my_frames:fails", X)
    with pytest.raises(CalibrationError, match="nothing_there"):
        load_sequences("nothing_there:frames", X)


@pytest.mark.parametrize(
    ("array", "inputs", "message"),
    [
        (np.zeros((4, 5)), X, "takes 3 values"),
        (np.zeros((2, 2, 2, 3)), X, "no sequence"),
        (np.full((4, 3), np.nan), X, "NaN"),
        (np.array([0, 5]), TOKENS, "token ids from 0 to 5"),
        (np.zeros((0, 3)), X, "no sequence in it"),
        (np.array([["a", "b", "c"]]), X, "no numbers"),
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
    one, two = random_sequences((*BOTH, InputShape("t", 1, vocabulary=4)), 1, 2, 9)
    assert {name: values.shape for name, values in one.items()} == {
        "x": (9, 3), "place": (9, 2), "t": (9, 1),
    }  # fmt: skip
    assert (one["place"] == one["place"][0]).all()
    assert one["t"].min() >= 1
    assert one["t"].max() < 4
    assert not np.array_equal(one["x"], two["x"])
