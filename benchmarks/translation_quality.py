"""chrF of translation models, decoded greedily, step by step, as on a device.

Each step model of the task "translation" translates the task's test data; the score is chrF2
(M. Popovic, "chrF: character n-gram F-score for automatic MT evaluation", 2015) of sacrebleu, from
0 to 100. Beside it is that of handing the English text through unchanged.

    python benchmarks/translation_quality.py runs/translation/*.tflite [--shown N]
"""

from __future__ import annotations

import click
from sacrebleu.metrics.chrf import CHRF

from device_runner.generation import generating_tokenizer, translate
from device_runner.stream import Stream
from models.tasks.translation import LONGEST_TARGET, pairs


@click.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--backend", default="auto", show_default=True)
@click.option("--shown", default=5, show_default=True, help="Translations to print of each.")
def main(files: tuple[str, ...], backend: str, shown: int) -> None:
    """Print the chrF of FILES and of a copy."""
    _, _, test = pairs()
    sources, references = zip(*test, strict=True)
    metric = CHRF()
    click.echo(f"copy of the source: chrF {metric.corpus_score(sources, [references]).score:.1f}")
    for file in files:
        stream = Stream(file, backend)
        tokenizer = generating_tokenizer(stream.model)
        written = [translate(stream, tokenizer, text, 2 * LONGEST_TARGET) for text in sources]
        score = metric.corpus_score(written, [references]).score
        right = sum(one == reference for one, reference in zip(written, references, strict=True))
        click.echo(f"{file}: chrF {score:.1f}, {right} of {len(test)} as the reference")
        step = len(test) // max(shown, 1)
        for index in range(0, len(test), step)[:shown]:
            click.echo(f"  {sources[index]} | {written[index]} | {references[index]}")


if __name__ == "__main__":
    main()
