"""The lists of files and layers: every entry is there, and the page says what they say."""

from __future__ import annotations

from importlib import import_module

import pytest
import tf_keras as keras

from convert.importers import FILE_KINDS, FOLDER, file_kind
from convert.layers import LAYERS, OWN, registered_name
from models import layers
from tests.convert.importers.import_lists import PAGE, with_tables


def test_the_page_lists_the_files_and_layers_that_are_read():
    page = PAGE.read_text()
    assert with_tables(page) == page


def test_every_entry_in_the_list_of_layers_is_a_class_and_has_a_rule():
    for name, entry in LAYERS.items():
        kind = getattr(layers if name.startswith(OWN) else keras.layers, name.removeprefix(OWN))
        assert registered_name(kind) == name
        module, _, function = entry.implementation.partition(".")
        assert callable(getattr(import_module(f"convert.layers.{module}"), function))


def test_a_class_of_the_users_own_does_not_pass_for_one_of_keras():
    class Dense(keras.layers.Layer):
        pass

    assert registered_name(Dense) is None


@pytest.mark.parametrize("name", FILE_KINDS)
def test_a_kind_of_files_has_a_reader_and_endings_of_its_own(name, tmp_path):
    kind = FILE_KINDS[name]
    module, _, function = kind.implementation.rpartition(".")
    assert callable(getattr(import_module(f"convert.importers.{module}"), function))
    for ending in kind.endings:
        path = tmp_path if ending == FOLDER else tmp_path / f"model{ending}"
        assert file_kind(path, kind.described) == kind


def test_a_file_without_a_known_ending_is_taken_for_one_of_keras(tmp_path):
    assert file_kind(tmp_path / "model", False) == FILE_KINDS["keras"]
