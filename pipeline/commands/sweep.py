"""``edgestep sweep``: search for the network that suits a task, a device and a deadline."""

from __future__ import annotations

from pathlib import Path

import click

from device_runner.errors import MissingRuntimeError


@click.command("sweep")
@click.argument("sweep", type=click.Path(path_type=Path))
@click.option("--runs-dir", type=click.Path(file_okay=False, path_type=Path), default="runs",
              show_default=True, help="Folder that holds a folder per sweep.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1), metavar="N",
              help="Processes on this machine; default: one a core, up to 4.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True,
              help="Threads of each worker.")  # fmt: skip
@click.option("--ray", "ray_address", metavar="auto|ADDRESS",
              help="Have the workers of this Ray cluster train instead.")  # fmt: skip
@click.option("--storage", metavar="URL", envvar="EDGESTEP_SWEEP_STORAGE",
              help="Where the study is kept, instead of what SWEEP says.")  # fmt: skip
@click.option("--rebuild-study", is_flag=True,
              help="Make the study anew of results.jsonl, and do nothing else.")  # fmt: skip
def sweep_command(
    sweep: Path,
    runs_dir: Path,
    workers: int | None,
    threads: int,
    ray_address: str | None,
    storage: str | None,
    rebuild_study: bool,
) -> None:
    """Search the space of SWEEP for networks that are accurate, small and fast.

    Constraints are decided before anything is trained, on networks with random weights. The
    validation data decides; the test data is read once, at the end, for the networks that none
    beats. What was done is kept in RUNS_DIR/NAME/results.jsonl; the same command goes on from it.
    """
    try:
        from pipeline.sweep.run import run_sweep
    except ImportError as error:
        raise MissingRuntimeError(
            f"'edgestep sweep' needs more packages ({error}); "
            "install them with 'pip install edgestep[workstation,sweep]'"
        ) from error
    run_sweep(sweep, runs_dir, workers, threads, ray_address, storage, rebuild_study)
