"""``edgestep convert``: a trained model of Keras or PyTorch as a step model."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from device_runner.errors import MissingRuntimeError, VerificationError

# What a target needs besides the file.
NEXT = {"edgetpu": "edgestep compile-edgetpu", "micro": "edgestep export-c"}


def _load_tensorflow() -> None:
    """Import TensorFlow without its messages, or say in one line what is missing."""
    from models.tensorflow_log import quiet

    try:
        with quiet():
            import tensorflow  # noqa: F401
            import tf_keras  # noqa: F401
    except ImportError as error:
        raise MissingRuntimeError(
            f"'edgestep convert' needs the workstation's packages ({error}); "
            "install them with 'pip install edgestep[workstation]'"
        ) from error


def _list_layers(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the kinds of layers that can be stepped, one a line, and end."""
    if not wanted or context.resilient_parsing:
        return
    _load_tensorflow()
    from convert.layers import RULES

    click.echo("\n".join(sorted({kind.__name__ for kind in RULES})))
    context.exit()


@click.command("convert")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--target", metavar="TARGET", required=True, help="cpu, gpu, edgetpu or micro.")
@click.option("--scheme", metavar="SCHEME",
              help="int8, int16x8, dynamic, float16, float32; default: the target's cheapest that "
                   "the model survives.")  # fmt: skip
@click.option("--data", metavar="FILE",
              help="Real sequences: .npy, .npz, .csv, .parquet, or module:function.")  # fmt: skip
@click.option("--random-calibration", is_flag=True,
              help="Use random numbers where there is no data; the file says so.")  # fmt: skip
@click.option("--architecture", type=click.Path(path_type=Path), metavar="TOML",
              help="The layers of a PyTorch state_dict.")  # fmt: skip
@click.option("--frame-period", type=click.FloatRange(0, min_open=True), metavar="SECONDS",
              help="Time between two frames, the deadline of a step.")  # fmt: skip
@click.option("--labels", metavar="A,B,...", help="What the first output's values stand for.")
@click.option("--channels", metavar="A,B,...", help="What the first input's values are.")
@click.option("--units", metavar="TEXT", default="", help="What they are measured in.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path),
              help="The file to write; default: MODEL with the scheme in its name.")  # fmt: skip
@click.option("--list-layers", is_flag=True, is_eager=True, expose_value=False,
              callback=_list_layers,
              help="Print the layers that can be stepped, and end.")  # fmt: skip
def convert_command(
    model: Path,
    target: str,
    scheme: str | None,
    data: str | None,
    random_calibration: bool,
    architecture: Path | None,
    frame_period: float | None,
    labels: str | None,
    channels: str | None,
    units: str,
    output: Path | None,
) -> None:
    """Make a step model of MODEL: a .keras or .h5 file, a Keras SavedModel, or PyTorch weights.

    The stepped model is held against what the original framework computes over whole sequences,
    quantized, verified on every installed runtime, and checked for the target.
    """
    from models.tensorflow_log import quiet

    _load_tensorflow()
    try:
        from calibration.data import load_sequences
        from convert.import_conversion import Facts, export_first, prepare, step_inputs
        from convert.importers import import_model
        from convert.scheme_choice import candidates
        from convert.schemes import parse_scheme
        from convert.step.step_module import StepModule
        from convert.targets.check import check_file
        from convert.verify import verify_on_runtimes
    except ImportError as error:
        raise MissingRuntimeError(
            f"'edgestep convert' needs the workstation's packages ({error}); "
            "install them with 'pip install edgestep[workstation]'"
        ) from error
    candidates(target)  # an unknown name is said before the work begins
    wanted = None if scheme is None else parse_scheme(scheme)
    if data is None and not random_calibration:
        raise click.UsageError(
            "real sequences are needed for calibration and proof: give --data FILE, "
            "or --random-calibration to do without"
        )
    imported = import_model(model, architecture)
    with quiet():
        module = StepModule(imported.network)
    sequences = load_sequences(data, step_inputs(module)) if data else None
    facts = Facts(_names(labels), _names(channels), units, frame_period)
    conversion = prepare(imported, facts, sequences, module)
    click.echo(
        f"{model}: {imported.framework}; stepped it computes what the original does, largest error "
        f"{conversion.float_error:.1g} of the output's range"
    )
    for text in conversion.changed:
        click.echo(f"  {text}")
    if conversion.is_random:
        click.echo("  warning: calibrated on random numbers; say --data FILE for real use")
    folder = (output or model).parent
    path = output or folder / f"{model.stem}.partial.tflite"
    written, refused = export_first(conversion, target, wanted, path)
    used = written.contract.scheme
    if output is None:
        final = folder / f"{model.stem}-{parse_scheme(used).file_part}.tflite"
        path = path.replace(final)
    for name, reason in refused.items():
        click.echo(f"  not {name}: {reason}")
    verified = verify_on_runtimes([path])
    report = check_file(path, target)
    states = ", ".join(state.name for state in written.contract.states)
    runtimes = ", ".join(f"{one['backend']}" for one in verified if not one["failure"])
    fits = "fits" if report.fits else "does not fit"
    click.echo(
        f"{path}: {written.file_bytes:,} bytes, {used}, states {states or 'none'}; "
        f"verified on {runtimes or 'no runtime'}; {fits} {target}"
    )
    failures = [f"{one['backend']}: {one['failure']}" for one in verified if one["failure"]]
    for failure in failures:
        click.echo(f"  not on {failure}")
    if failures and not runtimes:
        raise VerificationError(f"{path}: no runtime here computes it right; do not use it")
    if not report.fits:
        raise report.error()
    if target in NEXT:
        click.echo(f"  next: {NEXT[target]} {shlex.quote(str(path))}")


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",")) if text else ()
