"""chrF of translation models, decoded greedily, step by step, as on a device.

Each step model of the task "translation" translates the task's test data; the score is chrF2
(M. Popovic, "chrF: character n-gram F-score for automatic MT evaluation", 2015) of sacrebleu, from
0 to 100, with half a 95 % interval (1,000 bootstrap samples of the messages), and beside it p, how
likely so large a difference from the retrieval is by chance (paired bootstrap of sacrebleu). Two
things can be had without a network:

- copy: the English text, handed through unchanged;
- retrieval: the French of that training message whose English is most like the test message's, by
  its runs of 2 to 4 characters (cosine of tf-idf within words; chosen on the validation data).

    python benchmarks/translation_quality.py runs/translation/*.tflite [--shown N] [--validation]
"""

from __future__ import annotations

from collections.abc import Sequence

import click
import numpy as np
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest, Result
from sklearn.feature_extraction.text import TfidfVectorizer

from device_runner.generation import generating_tokenizer, translate
from device_runner.stream import Stream
from models.tasks.translation import LONGEST_TARGET, pairs

Pairs = list[tuple[str, str]]

RUNS = (2, 4)
SAMPLES = 1000


def retrieved(sources: Sequence[str], training: Pairs) -> list[str]:
    """Give for each text the French of the training message whose English is most like it."""
    runs = TfidfVectorizer(analyzer="char_wb", ngram_range=RUNS, sublinear_tf=True)
    known = runs.fit_transform([english for english, _ in training])
    nearest = np.asarray((runs.transform(sources) @ known.T).argmax(axis=1)).ravel()
    return [training[index][1] for index in nearest]


def compare(written: dict[str, list[str]], references: list[str]) -> dict[str, str]:
    """Score each set of translations, the first being what the others are compared with; a text
    with score, half an interval and p for each name."""
    test = PairedTest(
        list(written.items()), {"chrF": CHRF()}, [references], test_type="bs", n_samples=SAMPLES
    )
    _, scores = test()
    said = {}
    for name, found in zip(scores["System"], scores["chrF2"], strict=True):
        if isinstance(found, Result):  # the names are texts, the scores are these
            chance = "" if found.p_value is None else f", p {found.p_value:.3f}"
            said[str(name)] = f"chrF {found.score:.1f} (+- {found.ci:.1f}{chance})"
    return said


@click.command(help=__doc__)
@click.argument("files", nargs=-1, required=True)
@click.option("--backend", default="auto", show_default=True)
@click.option("--shown", default=5, show_default=True, help="Translations to print of each.")
@click.option("--validation", is_flag=True, help="On the validation data instead.")
def main(files: tuple[str, ...], backend: str, shown: int, validation: bool) -> None:
    """Print the chrF of a retrieval, of a copy and of FILES."""
    training, held_out, test = pairs()
    sources, references = map(list, zip(*(held_out if validation else test), strict=True))
    written = {"retrieval": retrieved(sources, training), "copy": sources}
    for file in files:
        stream = Stream(file, backend)
        tokenizer = generating_tokenizer(stream.model)
        written[file] = [translate(stream, tokenizer, text, LONGEST_TARGET) for text in sources]
    for name, score in compare(written, references).items():
        texts = written[name]
        right = sum(one == wanted for one, wanted in zip(texts, references, strict=True))
        click.echo(f"{name}: {score}; {right} of {len(texts)} as the reference")
    step = len(sources) // max(shown, 1)
    for index in range(0, len(sources), step)[:shown]:
        click.echo(f"{sources[index]} | {references[index]}")
        for name in files:
            click.echo(f"    {written[name][index]}")


if __name__ == "__main__":
    main()
