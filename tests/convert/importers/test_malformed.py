"""Damaged and hostile model files end in one line, without a crash and without running anything."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from convert.errors import ConvertError, SourceModelError, UnsupportedLayerError
from convert.importers import import_model
from convert.importers.inference_copy import CONFIG_FILE, WEIGHTS_FILE, write_inference_copy
from convert.step.step_module import StepModule
from tests.convert.importers.architectures import ARCHITECTURES, KERAS_3, TENSORFLOW, saved


def _saved(folder: Path, framework: str, name: str) -> Path:
    (architecture,) = (
        item for item in ARCHITECTURES if (item.framework, item.name) == (framework, name)
    )
    folder.mkdir()
    return saved(architecture, folder)[0]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A good file of each kind."""
    folder = tmp_path_factory.mktemp("good")
    return {
        "keras2": _saved(folder / "keras2", TENSORFLOW, "GRU"),
        "hdf5": _saved(folder / "hdf5", TENSORFLOW, "GRU in HDF5"),
        "keras3": _saved(folder / "keras3", KERAS_3, "GRU, one decision at the end"),
    }


def _refused(path: Path) -> str:
    """Return the one line with which a file is refused."""
    with pytest.raises(ConvertError) as caught:
        StepModule(import_model(path).graph)
    message = caught.value.message
    assert "\n" not in message
    assert "Traceback" not in message
    return message


def _with_members(source: Path, target: Path, change) -> Path:
    """Copy an archive after ``change`` edits its members, a dict of bytes by name."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members = change(members) or members
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return target


def _with_config(source: Path, target: Path, change) -> Path:
    def changed(members):
        config = json.loads(members[CONFIG_FILE])
        change(config)
        members[CONFIG_FILE] = json.dumps(config).encode()

    return _with_members(source, target, changed)


@pytest.mark.parametrize("kind", ["keras2", "keras3"])
@pytest.mark.parametrize("name", ["../../evil.py", "/etc/evil", "assets/evil.txt", "a\\..\\b"])
def test_members_that_are_no_part_of_a_model_are_refused(files, tmp_path, kind, name):
    path = _with_members(files[kind], tmp_path / "m.keras", lambda m: m.update({name: b"x"}))
    assert "is not part of a model" in _refused(path)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["m.keras"]


@pytest.mark.parametrize("member", [CONFIG_FILE, "metadata.json", WEIGHTS_FILE])
def test_a_member_that_would_fill_the_memory_is_refused(files, tmp_path, member):
    bomb = bytes(300 * 1024**2 if member == WEIGHTS_FILE else 20 * 1024**2)
    path = _with_members(files["keras3"], tmp_path / "m.keras", lambda m: m.update({member: bomb}))
    assert "would unpack to" in _refused(path)


@pytest.mark.parametrize("member", [CONFIG_FILE, "metadata.json", WEIGHTS_FILE])
def test_a_missing_member_is_named(files, tmp_path, member):
    path = _with_members(
        files["keras3"], tmp_path / "m.keras", lambda m: {k: v for k, v in m.items() if k != member}
    )
    assert member in _refused(path)


def test_a_member_twice_is_refused(files, tmp_path):
    path = tmp_path / "m.keras"
    shutil.copy(files["keras3"], path)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr(CONFIG_FILE, "{}")
    assert "twice" in _refused(path)


class _Touch:
    """Unpickled, makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".pkl"])
def test_a_pickle_is_not_opened(tmp_path, suffix):
    mark = tmp_path / "run"
    path = tmp_path / f"model{suffix}"
    path.write_bytes(pickle.dumps(_Touch(mark)))
    assert "is a pickle, which could hold any code" in _refused(path)
    assert not mark.exists()


HOSTILE = {
    "custom class": {"module": "os", "class_name": "GRU", "registered_name": "GRU"},
    "registered class": {"module": "keras.layers", "registered_name": "Evil>GRU"},
    "unknown class": {"class_name": "Evil"},
    "lambda": {"class_name": "Lambda"},
    "name of no text": {"class_name": 3},
}


@pytest.mark.parametrize("kind", ["keras2", "keras3"])
@pytest.mark.parametrize("what", HOSTILE)
def test_classes_that_are_not_keras_own_are_refused(files, tmp_path, kind, what):
    path = _with_config(
        files[kind], tmp_path / "m.keras", lambda c: c["config"]["layers"][1].update(HOSTILE[what])
    )
    _refused(path)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_a_lambda_as_an_activation_is_refused_by_its_layer(tmp_path, name, suffix):
    keras = pytest.importorskip(name)
    layers = [keras.layers.GRU(4), keras.layers.Dense(2, activation=lambda value: value * 2)]
    keras.Sequential([keras.Input((None, 3)), *layers]).save(tmp_path / f"m{suffix}")
    with pytest.raises(UnsupportedLayerError, match=r"\(Dense\) has code as its activation"):
        import_model(tmp_path / f"m{suffix}")


def test_a_lambda_is_refused_before_a_loader_sees_it(tmp_path, monkeypatch):
    import tf_keras

    def loaded(*_, **__):
        raise AssertionError("the loader saw the file")

    model = tf_keras.Sequential(
        [tf_keras.layers.InputLayer((None, 3)), tf_keras.layers.Lambda(lambda value: value * 2)]
    )
    for suffix in (".h5", ".keras"):
        model.save(tmp_path / f"model{suffix}")
    monkeypatch.setattr(tf_keras.models, "load_model", loaded)
    for suffix in (".h5", ".keras"):
        with pytest.raises(UnsupportedLayerError, match=r"\(Lambda\) holds code"):
            import_model(tmp_path / f"model{suffix}")


def test_an_activation_of_code_is_refused(files, tmp_path):
    evil = {"module": "os", "class_name": "function", "config": "system", "registered_name": "x"}
    path = _with_config(
        files["keras3"],
        tmp_path / "m.keras",
        lambda c: c["config"]["layers"][1]["config"].update(activation=evil),
    )
    assert "code of the model's own" in _refused(path)


@pytest.mark.parametrize("kind", ["keras2", "keras3"])
def test_a_layer_wider_than_its_weights_is_refused(files, tmp_path, kind):
    path = _with_config(
        files[kind],
        tmp_path / "m.keras",
        lambda c: c["config"]["layers"][1]["config"].update(units=10**9),
    )
    assert "no weight in the file" in _refused(path)


@pytest.mark.parametrize("kind", ["keras2", "keras3"])
def test_weights_of_another_shape_are_refused(files, tmp_path, kind):
    path = _with_config(
        files[kind],
        tmp_path / "m.keras",
        lambda c: c["config"]["layers"][1]["config"].update(units=17),
    )
    _refused(path)


@pytest.mark.parametrize(
    "text", [b"", b"[" * 100_000, b"null", b"3", b'{"config": 1}', b"\xff\xfe"]
)
def test_a_damaged_list_of_layers_is_refused(files, tmp_path, text):
    path = _with_members(
        files["keras3"], tmp_path / "m.keras", lambda m: m.update({CONFIG_FILE: text})
    )
    _refused(path)


@pytest.mark.parametrize("what", ["external link", "soft link", "external data", "text", "circle"])
def test_weights_that_are_not_plain_numbers_are_refused(files, tmp_path, what):
    path = tmp_path / "model.h5"
    shutil.copy(files["hdf5"], path)
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(400))
    with h5py.File(path, "a") as file:
        if what == "external link":
            file["link"] = h5py.ExternalLink(str(files["keras2"]), "/x")
        elif what == "soft link":
            file["link"] = h5py.SoftLink("/model_weights")
        elif what == "external data":
            file.create_dataset("outside", (10,), "f", external=[(str(secret), 0, 40)])
        elif what == "text":
            file.create_dataset("text", data="words")
        else:
            file["model_weights"]["again"] = file["/"]
    assert "its weights are" in _refused(path)


def test_a_weight_larger_than_memory_is_refused(files, tmp_path):
    path = tmp_path / "model.h5"
    shutil.copy(files["hdf5"], path)
    with h5py.File(path, "a") as file:
        file.create_dataset("bomb", (2**40,), "f", chunks=(2**16,), compression="gzip")
    assert "more than 2 GiB" in _refused(path)


def test_an_archive_behind_an_hdf5_file_is_not_what_is_loaded(files, tmp_path):
    path = tmp_path / "model.h5"
    path.write_bytes(files["hdf5"].read_bytes() + files["keras3"].read_bytes())
    assert zipfile.is_zipfile(path)
    assert import_model(path).framework.startswith("tf_keras")
    (tmp_path / "copy").mkdir()
    copy = write_inference_copy(path, {}, tmp_path / "copy")
    assert copy.suffix == ".h5"


def test_an_exported_saved_model_is_told_from_a_keras_one(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(SourceModelError, match="no Keras layers"):
        import_model(tmp_path)


def _mutations(data: bytes, count: int, seed: int):
    """Truncated, bit-flipped and overwritten copies."""
    generator = np.random.default_rng(seed)
    for number in range(count):
        copy = bytearray(data)
        if number % 3 == 0:
            del copy[int(generator.integers(1, len(data))) :]
        elif number % 3 == 1:
            for place in generator.integers(0, len(data), 1 + number % 7):
                copy[place] ^= 1 << int(generator.integers(8))
        else:
            begin = int(generator.integers(0, len(data)))
            copy[begin : begin + 32] = generator.bytes(min(32, len(data) - begin))
        yield bytes(copy)


def _survives(path: Path) -> bool:
    """Tell whether a mutated file still gives a model; otherwise its refusal is one line."""
    message = ""
    try:
        StepModule(import_model(path).graph)
    except ConvertError as error:
        message = error.message
    assert "\n" not in message
    return not message


def _check_mutations(source: Path, folder: Path, count: int, seed: int) -> None:
    data = source.read_bytes()
    path = folder / f"mutated{source.suffix}"
    refused = 0
    for mutated in _mutations(data, count, seed):
        path.write_bytes(mutated)
        refused += not _survives(path)
    assert refused > count // 3


def _check_inner_mutations(source: Path, folder: Path, count: int, seed: int) -> None:
    """Mutations of the weights within an archive whose checksums are right."""
    with zipfile.ZipFile(source) as archive:
        data = archive.read(WEIGHTS_FILE)
    for mutated in _mutations(data, count, seed):
        _survives(
            _with_members(
                source,
                folder / "mutated.keras",
                lambda m, new=mutated: m.update({WEIGHTS_FILE: new}),
            )
        )


@pytest.mark.parametrize("kind", ["keras2", "hdf5", "keras3"])
def test_mutated_files_end_in_one_line(files, tmp_path, kind):
    _check_mutations(files[kind], tmp_path, 6, 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["keras2", "hdf5", "keras3"])
def test_many_mutated_files_end_in_one_line(files, tmp_path, kind):
    _check_mutations(files[kind], tmp_path, 60, 2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["keras2", "keras3"])
def test_mutated_weights_in_a_sound_archive_end_in_one_line(files, tmp_path, kind):
    _check_inner_mutations(files[kind], tmp_path, 30, 3)


def test_the_good_files_are_taken(files):
    for path in files.values():
        assert import_model(path).graph.owner.layers
