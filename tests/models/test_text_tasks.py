"""Text tasks: their splits, their sequences, and the n-gram models beside them."""

from __future__ import annotations

import numpy as np
import pytest

from device_runner.front_ends.text import Tokenizer
from models.tasks import language_id, translation
from models.tasks.hash_split import split_by_name
from models.tasks.interface_messages import MORE, plain
from models.tasks.ngram_model import DISCOUNT, NgramModel
from models.tasks.package_file import cache_folder
from models.tasks.rated_snippets import DISTRIBUTION, Snippet, families
from models.tasks.shared_texts import bare, split_unshared
from models.tasks.word_pieces import learn_pieces


def test_names_are_on_one_side_each_and_the_sides_have_their_shares():
    names = [f"name {index // 2}" for index in range(4000)]
    sides = split_by_name(names)
    assert sorted(np.concatenate(sides)) == list(range(4000))
    found = [{names[i] for i in side} for side in sides]
    assert sum(map(len, found)) == len(set.union(*found)) == 2000
    assert [round(len(side) / 4000, 1) for side in sides] == [0.7, 0.1, 0.2]


def test_snippets_of_a_document_and_near_duplicates_are_one_family():
    texts = [
        ("a", "A wonderful film with a great cast, and more."),
        ("b", "It is a wonderful film with a GREAT cast and no story"),
        ("c", "And no story at all in it is what I call dull, for sure!"),
        ("c", "Unlike anything."),
        ("d", "unlike anything"),
        ("e", "A wonderful film."),
    ]
    snippets = tuple(
        Snippet("s", str(number), document, 0.0, text)
        for number, (document, text) in enumerate(texts)
    )
    found = families(snippets)
    assert found[0] == found[1]
    assert found[2] == found[3] == found[4]
    assert len(set(found)) == 3


def test_what_stands_for_values_and_html_is_taken_out():
    assert plain("The %(name)s \u201c%s\u201d was <b>added</b> to {place}.") == (
        "The \u201c \u201d was added to ."
    )


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_probabilities_after_any_context_sum_to_one(order):
    vocabulary = 5
    texts = [np.random.default_rng(seed).integers(1, vocabulary, 40) for seed in range(3)]
    model = NgramModel(texts, order, vocabulary)
    for context in ([2, 3, 1], [4, 4, 4], [0, 0, 0]):
        bits = [model.bits([np.array([*context, token])], skipped=3) for token in range(vocabulary)]
        assert sum(2.0**-value for value in bits) == pytest.approx(1)


def test_a_bigram_model_follows_the_formula():
    """By hand: after 1 came 2 twice and 3 once; 2 and 3 came after {1} and {1, 2}."""
    model = NgramModel([np.array([1, 2, 1, 2, 3, 1, 3])], 2, 4)
    # Continuations: 1 after {0, 2, 3}, 2 after {1}, 3 after {1, 2}; six kinds of bigrams.
    lower = (1 - DISCOUNT) / 6 + DISCOUNT * 3 / 6 * (1 / 4)
    wanted = (2 - DISCOUNT) / 3 + DISCOUNT * 2 / 3 * lower
    assert model.bits([np.array([1, 2])], skipped=1) == pytest.approx(-np.log2(wanted))


@pytest.fixture(scope="module")
def languages():
    return language_id.load()


def test_languages_are_texts_of_sixty_characters_from_the_beginning_of_a_word(languages):
    assert len(languages.labels) == 23
    tokenizer = Tokenizer(languages.front_end)
    space = tokenizer.encode(" ", verbatim=True)[0]
    for data in (languages.train, languages.validation, languages.test):
        assert set(data.labels) == set(range(23))
        assert set(data.lengths) == {language_id.LENGTH}
        assert all(sequence[0, 0] != space for sequence in data.sequences)
        assert data.padded.dtype == np.int32
        assert data.padded.max() < languages.vocabulary


def test_no_message_is_on_two_sides_in_any_language(languages):
    """Texts of the test data hold whole messages; none of the longer ones is in the training
    data."""
    tokenizer = Tokenizer(languages.front_end)
    training = "\n".join(tokenizer.decode(one[:, 0]) for one in languages.train.sequences)
    for language in ("en", "fr"):
        keys = sorted(language_id._texts(language))
        texts = language_id._texts(language)
        _, _, test = split_by_name(keys)
        known = {texts[key].lower() for key in keys}
        tested = [texts[keys[i]].lower() for i in test if 30 < len(texts[keys[i]]) < 50]
        alone = [text for text in tested if not any(text in other for other in known - {text})]
        assert len(alone) > 5
        assert not [text for text in alone if text in training]


def test_texts_that_are_shared_go_from_the_side_that_learns():
    texts = [("One!",), ("two",), ("Two.",), ("ONE",), ("--",), ("--",), ("three",)]
    sides = [np.array([0, 1, 4, 6]), np.array([2, 3]), np.array([5])]
    (training, validation, test), said = split_unshared(texts, sides)
    assert [training.tolist(), validation.tolist(), test.tolist()] == [[4, 6], [2, 3], [5]]
    assert said.startswith("2 of 6 ")
    (training, validation, _), _ = split_unshared(texts, [sides[0], sides[2], sides[1]])
    assert [training.tolist(), validation.tolist()] == [[4, 6], [5]]


def check_sides(sides):
    """Each side is a list of tuples of texts."""
    forms = [{bare(text) for item in side for text in item} - {""} for side in sides]
    assert all(forms)
    assert not forms[0] & (forms[1] | forms[2])
    assert not forms[1] & forms[2]


def test_no_message_of_the_languages_is_on_two_sides_but_for_case_and_marks(languages):
    by_language = {code: language_id._texts(code) for code in language_id.LANGUAGES}
    keys = sorted({key for texts in by_language.values() for key in texts})
    sides = [{keys[i] for i in side} for side in split_by_name(keys)]
    kept, said = language_id._without_shared(by_language, sides)
    check_sides(
        [[(text,) for texts in kept.values() for k, text in texts.items() if k in s] for s in sides]
    )
    assert languages.remarks == (said,)
    assert int(said.split()[0].replace(",", "")) > 0


def test_pieces_are_joined_from_what_stands_side_by_side_most_often():
    """By hand: "ab" stands five times; then " ab" and "abc" three times each, and the space comes
    first; then " abc" twice."""
    texts = ["abc abc", "ab abc ab"]
    assert learn_pieces(texts, 3) == ["a", "b", " ", "c", "ab", " ab", " abc"]
    assert learn_pieces(texts[::-1], 3) == learn_pieces(texts, 3)
    assert learn_pieces(texts, 1) == ["a", "b", " ", "c", "ab"]
    # A pair must stand twice at least, and no piece goes beyond a word.
    assert learn_pieces(["x y", "x y"], 9) == [" ", "x", "y", " y"]


MORE_CACHED = all((cache_folder() / file.name).exists() for file in MORE)


@pytest.mark.skipif(not MORE_CACHED, reason="the wheels of messages are not in the cache; "
                    "'edgestep run recipes/translation.toml' fetches them")  # fmt: skip
def test_no_text_of_a_translation_is_on_two_sides_but_for_case_and_marks():
    sides, said = translation.unshared_pairs()
    check_sides(sides)
    assert "are left out" in said
    assert [len(side) > count for side, count in zip(sides, (8000, 1000, 2000), strict=True)]


@pytest.mark.slow
@pytest.mark.skipif(
    not (cache_folder() / DISTRIBUTION.name).exists(),
    reason="the rated snippets are not in the cache; 'edgestep run recipes/sentiment.toml' "
    "fetches them",
)
def test_rated_snippets_become_words_and_characters():
    from models.tasks import load_task

    sentiment = load_task("sentiment")
    assert len(sentiment.train) > 10_000
    (said,) = sentiment.remarks
    assert "are left out" in said
    assert 0.4 < sentiment.test.labels.mean() < 0.6
    assert sentiment.baselines(sentiment)["majority class"] < 0.6
    language_model = load_task("char-lm")
    first = language_model.train.select(np.arange(2))
    np.testing.assert_array_equal(first.sequences[0][1:, 0], first.step_labels[0][:-1])
    assert first.step_labels[0][-1] == first.sequences[1][0, 0]
