"""``edgestep robustness``: what a step model does when its input is not as in training."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from device_runner.commands.options import backend_option, force_option
from device_runner.containment import contained
from device_runner.output_file import OutputKind, check_replaceable
from device_runner.printable import echo, without_controls


@click.command("robustness")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--data", metavar="FILE",
              help="Real sequences, as for 'convert'; default: the test data of the model's "
                   "task.")  # fmt: skip
@click.option("--wanted", type=click.Path(path_type=Path), metavar="FILE",
              help="What is wanted of them: .npy or .csv with a class for each sequence, .npz with "
                   "classes or values for each step.")  # fmt: skip
@click.option("--task", metavar="NAME|RECIPE",
              help="Another task's test data, of the same inputs and outputs (a noisy one, say); "
                   "or a recipe, for its task.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True,
              help="Random draws of each severity.")  # fmt: skip
@backend_option
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path),
              default="robustness.html", show_default=True,
              help="The page; the scores go beside it, as .jsonl.")  # fmt: skip
@force_option
@contained
def robustness_command(
    files: tuple[Path, ...],
    data: str | None,
    wanted: Path | None,
    task: str | None,
    seeds: int,
    backend: str,
    output: Path,
    force: bool,
) -> None:
    """Judge step models on disturbed data: lost, late and repeated frames, noise, offsets, stuck
    and dead channels, another rate of the sensor, and bits that flip in states and weights.

    Prints what each disturbance takes to matter, and writes a page with the curves. Each score is
    kept as soon as it is known; the same command goes on after an interruption.
    """
    if (data is None) != (wanted is None):
        raise click.UsageError("--data and --wanted belong together; give both, or neither")
    if data and task:
        raise click.UsageError("--data and --task name the data twice; give one of them")
    from rich.console import Console
    from rich.progress import Progress

    from device_runner.model.step_file import StepModel, load_step_model
    from models.tensorflow_log import load_tensorflow
    from pipeline.robustness.labelled import of_files, of_task
    from pipeline.robustness.page import table, write_page
    from pipeline.robustness.study import Kept, study
    from pipeline.robustness.trial import Labelled
    from pipeline.run import LOG_WIDTH

    check_replaceable(output, OutputKind.ROBUSTNESS, force)
    models = [load_step_model(path) for path in files]
    for model in models:
        model.require_one_row("robustness")
    kept = Kept(output.with_suffix(".jsonl"))
    load_tensorflow()
    sources: dict[str, None] = {}

    def load(model: StepModel) -> Labelled:
        found = of_files(model, data, wanted) if data and wanted else of_task(model, task)
        sources[found.source] = None
        return found

    console = Console()
    if not console.is_terminal:
        console.width = LOG_WIDTH
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=None)

        def show(done: int, total: int, remark: str) -> None:
            progress.update(bar, completed=done, total=total, description=without_controls(remark))

        found = study(models, load, seeds, backend, kept, show)
    console.print(table(found), markup=False)
    command = shlex.join(["edgestep", *sys.argv[1:]])
    write_page(output, found, "; ".join(sources), command)
    echo(f"{output} and {output.with_suffix('.jsonl')}")
