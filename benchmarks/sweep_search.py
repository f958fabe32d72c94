"""How good is the search: against drawing at random, and against trying everything?

``benchmarks/sweep_space.toml`` is a space that is small enough to be tried as a whole.
``--make-table`` does that with ``edgestep sweep``, and keeps what each network is worth in
``benchmarks/sweep_table.json``. Without it the searches draw from that table: every sampler as it
is in a sweep, five seeds each. Shown is the hypervolume after 15 % of the networks and after half
of them, as a share of the whole table's.

    python benchmarks/sweep_search.py [--make-table]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.sweep.front import hypervolume
from pipeline.sweep.log import RESULTS_FILE, SweepLog
from pipeline.sweep.settings import SweepSettings, load_sweep
from pipeline.sweep.space import Point, key_of
from pipeline.sweep.standing import losses
from pipeline.sweep.study import Search, objective_directions

HERE = Path(__file__).parent
SPACE, TABLE = HERE / "sweep_space.toml", HERE / "sweep_table.json"
SEEDS = 5
SHARES = (0.15, 0.5)
SAMPLERS = ("tpe", "nsgaii", "random")
# By sampler: settings of [search] for so few trials.
STARTUP, POPULATION, AHEAD = 5, 6, 2


def main() -> None:
    """Search in the table, or make it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--make-table", action="store_true", help="train all networks anew")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    chosen = parser.parse_args()
    if chosen.make_table:
        make_table(chosen.runs_dir)
    settings = load_sweep(SPACE)
    table = read_table()
    print(f"{len(table)} networks; hypervolume as a share of that of all of them, 5 seeds\n")
    print(f"{'sampler':8} " + "  ".join(f"{share:>4.0%} of the trials    " for share in SHARES))
    for sampler in SAMPLERS:
        found = [shares_found(settings, table, sampler, seed) for seed in range(1, SEEDS + 1)]
        columns = [
            f"{statistics.mean(one):.3f} ({min(one):.3f} to {max(one):.3f})"
            for one in zip(*found, strict=True)
        ]
        print(f"{sampler:8} " + "  ".join(columns))


def make_table(runs_dir: Path) -> None:
    """Try every network, and keep what it is worth."""
    from pipeline.sweep.run import run_sweep

    run_sweep(SPACE, runs_dir, None, 1, None, None, False)
    log = SweepLog.load(runs_dir / load_sweep(SPACE).name / RESULTS_FILE)
    rows = [{"point": one["point"], "objectives": one["objectives"]} for one in log.complete()]
    rows.sort(key=lambda row: key_of(row["point"]))
    lines = ",\n".join(json.dumps(row) for row in rows)
    TABLE.write_text(f"[\n{lines}\n]\n")


def read_table() -> dict[str, dict[str, Any]]:
    """Read each point's objectives, by its key."""
    return {key_of(row["point"]): row["objectives"] for row in json.loads(TABLE.read_text())}


def shares_found(
    settings: SweepSettings, table: Mapping[str, dict[str, Any]], sampler: str, seed: int
) -> list[float]:
    """Search, and return the share of the whole hypervolume after SHARES of the trials."""
    names = settings.objective_names
    directions = objective_directions(settings, True)
    changed = {"sampler": sampler, "seed": seed, "startup": STARTUP, "population": POPULATION,
               "ahead": AHEAD}  # fmt: skip
    settings = settings.model_copy(update={"search": settings.search.model_copy(update=changed)})
    records = [{"objectives": one} for one in table.values()]
    points = losses(records, names, directions)
    worst = [max(column) for column in zip(*points, strict=True)]
    best = [min(column) for column in zip(*points, strict=True)]
    span = [high - low or 1 for high, low in zip(worst, best, strict=True)]

    def volume(some: list[list[float]]) -> float:
        """In units of each objective's span; the worst point is a tenth beyond the worst seen."""
        scaled = [
            [(one - low) / size for one, low, size in zip(point, best, span, strict=True)]
            for point in some
        ]
        return hypervolume(scaled, [1.1] * len(names))

    most = round(max(SHARES) * len(table))
    drawn = draw(settings, directions, table, most)
    found = losses([{"objectives": table[key_of(point)]} for point in drawn], names, directions)
    return [volume(found[: round(share * len(table))]) / volume(points) for share in SHARES]


def draw(
    settings: SweepSettings,
    directions: Mapping[str, bool],
    table: Mapping[str, dict[str, Any]],
    trials: int,
) -> list[Point]:
    """Let a sampler draw points, as in a sweep, each worth what the table says."""
    with tempfile.TemporaryDirectory() as folder:
        log = SweepLog(Path(folder, RESULTS_FILE))
        search = Search(settings, directions, Path(folder))
        search.restore(log)
        for number in range(trials):
            point = search.ask(number, log)
            if point is None:
                break
            log.append("asked", trial=number, point=point)
            log.append("trial", trial=number, state="complete", point=point,
                       objectives=table[key_of(point)], violations={})  # fmt: skip
        return [log.asked[number] for number in sorted(log.asked)]


if __name__ == "__main__":
    main()
