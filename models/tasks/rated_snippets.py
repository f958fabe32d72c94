"""Snippets of reviews, tweets and editorials with the mean rating of twenty people each.

C. J. Hutto and E. Gilbert, "VADER: a parsimonious rule-based model for sentiment analysis of
social media text" (2014). The ratings run from -4 (extremely negative) to 4 (extremely positive).
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from functools import lru_cache

from device_runner.front_ends.text import split_words
from models.errors import MissingDataError
from models.tasks.package_file import PackageFile, fetch, read_tar

DISTRIBUTION = PackageFile(
    "vaderSentiment",
    "3.3.2",
    "vaderSentiment-3.3.2.tar.gz",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
)
ARCHIVE = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
SOURCES = {
    "movie reviews": "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt",
    "product reviews": "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt",
    "tweets": "hutto_ICWSM_2014/tweets_GroundTruth.txt",
    "editorials": "hutto_ICWSM_2014/nytEditorialSnippets_GroundTruth.txt",
}
CITATION = (
    "Hutto and Gilbert (2014), ICWSM, MIT; read from the source distribution of "
    "vaderSentiment 3.3.2"
)
# Two snippets that share a run of so many words are taken for near-duplicates.
SHARED_WORDS = 8


@dataclass(frozen=True)
class Snippet:
    """One text. ``document`` is what it was cut from (a review, an editorial), where that is
    known, else the snippet itself; ``rating`` is the mean of the raters, -4 to 4."""

    source: str
    identifier: str
    document: str
    rating: float
    text: str


@lru_cache(maxsize=1)
def rated_snippets() -> tuple[Snippet, ...]:
    """Read all 23,699 snippets in the data set's order; fetched once, then read from the cache.

    Raises:
        MissingDataError: the package's source distribution cannot be had, or is not as expected.
    """
    inner = read_tar(fetch(DISTRIBUTION), (ARCHIVE,))[ARCHIVE]
    members = read_tar(inner, tuple(SOURCES.values()))
    snippets = []
    for source, name in SOURCES.items():
        for line in members[name].decode("utf-8").splitlines():
            try:
                identifier, rating, text = line.split("\t", 2)
                snippet = Snippet(
                    source,
                    f"{source} {identifier}",
                    f"{source} {identifier.partition('_')[0]}",
                    float(rating),
                    html.unescape(text).strip(),
                )
            except ValueError as error:
                raise MissingDataError(f"{name} has an unknown layout ({error})") from error
            snippets.append(snippet)
    return tuple(snippets)


def families(snippets: tuple[Snippet, ...]) -> list[str]:
    """Find a name for each snippet; those of one document, and near-duplicates, have the same one.

    Near-duplicates are texts that are equal, or share a run of SHARED_WORDS words, but for case
    and punctuation; being in one family is passed on from one to the next.
    """
    parents = list(range(len(snippets)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    seen: dict[tuple[str, ...], int] = {}
    for index, snippet in enumerate(snippets):
        words = [word for word in split_words(snippet.text.lower()) if word[0].isalnum()]
        runs = {
            tuple(words[start : start + SHARED_WORDS])
            for start in range(max(1, len(words) - SHARED_WORDS + 1))
        }
        for key in ((snippet.document,), *sorted(runs)):
            first = root(seen.setdefault(key, index))
            own = root(index)
            # The earlier one is the root, so that names do not depend on the order of runs.
            parents[max(first, own)] = min(first, own)
    return [snippets[root(index)].document for index in range(len(snippets))]
