"""Run a recipe in a terminal: show progress while it works and the table when it is done."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from device_runner.printable import without_controls
from pipeline.all_stages import run_stages
from pipeline.interrupts import catch_interrupt
from pipeline.recipe import load_recipe
from pipeline.report import load_histories, write_report
from pipeline.table import make_rows, print_table
from pipeline.tensorboard_logs import write_logs
from pipeline.training_machines import dismiss, help_train, join, joins_machines
from pipeline.work import Report, Tracker
from pipeline.workspace import Workspace

# Columns of the output if it does not go to a terminal.
LOG_WIDTH = 100


def run_recipe(
    path: Path, runs_dir: Path, until: str, again: tuple[str, ...], logs: Path | None = None
) -> None:
    """Run the stages of the recipe at ``path`` up to ``until`` and show the results.

    Args:
        again: stages that are done once more.
        logs: where TensorBoard's logs go; None for none.
    """
    console = Console()
    if not console.is_terminal:
        console.width = LOG_WIDTH
    recipe = load_recipe(path)
    group = join(recipe) if joins_machines(recipe) else None
    if group and not group.is_first:
        count = help_train(recipe, group, lambda text: console.print(text, markup=False))
        console.print(f"helped with {count} trainings; the results are with the first machine")
        return
    skipped: list[str] = []
    check_interrupt = catch_interrupt()

    def announce(subject: str, stage: str, fresh: bool) -> None:
        check_interrupt()
        if not fresh:
            skipped.append(f"{subject} {stage}")

    def warn(text: str) -> None:
        console.print(without_controls(text), markup=False)

    workspace = Workspace(runs_dir / recipe.name, again, announce, warn)
    start = time.monotonic()
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[remark]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with workspace.locked(), progress:
        outcome = run_stages(recipe, workspace, until, _tracker(console, progress, check_interrupt))
    if group:
        dismiss(group)
    if skipped:
        console.print(f"{len(skipped)} finished stages were skipped.")
    if logs:
        write_logs(logs, load_histories(outcome))
        console.print(without_controls(f"tensorboard --logdir {logs}"), markup=False)
    if until == "report":
        report = write_report(outcome, path)
        print_table(make_rows(outcome), outcome, console)
        console.print(without_controls(f"report: {report}"), markup=False)
    if outcome.files:
        step_models = workspace.folder / "*.tflite"
        console.print(without_controls(f"step models: {step_models}"), markup=False)
    console.print(f"done in {time.monotonic() - start:.0f} s")


def _tracker(console: Console, progress: Progress, check_interrupt: Callable[[], None]) -> Tracker:
    @contextlib.contextmanager
    def track(subject: str, stage: str) -> Iterator[Report]:
        bar = progress.add_task(f"{stage} {subject}", total=None, remark="")
        start = time.monotonic()
        last_remark = ""

        def report(done: int, total: int, remark: str) -> None:
            nonlocal last_remark
            check_interrupt()
            last_remark = remark
            progress.update(bar, completed=done, total=total, remark=remark)

        try:
            yield report
        finally:
            progress.remove_task(bar)
        remark = f"  {last_remark}" if last_remark else ""
        line = f"{stage:9} {subject:24} {time.monotonic() - start:6.1f} s{remark}"
        console.print(without_controls(line), markup=False)

    return track
