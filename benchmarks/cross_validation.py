"""Choose a recipe's settings by cross-validation inside the training data; test data is not read.

Each grid names settings and values. All combinations are tried, each fold and seed; the
best mean so far is taken, and the next grid goes on from there. Settings are those of [training];
with a point they are of a model's compression (``prune.learning_rate``) or of the augmentation
(``augmentation.rotation``). Every fit is kept in runs/benchmarks/cross-validation/NAME.jsonl, so
that an interrupted command goes on. ``--folds`` judges on the first groups only, for long
trainings.

    python benchmarks/cross_validation.py recipes/fast-grnn.toml --model fast-grnn-32 \\
      --grid "input_noise=0.3,0.7 input_offset=0,0.5" --grid "learning_rate=0.002,0.005 epochs=80"
"""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from models.tensorflow_log import load_tensorflow
from pipeline.networks import Network
from pipeline.recipe import ModelSection, Recipe, load_recipe

FOLDER = Path("runs/benchmarks/cross-validation")

Settings = dict[str, float]


@dataclass(frozen=True)
class Search:
    """What is searched: a recipe's models, over folds and seeds, with the fits that are known."""

    recipe: Recipe
    models: tuple[str, ...]
    seeds: int
    file: Path
    folds: int | None = None
    # Trained networks by what they were trained with: compressions are tried on the same ones.
    trained: dict[str, list[Any]] = field(default_factory=dict)

    def score(self, chosen: Settings) -> list[float]:
        """Score a choice of settings: one value for each model, fold and seed."""
        from models.cross_validation import folds
        from models.tasks import load_task

        known = self._known()
        scores = []
        tasks = folds(load_task(self.recipe.task))[: self.folds]
        for label, seed, (fold, task) in itertools.product(
            self.models, range(1, self.seeds + 1), enumerate(tasks)
        ):
            key = json.dumps([label, seed, fold, sorted(chosen.items())])
            if key not in known:
                known[key] = self._fit(with_settings(self.recipe, chosen), label, seed, fold, task)
                with self.file.open("a") as lines:
                    lines.write(json.dumps({"fit": key, "score": known[key]}) + "\n")
            scores.append(known[key])
        return scores

    def _known(self) -> dict[str, float]:
        if not self.file.exists():
            return {}
        lines = [json.loads(line) for line in self.file.read_text().splitlines()]
        return {line["fit"]: line["score"] for line in lines}

    def _fit(self, recipe: Recipe, label: str, seed: int, fold: int, task: Any) -> float:
        """Train and compress a model on a fold and judge it there."""
        import tf_keras as keras

        from models.compress import compression
        from models.compress.structured.cut import select_channels
        from models.prediction import evaluate
        from models.training import fit
        from pipeline.controls import plain_facts
        from pipeline.stages.fitting import training_settings, tuning_settings
        from pipeline.stages.train import architecture_of, new_network

        network = Network(_model(recipe, label), seed)
        keras.utils.set_random_seed(seed)
        architecture = architecture_of(recipe, network, task)
        trained = new_network(architecture, task)
        facts = [plain_facts(network.section), recipe.training.model_dump_json(), seed, fold]
        known = self.trained.get(json.dumps(facts))
        if known is None:
            fit(trained, task, training_settings(recipe, network))
            self.trained[json.dumps(facts)] = trained.get_weights()
        else:
            trained.set_weights(known)
        keras.utils.set_random_seed(seed)
        for name, section in network.section.compressions.items():
            tuning = section.tuning
            done = compression(name)(
                trained, architecture, task, section.settings,
                tuning_settings(recipe, network, tuning.epochs, tuning.learning_rate),
            )  # fmt: skip
            trained, architecture = done.network, done.architecture
            if done.channels is not None:
                task = select_channels(task, done.channels)
        score = evaluate(trained, task.test, task.score)[1]
        keras.backend.clear_session()
        return score


def with_settings(recipe: Recipe, chosen: Settings) -> Recipe:
    """Return the recipe with other settings, of [training] or of its models' compressions."""
    facts = recipe.model_dump(exclude_unset=True)
    for name, value in chosen.items():
        table, _, key = name.rpartition(".")
        whole = int(value) if float(value).is_integer() and key in ("epochs", "patience") else value
        if not table:
            facts.setdefault("training", {})[key] = whole
        if table == "augmentation":
            facts.setdefault("training", {}).setdefault(table, {})[key] = value
        for model in facts["models"]:
            if table in model:
                model[table][key] = whole
            elif not table:
                # What a model says for itself would win.
                model.get("training", {}).pop(key, None)
    return Recipe.model_validate(facts)


def _model(recipe: Recipe, label: str) -> ModelSection:
    known = {section.label: section for section in recipe.models}
    if label not in known:
        raise click.UsageError(f"there is no model '{label}'; there are: {', '.join(known)}")
    return known[label]


def combinations(grid: str) -> Iterator[Settings]:
    """List all combinations of a grid like "learning_rate=0.002,0.005 epochs=80,200"."""
    names, lists = [], []
    for part in grid.split():
        name, _, values = part.partition("=")
        try:
            lists.append([float(value) for value in values.split(",")])
        except ValueError:
            raise click.UsageError(f"'{part}' is not NAME=VALUE,VALUE...") from None
        names.append(name)
    for values_of in itertools.product(*lists):
        yield dict(zip(names, values_of, strict=True))


@click.command()
@click.argument("recipe", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--model", "models", multiple=True, help="By label; by default all of the recipe.")
@click.option("--grid", "grids", multiple=True, required=True, help="NAME=VALUE,... NAME=...")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1))
@click.option("--folds", type=click.IntRange(1), help="Judge on so many groups; by default on all.")
def main(
    recipe: Path, models: tuple[str, ...], grids: tuple[str, ...], seeds: int, folds: int | None
) -> None:
    """Print the mean score of each combination, and the best."""
    load_tensorflow()
    from models.tasks import load_task

    loaded = load_recipe(recipe)
    labels = models or tuple(one.label for one in loaded.models if not one.is_control)
    for label in labels:
        _model(loaded, label)
    FOLDER.mkdir(parents=True, exist_ok=True)
    search = Search(loaded, labels, seeds, FOLDER / f"{loaded.name}.jsonl", folds)
    metric = load_task(loaded.task).score
    best: Settings = {}
    click.echo(
        f"{loaded.task}, {', '.join(labels)}, {seeds} seed(s), {folds or 'all'} folds; "
        f"{metric.name}: mean of folds"
    )
    found: list[tuple[float, Settings]] = []
    for grid in grids:
        for tried in combinations(grid):
            scores = search.score({**best, **tried})
            found.append((statistics.mean(scores), {**best, **tried}))
            shown = " ".join(f"{name}={value:g}" for name, value in found[-1][1].items())
            lowest, highest = metric.text(min(scores)), metric.text(max(scores))
            click.echo(f"{metric.text(found[-1][0]):>8} ({lowest} to {highest})  {shown}")
        best = min(found, key=lambda one: metric.lost(one[0], 0))[1]
        click.echo("best: " + " ".join(f"{name}={value:g}" for name, value in best.items()))


if __name__ == "__main__":
    main()
