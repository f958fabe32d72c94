"""``edgestep convert``: a trained model of Keras, PyTorch or ONNX as a step model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click

from convert.file_conversion import convert_file
from convert.importers import FILE_KINDS, FOLDER, FileKind, ImportHints, is_code
from convert.layers import LAYERS, OWN
from convert.schemes import SCHEMES
from convert.targets import target_names
from device_runner.commands.options import force_option
from device_runner.containment import contained, working_on
from device_runner.memory_limit import MEGABYTE, framework_threads, reading
from device_runner.printable import echo

# What importing TensorFlow itself takes is part of it.
MEMORY_MEGABYTES = 1024


def _list_layers(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the kinds of layers that can be stepped, one a line, and end."""
    if not wanted or context.resilient_parsing:
        return
    echo("\n".join(sorted({name.removeprefix(OWN) for name in LAYERS})))
    context.exit()


def _pairs(
    context: click.Context, option: click.Parameter, texts: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """Split NAME=VALUE at the last sign, as names of ONNX may hold any character."""
    parts = [text.rpartition("=") for text in texts]
    for text, (name, _, value) in zip(texts, parts, strict=True):
        if not (name and value):
            raise click.BadParameter(f"'{text}' is not {option.metavar}", context, option)
    return tuple((name, value) for name, _, value in parts)


def _named(kind: FileKind) -> str:
    endings = ", ".join(ending for ending in kind.endings if ending != FOLDER)
    return f"{kind.source} ({endings})" if endings else kind.source


*_FIRST, _LAST = map(_named, FILE_KINDS.values())
_KINDS = f"{', '.join(_FIRST)}, or {_LAST}"
HELP = f"""Make a step model of a trained MODEL.

MODEL is {_KINDS}; or
module:function, which makes a PyTorch network: your own code, which then runs.

The stepped model is held against what the original framework computes over whole sequences,
quantized, verified on every installed runtime, and checked for the target.
"""


@click.command("convert", help=HELP, short_help="Make a step model of a trained model.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--target", metavar="TARGET", required=True, help=f"{target_names()}.")
@click.option("--scheme", metavar="SCHEME",
              help=f"{', '.join(SCHEMES)}; default: the target's cheapest that the model "
                   "survives.")  # fmt: skip
@click.option("--data", metavar="FILE",
              help="Real sequences: .npy, .npz, .csv, .parquet, or module:function.")  # fmt: skip
@click.option("--random-calibration", is_flag=True,
              help="Use random numbers where there is no data; the file says so.")  # fmt: skip
@click.option("--architecture", type=click.Path(path_type=Path), metavar="TOML",
              help="The layers of a PyTorch state_dict.")  # fmt: skip
@click.option("--weights", type=click.Path(path_type=Path), metavar="FILE",
              help="The weights of a PyTorch network that module:function makes.")  # fmt: skip
@click.option("--model-code", metavar="MODULE:FUNCTION", default="",
              help="Your code that builds the Keras model whose weights MODEL holds; it "
                   "runs.")  # fmt: skip
@click.option("--trust-code", is_flag=True,
              help="Run the code in a TorchScript file, or in a pickle of --weights.")  # fmt: skip
@click.option("--state", "states", multiple=True, metavar="IN=OUT", callback=_pairs,
              help="An input of an ONNX network that is a state, and the output that is its new "
                   "value; where names or connections do not tell.")  # fmt: skip
@click.option("--bind", "bindings", multiple=True, metavar="NAME=VALUE", callback=_pairs,
              help="An input of an ONNX network that stays the same (sr=16000), or the size of an "
                   "axis.")  # fmt: skip
@click.option("--frame-period", type=click.FloatRange(0, min_open=True), metavar="SECONDS",
              help="Time between two frames, the deadline of a step.")  # fmt: skip
@click.option("--labels", metavar="A,B,...", help="What the first output's values stand for.")
@click.option("--channels", metavar="A,B,...", help="What the first input's values are.")
@click.option("--units", metavar="TEXT", default="", help="What they are measured in.")
@click.option("--window", type=click.IntRange(1), metavar="FRAMES",
              help="Answer for so many last frames; default: what the model is fixed to, if it "
                   "is.")  # fmt: skip
@click.option("--hop", type=click.IntRange(1), metavar="FRAMES",
              help="Frames from one answer of a window to the next; default: 1.")  # fmt: skip
@click.option("--carry", is_flag=True,
              help="Never reset the state, though the model was trained on windows.")  # fmt: skip
@click.option("--rows", type=click.IntRange(2), metavar="N",
              help="Step N independent streams a call: a row of every input, output and "
                   "state for each.")  # fmt: skip
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path),
              help="The file to write; default: MODEL with the scheme in its name.")  # fmt: skip
@force_option
@click.option("--in-float", multiple=True, metavar="LAYER",
              help="A layer that stays in float32 in an integer scheme.")  # fmt: skip
@click.option("--explain", is_flag=True,
              help="Print the error by layer and by scheme, and the cheapest mend.")  # fmt: skip
@click.option("--expected", type=click.Path(path_type=Path), metavar="FILE",
              help="What the original gives for the data (.npy, or .npz by output); the step is "
                   "held against it.")  # fmt: skip
@click.option("--memory", type=click.IntRange(64), default=MEMORY_MEGABYTES, show_default=True,
              metavar="MB",
              help="What a file may take beyond its own size; code of yours is not "
                   "limited.")  # fmt: skip
@click.option("--list-layers", is_flag=True, is_eager=True, expose_value=False,
              callback=_list_layers,
              help="Print the layers that can be stepped, and end.")  # fmt: skip
@contained
def convert_command(
    model: Path,
    target: str,
    scheme: str | None,
    data: str | None,
    random_calibration: bool,
    architecture: Path | None,
    weights: Path | None,
    model_code: str,
    trust_code: bool,
    states: tuple[tuple[str, str], ...],
    bindings: tuple[tuple[str, str], ...],
    frame_period: float | None,
    labels: str | None,
    channels: str | None,
    units: str,
    window: int | None,
    hop: int | None,
    carry: bool,
    rows: int | None,
    output: Path | None,
    force: bool,
    in_float: tuple[str, ...],
    explain: bool,
    expected: Path | None,
    memory: int,
) -> None:
    """Convert as the options say; HELP is its help."""
    if data is None and not random_calibration:
        raise click.UsageError(
            "real sequences are needed for calibration and proof: give --data FILE, "
            "or --random-calibration to do without"
        )
    if expected is not None and data is None:
        raise click.UsageError("--expected is what the original gives for --data; give both")
    is_yours = is_code(model) or bool(model_code) or trust_code
    with _limited(model, memory, architecture, data, expected, is_yours):
        convert_file(
            model,
            target,
            data,
            scheme=scheme,
            architecture=architecture,
            hints=ImportHints(states, bindings, weights, trust_code, model_code),
            frame_period_s=frame_period,
            labels=_names(labels),
            channels=_names(channels),
            units=units,
            window=window,
            hop=hop,
            carry=carry,
            rows=rows,
            output=output,
            force=force,
            in_float=in_float,
            explain=explain,
            expected=expected,
            tell=echo,
        )


@contextlib.contextmanager
def _limited(
    model: Path,
    megabytes: int,
    architecture: Path | None,
    data: str | None,
    expected: Path | None,
    is_yours: bool,
) -> Iterator[None]:
    """Limit the memory that files may take; code of the user's own is not limited."""
    working_on(model)
    if is_yours:
        yield
        return
    others = [Path(one) for one in (architecture, data, expected) if one is not None]
    with reading(model, megabytes * MEGABYTE + framework_threads(), *others):
        yield


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",")) if text else ()
