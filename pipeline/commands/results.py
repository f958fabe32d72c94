"""``edgestep results``: results of many machines as tables, and two runs compared."""

from __future__ import annotations

from pathlib import Path

import click

from device_runner.errors import MissingRuntimeError
from device_runner.printable import echo

USUAL_QUERY = """
SELECT run, file, device, cpu, backend, mode, scheme, score, file_bytes AS bytes, p50_ns, p99_ns,
       valid
FROM bench
UNION ALL
SELECT trials.run, trials.file, device, NULL, NULL, NULL, NULL, coalesce(test_score, score), bytes,
       NULL, p99_ns, state = 'complete'
FROM trials LEFT JOIN trial_costs USING (run, trial) WHERE front
ORDER BY run, file, device
"""


@click.command("results")
@click.argument("places", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--sql", metavar="QUERY",
              help="Ask the tables bench, trials and trial_costs instead.")  # fmt: skip
@click.option("--compare", is_flag=True,
              help="Compare two runs' folders: scores with intervals, and times.")  # fmt: skip
@click.option("--json", "as_json_lines", is_flag=True, help="Print JSON lines.")
def results_command(
    places: tuple[Path, ...], sql: str | None, compare: bool, as_json_lines: bool
) -> None:
    """Show the results in PLACES, files or folders of runs, bench and sweeps, from any machine.

    The tables are SQL: bench has a row for each measured file, trials one for each trial of a
    sweep, trial_costs what a step of it takes on a device.
    """
    if compare:
        _compare(places)
        return
    try:
        from pipeline.results_view import ResultsView, as_json, find_results
    except ImportError as error:
        raise MissingRuntimeError(
            f"'edgestep results' needs more packages ({error}); "
            "install them with 'pip install edgestep[results]'"
        ) from error
    names, rows = ResultsView(find_results(places)).query(sql or USUAL_QUERY)
    if as_json_lines:
        echo(as_json(names, rows))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*names)
    for row in rows:
        table.add_row(*(_shown(one) for one in row))
    console = Console()
    if not console.is_terminal:
        console.width = 200
    console.print(table, markup=False)
    echo(f"{len(rows)} row{'s' * (len(rows) != 1)}")


def _shown(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _compare(places: tuple[Path, ...]) -> None:
    from pipeline.run_comparison import compare_runs

    if len(places) != 2:
        raise click.UsageError("--compare takes two folders of runs")
    for one in compare_runs(*places):
        echo(one.words())
