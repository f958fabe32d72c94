"""What structured pruning buys: time per step and what it costs in accuracy, on real data.

For every cell and seed a network is trained, units are taken out of it in rounds with fine-tuning
(``models.compress.structured``), and a network of the small size is trained from random weights,
which is what a pruned one has to be compared with (Z. Liu et al., "Rethinking the value of network
pruning", 2019). All are exported in float32 and int8; accuracies are those of the step models on
LiteRT over the test data. Then the whole and the pruned files of the first seed are measured, all
interleaved in one run; times are medians, of the runner's whole step in Python and of the runtime's
share of it, the bare invoke, which is what a caller in C pays.

    python benchmarks/structured_pruning.py [--json]
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np

from device_runner.measure.latency import BenchSettings, measure
from device_runner.measure.machine import describe_machine
from device_runner.stream import Stream
from models.cells import CELLS
from models.tensorflow_log import load_tensorflow

CALIBRATION_STEPS = 40_000
SCHEMES = ("float32", "int8")
# What is compared: the trained network, what is left of it, and one trained at that size.
NETWORKS = ("whole", "pruned", "scratch")
INPUT_NOISE, INPUT_OFFSET = 0.7, 0.5
TRAINING: dict[str, Any] = {"epochs": 80, "learning_rate": 2e-3, "patience": 25}


@dataclass
class CellResult:
    """Of one cell, by (network, scheme): test accuracies, one per seed; the first seed's file;
    median nanoseconds of the whole step and of its invoke."""

    cell: str
    units: int
    units_kept: int = 0
    accuracies: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    files: dict[tuple[str, str], Path] = field(default_factory=dict)
    step_ns: dict[tuple[str, str], float] = field(default_factory=dict)
    invoke_ns: dict[tuple[str, str], float] = field(default_factory=dict)
    rounds: list[list[dict[str, Any]]] = field(default_factory=list)

    def median(self, network: str, scheme: str) -> float:
        return float(np.median(self.accuracies[network, scheme]))

    def speedup(self, scheme: str) -> float:
        return self.step_ns["whole", scheme] / self.step_ns["pruned", scheme]

    def invoke_speedup(self, scheme: str) -> float:
        return self.invoke_ns["whole", scheme] / self.invoke_ns["pruned", scheme]

    def as_json(self) -> dict[str, Any]:
        return {
            "cell": self.cell,
            "units": self.units,
            "units_kept": self.units_kept,
            "rounds": self.rounds,
            **{
                scheme: {
                    **{f"{n}_accuracies": self.accuracies[n, scheme] for n in NETWORKS},
                    "points_lost": 100
                    * (self.median("whole", scheme) - self.median("pruned", scheme)),
                    "whole_ns": self.step_ns["whole", scheme],
                    "pruned_ns": self.step_ns["pruned", scheme],
                    "speedup": self.speedup(scheme),
                    "whole_invoke_ns": self.invoke_ns["whole", scheme],
                    "pruned_invoke_ns": self.invoke_ns["pruned", scheme],
                    "invoke_speedup": self.invoke_speedup(scheme),
                }
                for scheme in SCHEMES
            },
        }


@dataclass(frozen=True)
class Plan:
    """What to prune, and how; ``keep`` as models.compress.structured.prune_units has it."""

    task: str
    units: int
    keep: float
    rounds: int
    tuning_epochs: int
    tuning_rate: float
    importance: Literal["taylor", "norm"]
    folder: Path


def run_seed(plan: Plan, result: CellResult, seed: int, say: Callable[[str], None]) -> None:
    """Train, prune and export with one seed, into ``result``."""
    import tf_keras as keras

    from models.compress import PruneSettings
    from models.compress.structured.rounds import prune_in_rounds
    from models.network import Architecture
    from models.tasks import load_task
    from models.training import fit
    from models.training_settings import TrainingSettings

    task = load_task(plan.task)
    settings = TrainingSettings(**TRAINING, seed=seed)
    tuning = replace(settings, epochs=plan.tuning_epochs, learning_rate=plan.tuning_rate)

    def trained(architecture: Architecture) -> keras.Sequential:
        keras.utils.set_random_seed(seed)
        network = architecture.build()
        network.get_layer("normalization").adapt(*task.normalization)
        fit(network, task, settings)
        return network

    whole = Architecture(
        result.cell,
        (plan.units,),
        len(task.channels),
        len(task.labels),
        input_noise=INPUT_NOISE,
        input_offset=INPUT_OFFSET,
    )
    say(f"{result.cell}, seed {seed}: training {plan.units} units")
    network = trained(whole)
    export_all(plan, result, "whole", network, whole, task, seed)
    say(f"{result.cell}, seed {seed}: pruning")
    wanted = PruneSettings(keep=plan.keep, rounds=plan.rounds, importance=plan.importance)
    compressed = prune_in_rounds(network, whole, task, wanted, tuning)
    pruned, small = compressed.network, compressed.architecture
    result.rounds.append(compressed.facts["rounds"])
    result.units_kept = small.units[0]
    export_all(plan, result, "pruned", pruned, small, task, seed)
    say(f"{result.cell}, seed {seed}: training {small.units[0]} units from scratch")
    export_all(plan, result, "scratch", trained(small), small, task, seed)


def export_all(
    plan: Plan, result: CellResult, name: str, network: Any, architecture: Any, task: Any, seed: int
) -> None:
    """Export in all schemes; note the accuracies and the first seed's files."""
    from calibration.rollout import long_streams
    from convert.export import export, float_step

    step = float_step(network)
    streams = long_streams(task.train.sequences, CALIBRATION_STEPS, seed)
    ranges = step.calibrate(streams)
    for scheme in SCHEMES:
        path = plan.folder / f"{result.cell}-{name}-s{seed}-{scheme}.tflite"
        model = export(network, architecture, task, scheme, path, step, ranges)
        result.accuracies.setdefault((name, scheme), []).append(model.contract.metrics["accuracy"])
        result.files.setdefault((name, scheme), path)


def measure_files(results: Sequence[CellResult], settings: BenchSettings) -> None:
    """Measure the whole and the pruned files of all cells in one interleaved run."""
    jobs = [
        (result, key) for result in results for key in result.files if key[0] in ("whole", "pruned")
    ]
    streams = [Stream(result.files[key], "litert") for result, key in jobs]
    for (result, key), latency in zip(jobs, measure(streams, settings), strict=True):
        # 100 steps, the fewest that the command takes, are enough for a median.
        result.step_ns[key] = float(latency.step.percentiles["p50"] or 0)
        result.invoke_ns[key] = float(latency.invoke.percentiles["p50"] or 0)


def print_table(results: Sequence[CellResult], plan: Plan, seeds: int) -> None:
    facts = describe_machine()
    click.echo(
        f"{facts['model']}, LiteRT, 1 thread, {plan.task}, {seeds} seeds; accuracy in %: "
        "median (range)"
    )
    click.echo(
        f"{'cell':12}{'units':>10} {'scheme':8}{'whole us':>9}{'pruned us':>10}{'faster':>8}"
        f"{'invoke':>8}"
        f"{'whole':>19}{'pruned':>19}{'from scratch':>19}{'lost':>6}"
    )
    for result in results:
        for scheme in SCHEMES:
            accuracies = "".join(
                f"{_median_and_range(result.accuracies[name, scheme]):>19}" for name in NETWORKS
            )
            lost = 100 * (result.median("whole", scheme) - result.median("pruned", scheme))
            units = f"{result.units}->{result.units_kept}"
            click.echo(
                f"{result.cell:12}{units:>10} {scheme:8}"
                f"{result.step_ns['whole', scheme] / 1e3:9.1f}"
                f"{result.step_ns['pruned', scheme] / 1e3:10.1f}"
                f"{result.speedup(scheme):7.2f}x{result.invoke_speedup(scheme):7.2f}x"
                f"{accuracies}{lost:6.1f}"
            )


def _median_and_range(values: Sequence[float]) -> str:
    low, middle, high = (100 * f(values) for f in (np.min, np.median, np.max))
    return f"{middle:.1f} ({low:.1f}-{high:.1f})"


@click.command()
@click.option("--cell", "cells", multiple=True, type=click.Choice(list(CELLS)))
@click.option("--task", default="japanese-vowels", show_default=True)
@click.option("--units", default=256, show_default=True, type=click.IntRange(2))
@click.option("--keep", default=0.5, show_default=True, help="Share of the units to keep.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--tuning-epochs", default=60, show_default=True, help="Per round.")
@click.option("--tuning-rate", default=1e-3, show_default=True, help="Learning rate of a round.")
@click.option(
    "--importance", default="taylor", show_default=True, type=click.Choice(["taylor", "norm"])
)
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--steps", default=20_000, show_default=True, type=click.IntRange(100))
@click.option("--json", "as_json", is_flag=True, help="One JSON object per cell.")
def main(
    cells: tuple[str, ...],
    task: str,
    units: int,
    keep: float,
    rounds: int,
    tuning_epochs: int,
    tuning_rate: float,
    importance: Literal["taylor", "norm"],
    seeds: int,
    steps: int,
    as_json: bool,
) -> None:
    """Take units out of trained networks (default: GRU and LSTM) and compare."""
    load_tensorflow()
    results = [CellResult(cell, units) for cell in cells or ("gru", "lstm")]
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(task, units, keep, rounds, tuning_epochs, tuning_rate, importance, Path(folder))
        for result in results:
            for seed in range(1, seeds + 1):
                run_seed(plan, result, seed, lambda line: click.echo(line, err=True))
        measure_files(results, BenchSettings(steps=steps))
    if as_json:
        for result in results:
            click.echo(json.dumps(result.as_json()))
    else:
        print_table(results, plan, seeds)


if __name__ == "__main__":
    main()
