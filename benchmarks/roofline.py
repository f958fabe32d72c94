"""How fast this core reads memory, by how much of it is read again and again: its cache levels.

A kernel that steps a network reads every weight once a step. So a step cannot be faster than its
weights' bytes over the rate at the level that they fit into. ``native_kernels.py`` prints that
time beside each kernel's own.

    python benchmarks/roofline.py [--json]
"""

from __future__ import annotations

import json
import statistics

import click
from native_library import Block, read_nanoseconds
from record import write_record

from device_runner.measure.machine import describe_machine

KIBIBYTES = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 65536)
ROUNDS, ROUND_BYTES = 21, 40_000_000


@click.command(help=__doc__)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def main(as_json: bool) -> None:
    """Read blocks of each size and print the rate."""
    rows, block = [], Block(KIBIBYTES[-1] * 1024)
    for kibibytes in KIBIBYTES:
        size = kibibytes * 1024
        repeats = max(1, ROUND_BYTES // size)
        read_nanoseconds(block, size, repeats)
        times = [read_nanoseconds(block, size, repeats) for _ in range(ROUNDS)]
        low, median, high = statistics.quantiles(times, n=4)
        row = {"KiB": kibibytes, "ns": median, "+-": (high - low) / 2, "GB/s": size / median}
        rows.append(row)
        line = f"{kibibytes:8} KiB {median:12.0f} ns +-{row['+-']:8.0f} {row['GB/s']:8.1f} GB/s"
        click.echo(json.dumps(row) if as_json else line)
    click.echo(f"medians of {ROUNDS} rounds; {describe_machine()}")
    write_record("roofline", "reading memory, by size", rows)


if __name__ == "__main__":
    main()
