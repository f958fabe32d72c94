"""``edgestep saliency``: which inputs and which past steps decide."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from device_runner.commands.options import backend_option, force_option
from device_runner.containment import contained
from device_runner.output_file import OutputKind, check_replaceable
from device_runner.printable import echo


@click.command("saliency")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--data", metavar="FILE",
              help="Real sequences, as for 'convert'; default: the test data of the model's "
                   "task.")  # fmt: skip
@click.option("--sequences", type=click.IntRange(1), default=3, show_default=True,
              help="How many sequences to explain.")  # fmt: skip
@backend_option
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path),
              default="saliency.html", show_default=True, help="The page.")  # fmt: skip
@force_option
@contained
def saliency_command(
    file: Path, data: str | None, sequences: int, backend: str, output: Path, force: bool
) -> None:
    """Show which inputs and which past steps decide what a step model says at a sequence's end.

    Each patch of the input is covered in turn; of a float32 model the gradient is taken too, and
    the two are compared. A float32 model's gates are drawn, and its states are pushed to see how
    long they remember.
    """
    from device_runner.model.step_file import load_step_model
    from models.tensorflow_log import load_tensorflow
    from pipeline.interpretation.explanation import explain
    from pipeline.interpretation.page import lines, write_page
    from pipeline.robustness.labelled import frames_of_file, of_task

    check_replaceable(output, OutputKind.SALIENCY, force)
    model = load_step_model(file)
    model.require_one_row("saliency")
    load_tensorflow()
    contract = model.contract
    if data:
        frames, source = frames_of_file(model, data), data
    else:
        labelled = of_task(model)
        frames, source = labelled.frames, labelled.source
    found = explain(model, frames, sequences, backend)
    for line in lines(found, contract.frame_period_s):
        echo(line)
    command = shlex.join(["edgestep", *sys.argv[1:]])
    write_page(output, found, contract.frame_period_s, source, command)
    echo(output)
