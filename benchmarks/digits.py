"""Spoken digits by leave-one-speaker-out: a recipe with each of the six speakers as test data.

Each speaker's run is one of its own in runs/RECIPE-SPEAKER and goes on where it was interrupted.

    EDGESTEP_SPOKEN_DIGITS=FOLDER python benchmarks/digits.py
    EDGESTEP_SPOKEN_DIGITS=FOLDER python benchmarks/digits.py --recipe recipes/digit-strings.toml

``--speaker lucas`` tests on him alone; more of them can be given.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import click
from record import write_record
from scipy import stats

from convert.model_metrics import ModelMetrics
from models.tasks.digits import SPEAKERS
from pipeline.run import run_recipe


def half_interval(values: Sequence[float]) -> float:
    """Compute half the 95 % interval of a mean over people (Student's t: others would differ as
    these do); NaN for one of them."""
    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


@click.command()
@click.option("--recipe", type=click.Path(dir_okay=False, path_type=Path),
              default="recipes/digits.toml", show_default=True)  # fmt: skip
@click.option("--runs-dir", type=click.Path(file_okay=False, path_type=Path), default="runs")
@click.option("--speaker", "speakers", type=click.Choice(SPEAKERS), multiple=True, default=SPEAKERS,
              help="Test on this one; all six if left out.")  # fmt: skip
def main(recipe: Path, runs_dir: Path, speakers: tuple[str, ...]) -> None:
    """Print the metric of each net and scheme by speaker, and the mean with its interval."""
    name, text = recipe.stem, recipe.read_text(encoding="utf-8")
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    metric = ""
    for speaker in speakers:
        own = runs_dir / f"{name}-{speaker}.toml"
        own.parent.mkdir(parents=True, exist_ok=True)
        changed = text.replace(f'name = "{name}"', f'name = "{name}-{speaker}"')
        changed = changed.replace(f'task = "{name}-jackson"', f'task = "{name}-{speaker}"')
        own.write_text(changed, encoding="utf-8")
        run_recipe(own, runs_dir, "report", ())
        for line in (runs_dir / f"{name}-{speaker}" / "results.jsonl").read_text().splitlines():
            result = json.loads(line)
            found = ModelMetrics.read(result["metrics"])
            metric = found.metric.name
            scores[result["file"].removesuffix(".tflite")][speaker] = found.score
    click.echo(" | ".join([f"{metric}, %", *speakers, "mean"]))
    for model, by_speaker in scores.items():
        values = [by_speaker[speaker] for speaker in speakers]
        shown = [f"{100 * value:.1f}" for value in [*values, statistics.mean(values)]]
        if len(values) > 1:
            shown[-1] += f" (+- {100 * half_interval(values):.1f})"
        click.echo(" | ".join([model, *shown]))
    write_record(
        name,
        f"{metric} on {name}, leave one speaker out",
        [{"model": model, **by_speaker} for model, by_speaker in scores.items()],
    )


if __name__ == "__main__":
    main()
