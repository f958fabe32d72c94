"""``edgestep run``: a recipe, the whole way."""

from __future__ import annotations

from pathlib import Path

import click

from device_runner.errors import MissingRuntimeError
from pipeline.stages import STOPS


@click.command("run")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--runs-dir", type=click.Path(file_okay=False, path_type=Path), default="runs",
              show_default=True, help="Folder that holds a folder per recipe.")  # fmt: skip
@click.option("--until", type=click.Choice(STOPS), default=STOPS[-1],
              show_default=True, help="Stop after this stage.")  # fmt: skip
@click.option("--again", type=click.Choice(STOPS), multiple=True,
              help="Do this stage again even if it is done.")  # fmt: skip
@click.option("--tensorboard", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
              help="Write the trainings as TensorBoard reads them, too.")  # fmt: skip
def run(
    recipe: Path, runs_dir: Path, until: str, again: tuple[str, ...], tensorboard: Path | None
) -> None:
    """Train, convert, verify and measure all models of RECIPE; finished stages are skipped.

    Leaves the .tflite files, results.jsonl and report.html in RUNS_DIR/NAME.
    """
    try:
        from pipeline.run import run_recipe
    except ImportError as error:
        raise MissingRuntimeError(
            f"'edgestep run' needs the workstation's packages ({error}); "
            "install them with 'pip install edgestep[workstation]'"
        ) from error
    run_recipe(recipe, runs_dir, until, again, tensorboard)
