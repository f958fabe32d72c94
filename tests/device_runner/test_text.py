"""Tokenizers: ids and back, and descriptions that are refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runner.errors import BadModelError
from device_runner.front_ends import tokenizer as tokenizer_of
from device_runner.front_ends.text import (
    UNKNOWN_ID,
    Tokenizer,
    describe_characters,
    describe_pieces,
    describe_words,
    split_words,
)

TEXTS = ["The  cat's hat\n", "the dog, the Cafe\u0301"]


def test_words_keep_their_apostrophes_and_marks_stand_alone():
    assert split_words("Don\u2019t stop, it's 3.5!") == [
        "Don\u2019t", "stop", ",", "it's", "3", ".", "5", "!",
    ]  # fmt: skip


def test_the_words_of_the_training_data_have_ids_and_others_are_unknown():
    tokenizer = Tokenizer(describe_words(TEXTS))
    assert tokenizer.tokens[0] == "the"
    assert tokenizer.vocabulary == 2 + len({"the", "cat's", "hat", "dog", ",", "caf\u00e9"})
    assert tokenizer.decode(tokenizer.encode("THE caf\u00e9, the dog")) == "the caf\u00e9 , the dog"
    assert tokenizer.encode("the mouse").tolist() == [2, UNKNOWN_ID]
    assert tokenizer.encode(" \n").tolist() == []


def test_rare_words_are_left_out():
    assert describe_words(TEXTS, least_count=2)["vocabulary"] == ["the"]


def test_characters_are_composed_and_white_space_is_single():
    tokenizer = Tokenizer(describe_characters(TEXTS, end="\n"))
    assert tokenizer.decode(tokenizer.encode(" the \t cafe\u0301\n")) == "the caf\u00e9"
    assert tokenizer.encode("\n").tolist() == []
    assert tokenizer.encode("\n", verbatim=True).tolist() == [tokenizer.end_id]
    assert tokenizer.decode([0, 1, tokenizer.encode("t")[0]]) == "\ufffdt"


def test_the_longest_piece_is_taken_each_time():
    pieces = ["t", "h", "e", " ", "th", "the", " th", " then", "n"]
    tokenizer = Tokenizer(describe_pieces(pieces, end="\n"))
    ids = tokenizer.encode("the then th\u00e9n\n", verbatim=True)
    found = [tokenizer.tokens[number - 2] if number > 1 else "?" for number in ids]
    assert found == ["the", " then", " th", "?", "n", "\n"]
    assert tokenizer.decode(tokenizer.encode(" then the", verbatim=True)) == " then the"
    assert tokenizer.end_id == ids[-1]
    names = tokenizer.names()
    assert len(set(names)) == len(names)
    assert all(name.strip() == name and name.isprintable() for name in names)


def test_names_are_one_printable_line_each():
    names = Tokenizer(describe_characters(["a b\u2028"], end="\n", separator="\t")).names()
    assert "\n".join(names).splitlines() == list(names)
    assert len(set(names)) == len(names)
    assert all(name.isprintable() and name.strip() == name for name in names)


@given(st.text())
def test_any_text_has_ids_in_the_vocabulary(text):
    pieces = describe_pieces(["the", " c", "a"])
    for front_end in (describe_characters(TEXTS), describe_words(TEXTS), pieces):
        tokenizer = Tokenizer(json.loads(json.dumps(front_end)))
        ids = tokenizer.encode(text)
        assert ids.dtype == "int32"
        assert ((ids > 0) & (ids < tokenizer.vocabulary)).all()


@given(st.text(alphabet=sorted(set("".join(TEXTS)) - {"\n", "\u0301"})))
def test_known_characters_come_back(text):
    tokenizer = Tokenizer(describe_characters(["".join(TEXTS)]))
    assert tokenizer.decode(tokenizer.encode(text, verbatim=True)) == text


@pytest.mark.parametrize(
    "front_end",
    [
        {},
        {"kind": "subwords", "vocabulary": ["a"]},
        {"kind": "characters"},
        {"kind": "characters", "alphabet": ""},
        {"kind": "characters", "alphabet": "aa"},
        {"kind": "words", "vocabulary": ["a", 3]},
        {"kind": "words", "vocabulary": ["a", ""]},
        {"kind": "words", "vocabulary": {"a": 2}},
        {"kind": "characters", "alphabet": "ab", "end": "c"},
        {"kind": "characters", "alphabet": "ab", "separator": ["a"]},
    ],
)
def test_a_description_that_is_none_is_refused_in_one_line(front_end):
    with pytest.raises(BadModelError) as caught:
        Tokenizer(front_end)
    assert len(caught.value.message.splitlines()) == 1


def test_each_kind_of_tokenizer_is_found_by_its_description():
    for front_end in (describe_characters(TEXTS), describe_words(TEXTS), describe_pieces(["a"])):
        assert isinstance(tokenizer_of(front_end), Tokenizer)
