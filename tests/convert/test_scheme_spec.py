"""A scheme's name is parsed once: what it says is what is done, and what does not combine is
refused."""

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert.errors import ConvertError, SchemeWordsError, UnknownSchemeError
from convert.schemes import SCHEMES, load_scheme, needs_ranges, parse_scheme
from convert.schemes.spec import COMPENSATED, QAT, RANGE_WORDS, WORDS, SchemeSpec

NAMES = st.builds(
    lambda base, words: ":".join([base, *words]),
    st.sampled_from(sorted(SCHEMES)),
    st.lists(st.sampled_from(sorted(WORDS)), max_size=len(WORDS)),
)


def expected(base, words):
    """Work out apart from the parser what a name must give: a spec, or None if refused."""
    chosen = set(words)
    if len(chosen) < len(words) or chosen - load_scheme(base).words:
        return None
    if len(chosen & RANGE_WORDS) > 1 or chosen >= {QAT, COMPENSATED}:
        return None
    method = next(iter(chosen & RANGE_WORDS), "min-max")
    return SchemeSpec(base, method, "per-channel" in chosen, COMPENSATED in chosen, QAT in chosen)


@given(NAMES)
def test_every_name_is_taken_whole_or_refused_in_one_line(name):
    base, *words = name.split(":")
    wanted = expected(base, words)
    if wanted is not None:
        assert parse_scheme(name) == wanted
        return
    with pytest.raises((SchemeWordsError, UnknownSchemeError), match=base) as caught:
        parse_scheme(name)
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.message


@given(NAMES)
def test_a_spec_and_its_name_are_one(name):
    try:
        spec = parse_scheme(name)
    except (SchemeWordsError, UnknownSchemeError):
        return
    assert parse_scheme(str(spec)) == spec
    assert set(str(spec).split(":")) == set(name.split(":")) - {"min-max"}
    assert spec.file_part == str(spec).replace(":", "-")


def test_the_order_of_words_does_not_matter():
    names = {
        str(parse_scheme(":".join(["int8", *words])))
        for words in itertools.permutations(["per-channel", "mse", "compensated"])
    }
    assert names == {"int8:mse:per-channel:compensated"}


@pytest.mark.parametrize(
    "name",
    [
        "int8",
        "int8:qat:per-channel",
        "int8:percentile:per-channel",
        "dynamic:per-channel:compensated",
    ],
)
def test_names_that_recipes_use_are_canonical(name):
    assert str(parse_scheme(name)) == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("int8:mse:percentile", "'mse' and 'percentile' both choose the range"),
        ("int8:mse:min-max", "'mse' and 'min-max' both choose the range"),
        ("int8:mse:mse", "'mse' is said twice"),
        ("int8:qat:per-channel:qat", "'qat' is said twice"),
        ("int8:compensated:qat", "'qat' and 'compensated' do not combine"),
    ],
)
def test_what_does_not_combine_is_refused(name, message):
    with pytest.raises(SchemeWordsError, match=message) as caught:
        parse_scheme(name)
    assert isinstance(caught.value, ConvertError)


def test_a_spec_is_what_it_was_made():
    spec = parse_scheme("int8:qat:mse")
    assert (spec.range_method, spec.qat) == ("mse", True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.qat = False
    with pytest.raises(SchemeWordsError):
        SchemeSpec("int8", qat=True, compensated=True)


def test_what_must_be_calibrated():
    needing = {name for name in SCHEMES if needs_ranges(parse_scheme(name))}
    assert needing == {"int8", "int16x8"}
    assert needs_ranges(parse_scheme("dynamic:compensated"))
