"""How good is the search: against drawing at random, and against trying everything?

``benchmarks/sweep_space.toml`` is a space that is small enough to be tried as a whole.
``--make-table`` does that with ``edgestep sweep``, and keeps what each network is worth in
``benchmarks/sweep_table.json``. Without it the searches draw from that table: every sampler as it
is in a sweep with one worker, with ten seeds; and from the table without one of its cells. Shown is
the hypervolume after 15 % of the networks and after half of them, as a share of the whole table's.

    python benchmarks/sweep_search.py [--make-table] [--seeds 10]
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
from pipeline.sweep.survey import graph_key

HERE = Path(__file__).parent
SPACE, TABLE = HERE / "sweep_space.toml", HERE / "sweep_table.json"
SHARES = (0.15, 0.5)
SAMPLERS = ("ehvi", "tpe", "nsgaii", "random")
# By sampler: settings of [search] for so few trials.
STARTUP, POPULATION, AHEAD = 5, 6, 1


def main() -> None:
    """Search in the tables, or make them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--make-table", action="store_true", help="train all networks anew")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    parser.add_argument("--seeds", type=int, default=10)
    chosen = parser.parse_args()
    print(f"hypervolume as a share of that of all networks, {chosen.seeds} seeds\n")
    shares = "  ".join(f"{share:>4.0%} of the trials    " for share in SHARES)
    print(f"{'networks':40} {'sampler':8} {shares}")
    if chosen.make_table:
        make_table(chosen.runs_dir)
    settings, table = load_sweep(SPACE), read_table()
    whole = settings.space.cell
    for cells in (whole, *([cell for cell in whole if cell != left] for left in whole)):
        show(settings, table, cells, chosen.seeds)


def show(
    settings: SweepSettings, table: Mapping[str, dict[str, Any]], cells: list[str], seeds: int
) -> None:
    """Print a line for each sampler, of the table's networks of these cells."""
    rows = {key: row for key, row in table.items() if row["point"]["cell"] in cells}
    space = settings.space.model_copy(update={"cell": cells})
    settings = settings.model_copy(update={"space": space})
    for sampler in SAMPLERS:
        found = [shares_found(settings, rows, sampler, seed) for seed in range(1, seeds + 1)]
        columns = [
            f"{statistics.mean(one):.3f} ({min(one):.3f} to {max(one):.3f})"
            for one in zip(*found, strict=True)
        ]
        name = f"{len(rows)}: {', '.join(cells)}"
        print(f"{name:40} {sampler:8} " + "  ".join(columns), flush=True)


def make_table(runs_dir: Path) -> None:
    """Try every network, and keep what it is worth."""
    from pipeline.sweep.run import run_sweep

    run_sweep(SPACE, runs_dir, None, 1, None, None, False)
    log = SweepLog.load(runs_dir / load_sweep(SPACE).name / RESULTS_FILE)
    rows = [{name: one[name] for name in ("point", "objectives", "parameters")}
            for one in log.complete()]  # fmt: skip
    rows.sort(key=lambda row: key_of(row["point"]))
    lines = ",\n".join(json.dumps(row) for row in rows)
    TABLE.write_text(f"[\n{lines}\n]\n")


def read_table() -> dict[str, dict[str, Any]]:
    """Read each point's objectives and parameters, by its key."""
    return {key_of(row["point"]): row for row in json.loads(TABLE.read_text())}


def shares_found(
    settings: SweepSettings, table: Mapping[str, dict[str, Any]], sampler: str, seed: int
) -> list[float]:
    """Search, and return the share of the whole hypervolume after SHARES of the trials."""
    names = settings.objective_names
    directions = objective_directions(settings, True)
    changed = {"sampler": sampler, "seed": seed, "startup": STARTUP, "population": POPULATION,
               "ahead": AHEAD}  # fmt: skip
    settings = settings.model_copy(update={"search": settings.search.model_copy(update=changed)})
    points = losses(list(table.values()), names, directions)
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
    found = losses([table[key_of(point)] for point in drawn], names, directions)
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
        for row in table.values():
            graph = graph_key(row["point"])
            if settings.search.sampler == "ehvi" and graph not in log.surveyed:
                facts = {"bytes": row["objectives"]["bytes"], "parameters": row["parameters"]}
                log.append("surveyed", graph=graph, state="done", violations={}, **facts)
        for number in range(trials):
            point = search.ask(number, log)
            if point is None:
                break
            log.append("asked", trial=number, point=point)
            log.append("trial", trial=number, state="complete", point=point,
                       objectives=table[key_of(point)]["objectives"], violations={})  # fmt: skip
        return [log.asked[number] for number in sorted(log.asked)]


if __name__ == "__main__":
    main()
