"""``edgestep adopt``: a step contract for a TFLite file that edgestep did not make."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from convert.schemes import SCHEMES
from device_runner.commands.options import force_option
from device_runner.containment import contained, stepping
from device_runner.memory_limit import MEGABYTE, reading
from device_runner.printable import echo


def _pairs(
    _: click.Context, __: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    pairs = []
    for value in values:
        taken, separator, given = value.partition("=")
        if not taken or not separator or not given:
            raise click.BadParameter(f"'{value}' is not of the form INPUT=OUTPUT")
        pairs.append((taken, given))
    return tuple(pairs)


@click.command("adopt")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--state", "states", metavar="INPUT=OUTPUT", multiple=True, callback=_pairs,
              help="A state, where names and shapes do not tell; may be given again.")  # fmt: skip
@click.option("--signature", metavar="KEY", help="The signature that is the step.")
@click.option("--scheme", metavar="SCHEME",
              help=f"Quantize a float file: {', '.join(SCHEMES)}; default: as it is.")  # fmt: skip
@click.option("--data", metavar="FILE",
              help="Real sequences: .npy, .npz, .csv, .parquet, or module:function.")  # fmt: skip
@click.option("--random-calibration", is_flag=True,
              help="Calibrate on random numbers where there is no data.")  # fmt: skip
@click.option("--frame-period", type=click.FloatRange(0, min_open=True), metavar="SECONDS",
              help="Time between two frames, the deadline of a step.")  # fmt: skip
@click.option("--labels", metavar="A,B,...", help="What the first output's values stand for.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path),
              help="The file to write; default: FILE with 'step' or the scheme in its "
                   "name.")  # fmt: skip
@click.option("--memory", type=click.IntRange(64), default=2048, show_default=True, metavar="MB",
              help="What the file may take beyond its own size.")  # fmt: skip
@force_option
@contained
def adopt_command(
    file: Path,
    states: tuple[tuple[str, str], ...],
    signature: str | None,
    scheme: str | None,
    data: str | None,
    random_calibration: bool,
    frame_period: float | None,
    labels: str | None,
    output: Path | None,
    memory: int,
    force: bool,
) -> None:
    """Write a step contract into a copy of FILE, a TFLite file that edgestep did not make.

    States are recognised by names that are equal on both sides, by equal shapes and how they are
    connected, or as --state says. States that the file keeps inside (variables, LSTM operators)
    become inputs and outputs. The golden outputs are what the file itself computes on LiteRT; it is
    not verified against a trained model.
    """
    from convert.adoption.adopt import Wishes, adopt_file
    from convert.verify import objections, passed, verify_on_runtimes
    from device_runner.errors import VerificationError

    names = tuple(part.strip() for part in labels.split(",")) if labels else ()
    wishes = Wishes(states, signature, scheme, data, random_calibration, frame_period, names)
    with reading(file, memory * MEGABYTE), stepping(file):
        model = adopt_file(file, wishes, output, echo, force)
    answers = verify_on_runtimes([model.path])
    good = passed(answers)
    inputs = "the data given" if data else "random inputs"
    spread = float(np.ptp(model.golden.y)) or 1.0
    error = max((one["rms"] for one in answers if one["backend"] in good), default=0.0) / spread
    echo(
        f"{model.path}: {model.file_bytes:,} bytes, {model.contract.scheme}, "
        f"states {', '.join(one.name for one in model.contract.states) or 'none'}; as the file "
        f"itself computes on litert, on {inputs}, to {error:.1g} rms of its outputs' spread on "
        f"{', '.join(good) or 'no runtime'}; not verified against a trained model"
    )
    for objection in objections(answers):
        echo(f"  not on {objection}")
    if answers and not good:
        raise VerificationError(f"{model.path}: no runtime here computes it right; do not use it")
