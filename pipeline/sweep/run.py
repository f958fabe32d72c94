"""Run a sweep in a terminal: progress while it works, the front when it is done."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from device_runner.commands.group import INTERRUPTED_EXIT_CODE
from device_runner.errors import MissingRuntimeError
from device_runner.printable import echo, without_controls
from models.metrics import MetricDescription
from pipeline.interrupts import catch_interrupt
from pipeline.sweep.coordinator import Sweep
from pipeline.sweep.log import COMPLETE, RESULTS_FILE, SweepLog
from pipeline.sweep.page import REPORT_FILE, write_page
from pipeline.sweep.settings import ACCURACY, BYTES, SweepSettings, load_sweep
from pipeline.sweep.space import Space, trial_recipe
from pipeline.sweep.standing import front_of
from pipeline.sweep.study import Search, objective_directions
from pipeline.sweep.trial import front_end_words
from pipeline.sweep.workers import LocalWorkers, Workers
from pipeline.workspace import Workspace

LOG_WIDTH = 110
# More processes would each hold TensorFlow in memory.
MOST_WORKERS = 4


def run_sweep(
    path: Path,
    runs_dir: Path,
    workers: int | None,
    threads: int,
    ray_address: str | None,
    storage: str | None,
    rebuild_study: bool,
) -> None:
    """Do what is left of the sweep at ``path``, and show what came of it."""
    settings = with_storage(load_sweep(path), storage)
    console = Console()
    if not console.is_terminal:
        console.width = LOG_WIDTH
    metric = _metric(settings)
    workspace = Workspace(runs_dir.resolve() / settings.name)
    with workspace.locked():
        log = SweepLog.load(workspace.folder / RESULTS_FILE)
        directions = objective_directions(settings, metric["higher_is_better"])
        search = Search(settings, directions, workspace.folder)
        if rebuild_study:
            search.restore(log)
            echo(f"the study was made anew of {len(log.asked)} trials of {log.path}")
            return
        kind = f"--ray {ray_address}" if ray_address else "processes here"
        console.print(
            f"{settings.name}: {settings.trials} trials of "
            f"{search.space.size or 'countless'} points, {kind}; "
            f"{len(log.trials)} are done",
            markup=False,
        )
        pool = _workers(ray_address, workers or _usual_workers(), threads, workspace.folder)
        start = time.monotonic()
        try:
            with _Shown(console, settings, MetricDescription(**metric), log) as shown:
                Sweep(settings, metric, workspace.folder, log, search, pool, shown).run()
        except KeyboardInterrupt:
            echo(
                f"Interrupted: {len(log.trials)} of {settings.trials} trials are kept in "
                f"{log.path}; run the same command to go on.",
                err=True,
            )
            raise click.exceptions.Exit(INTERRUPTED_EXIT_CODE) from None
        finally:
            pool.close()
        _show_front(console, settings, MetricDescription(**metric), log)
        console.print(f"done in {time.monotonic() - start:.0f} s", markup=False)


def with_storage(settings: SweepSettings, storage: str | None) -> SweepSettings:
    """Keep the study elsewhere than sweep.toml says."""
    if not storage:
        return settings
    raw = settings.model_dump(mode="json")
    raw["search"]["storage"] = storage
    return SweepSettings.model_validate(raw)


def _metric(settings: SweepSettings) -> dict[str, Any]:
    """Return the facts of the task's metric."""
    space = Space(settings)
    recipe = trial_recipe(space.recipe(space.ends()), "[recipe]")
    return recipe.load_task().score.facts()


def _usual_workers() -> int:
    return min(MOST_WORKERS, len(os.sched_getaffinity(0)))


def _workers(ray_address: str | None, count: int, threads: int, folder: Path) -> Workers:
    if ray_address is None:
        return LocalWorkers(count, threads, folder)
    try:
        from pipeline.sweep.ray_workers import RayWorkers
    except ImportError as error:
        raise MissingRuntimeError(
            f"--ray needs more packages ({error}); install them with 'pip install edgestep[ray]'"
        ) from error
    pool: Workers = RayWorkers(ray_address, threads, folder)
    return pool


class _Shown:
    """The progress of a sweep: a bar, and a line for each trial."""

    def __init__(
        self, console: Console, settings: SweepSettings, metric: MetricDescription, log: SweepLog
    ) -> None:
        self.console, self.settings, self.metric, self.log = console, settings, metric, log
        self.check_interrupt = catch_interrupt()
        self.bar = Progress(
            TextColumn("trials"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[remark]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> _Shown:
        self.bar.start()
        self.task = self.bar.add_task(
            "", total=self.settings.trials, completed=len(self.log.trials), remark=""
        )
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def check(self) -> None:
        self.check_interrupt()

    def at_work(self, text: str) -> None:
        self.bar.update(self.task, remark=text)

    def finished(self, record: dict[str, Any], log: SweepLog) -> None:
        self.bar.update(self.task, completed=len(log.trials), remark="")
        best = record["trial"] in front_of(log, self.settings)
        mark = "  (front)" if best else ""
        reason = f"  {record['reason']}" if record["reason"] else ""
        broken = [name for name, beyond in record["violations"].items() if beyond > 0]
        if broken:
            reason = f"  beyond {', '.join(broken)}"
        state = "" if record["state"] == COMPLETE else f"{record['state']}  "
        found = "  ".join(texts(self._in_order(record["objectives"]), self.metric))
        line = f"trial {record['trial']:3}  {_name(record):32} {state}{found}{mark}{reason}"
        self.console.print(without_controls(line), markup=False)

    def _in_order(self, found: dict[str, Any]) -> dict[str, Any]:
        names = self.settings.objective_names
        return {name: found[name] for name in names if name in found}


def _name(record: dict[str, Any]) -> str:
    return record["label"] or " ".join(str(one) for one in record["point"].values() if one)


def texts(objectives: dict[str, Any], metric: MetricDescription) -> list[str]:
    """Write objectives with their units."""
    found = []
    for name, value in objectives.items():
        if name == ACCURACY:
            found.append(metric.text(value))
        elif name == BYTES:
            found.append(f"{value:,} B")
        else:
            found.append(f"p99 {value / 1000:.1f} us {name.partition(':')[2]}")
    return found


def _show_front(
    console: Console, settings: SweepSettings, metric: MetricDescription, log: SweepLog
) -> None:
    states = [one["state"] for one in log.trials.values()]
    counts = ", ".join(f"{states.count(one)} {one}" for one in dict.fromkeys(states))
    console.print(f"{len(states)} trials: {counts}", markup=False)
    front = log.front["trials"] if log.front else []
    if not front:
        console.print("no trial kept its constraints and was trained; see results.jsonl")
        return
    table = Table(Column("file", overflow="fold"), *settings.objective_names, f"test {metric.name}")
    for one in front:
        low, high = one["test_interval"]
        values = {name: one["objectives"][name] for name in settings.objective_names}
        words = " ".join(front_end_words(log.asked[one["trial"]]))
        table.add_row(
            f"{one['file']}\n{words}" if words else one["file"],
            *texts(values, metric),
            f"{metric.text(one['test'])} ({metric.text(low)} to {metric.text(high)})",
        )
    console.print(table)
    console.print(f"results: {log.path}", markup=False)
    page = log.path.with_name(REPORT_FILE)
    write_page(page, settings, metric, log, sys.argv[1:])
    console.print(without_controls(f"report: {page}"), markup=False)
