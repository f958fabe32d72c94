"""The table of operators against TFLite's schema and itself."""

from __future__ import annotations

import pytest

from device_runner.model.tflite_schema import ACTIVATIONS, OPERATOR_NAMES
from device_runner.operators import (
    OPERATORS,
    conversions,
    elementwise,
    images,
    products,
    reductions,
    shapes,
)
from device_runner.operators.row import ACTIVATE, Form

KINDS = (conversions, elementwise, images, products, reductions, shapes)


def test_every_row_is_one_operator_of_the_schema():
    names = [row.name for kind in KINDS for row in kind.ROWS]
    assert sorted(names) == sorted(OPERATORS)
    assert set(names) <= set(OPERATOR_NAMES)
    for kind in KINDS:
        assert [row.name for row in kind.ROWS] == sorted(row.name for row in kind.ROWS)


@pytest.mark.parametrize("row", OPERATORS.values(), ids=OPERATORS)
def test_a_row_is_whole(row):
    assert all(1 <= version <= row.version for version in row.versions.values())
    if row.versions:
        assert row.compute is not None
    if Form.INT16 in row.versions:
        assert Form.INT8 in row.versions
    if row.prescribed:
        assert Form.INT8 in row.versions
    if row.compute is None:
        assert row.options or row.passes_ids or row.multiply_adds(NOTHING, lambda index: (2, 2, 2))


class _Nothing:
    """As much of an operator as counting its products asks for."""

    inputs = outputs = (0, 1)
    options: dict[str, float] = {}  # noqa: RUF012


NOTHING = _Nothing()


def test_options_are_the_schemas():
    """Their tags name the operator's options, and their fields are at the places given."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    names = {value: name for name, value in vars(schema.BuiltinOptions).items() if name[0] != "_"}
    for row in OPERATORS.values():
        if row.options is None:
            continue
        fields = list(vars(getattr(schema, names[row.options.tag] + "T")()))
        if row.name == "RESIZE_BILINEAR":  # its first two fields are deprecated and left out
            fields = ["newHeight", "newWidth", *fields]
        for field in row.options.fields:
            spelled = fields[field.number].lower()
            wanted = field.name.replace("_", "")
            assert wanted in spelled or spelled.startswith("asymmetric"), (row.name, fields)


def test_activations_are_the_schemas():
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    for number, name in enumerate(ACTIVATIONS):
        assert getattr(schema.ActivationFunctionType, name) == number
    assert set(ACTIVATE) == set(ACTIVATIONS) - {"SIGN_BIT"}
