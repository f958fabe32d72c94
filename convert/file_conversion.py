"""Convert a model file of Keras, PyTorch or ONNX to a step model file that fits a target.

TensorFlow is not imported until a file is converted.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from calibration.data import Sequences, fit_sequences, load_sequences
from calibration.frame_shapes import frame_shapes
from convert.data_source import check_data_source
from convert.importers import NO_HINTS, ImportHints, import_model, is_code
from convert.targets.profile import get_profile
from convert.verify import Runtimes, Verification, objections, passed, waiting_runtimes
from device_runner.errors import MissingRuntimeError, VerificationError
from device_runner.memory_limit import extend
from models.tensorflow_log import quiet

if TYPE_CHECKING:
    from convert.import_conversion.conversion import Conversion
    from convert.import_conversion.description import Facts
    from convert.import_conversion.window_choice import Meaning, WindowWish
    from convert.import_conversion.window_report import WindowReport
    from convert.importers.imported import ImportedModel
    from convert.output_place import OutputPlace
    from convert.schemes.spec import SchemeSpec
    from convert.targets.report import TargetReport
    from device_runner.model.step_file import StepModel

# Quantizing wide layers takes many copies of their weights.
COPIES_OF_WEIGHTS = 160

#: Receives one line of text whenever there is news of the conversion.
Tell = Callable[[str], None]


@dataclass(frozen=True)
class ConvertedFile:
    """A step model file that was made from a model file.

    Attributes:
        path: the file that was written.
        model: its content, with the contract.
        float_error: largest error of the float step against the original framework, as a share of
            the output's range.
        window: what it costs to keep the model's window, and how far the state carried on would be
            from it; None if it has no window.
        changed: what the step model does differently from the original, in words.
        refused: why each cheaper scheme was not taken, by scheme.
        verified: how each installed runtime did on it, as
            :func:`convert.verify.verify_on_runtimes` gives it.
        report: the check against the target, operator by operator.

    Example::

        made = convert_file("net.keras", "cpu", data=sequences, frame_period_s=0.02)
        print(made.path, made.model.contract.scheme)
    """

    path: Path
    model: StepModel
    float_error: float
    window: WindowReport | None
    changed: tuple[str, ...]
    refused: dict[str, str]
    verified: list[dict[str, Any]]
    report: TargetReport


def convert_file(
    path: str | Path,
    target: str,
    data: str | Path | Sequence[Any] | None = None,
    *,
    scheme: str | None = None,
    architecture: str | Path | None = None,
    hints: ImportHints = NO_HINTS,
    frame_period_s: float | None = None,
    labels: Sequence[str] = (),
    channels: Sequence[str] = (),
    units: str = "",
    window: int | None = None,
    hop: int | None = None,
    carry: bool = False,
    rows: int | None = None,
    output: str | Path | None = None,
    force: bool = False,
    in_float: Sequence[str] = (),
    explain: bool = False,
    expected: str | Path | None = None,
    tell: Tell | None = None,
) -> ConvertedFile:
    """Make a step model file of a trained model, verify it, check it for a target, and return both.

    Args:
        path: a file or folder of :data:`convert.importers.FILE_KINDS`, or ``module:function``.
        target: "cpu", "gpu", "edgetpu" or "micro".
        data: as :func:`calibration.data.load_sequences` takes it; None: random, the file says so.
        scheme: such as "int8"; None for the target's cheapest that the model survives.
        architecture: a TOML file with the layers of a PyTorch state_dict.
        hints: what the file does not tell itself.
        frame_period_s, labels, channels, units: as in ``import_conversion.description.Facts``.
        window, hop, carry: as :class:`convert.import_conversion.window_choice.WindowWish`.
        rows: independent streams that a call of the file steps (:mod:`convert.rows`); None: one.
        output: the file to write; default: beside ``path``, with the scheme in its name.
        force: whether to write over a file that is not a step model.
        in_float: names of layers that stay in float32 in an integer scheme.
        explain: whether to tell the error of each layer and scheme, and the cheapest mend.
        expected: a .npy or .npz file with what the original gives for ``data``, to compare with.
        tell: receives one line of text whenever there is news.

    Raises:
        click.ClickException: the conversion fails; one line says why and what to do. After a
            VerificationError or TargetMismatchError the file that was written must not be used.
    """
    load_workstation_packages()
    from convert.import_conversion.description import Facts

    wish, wanted = _wish(window, hop, carry), _checked_wishes(target, scheme, data)
    place = _place(path, output, force, rows, target, wanted)
    say, facts = tell or _say_nothing, Facts(tuple(labels), tuple(channels), units, frame_period_s)
    with waiting_runtimes() as runtimes:
        imported, path = _imported(path, architecture, replace(hints, window=window), data)
        runtimes.start()
        meaning = _meaning(path, imported, wish)
        conversion = _prepare(imported, meaning, data, facts, in_float, expected)
        _tell_of_original(path, conversion, explain, wanted, say)
        return _written(conversion, target, wanted, path, place, runtimes, say)


def load_workstation_packages() -> None:
    """Import TensorFlow, without its messages, and the other packages that a conversion needs.

    Raises:
        MissingRuntimeError: a package is not installed.
    """
    try:
        with quiet():
            import tensorflow  # noqa: F401
            import tf_keras  # noqa: F401
        import convert.import_conversion.conversion  # noqa: F401
    except ImportError as error:
        raise MissingRuntimeError(
            f"'edgestep convert' needs the workstation's packages ({error}); "
            "install them with 'pip install edgestep[workstation]'"
        ) from error


def _say_nothing(_: str) -> None:
    """Ignore the news."""


def _checked_wishes(
    target: str, scheme: str | None, data: str | Path | Sequence[Any] | None
) -> SchemeSpec | None:
    """Check target and data and parse the scheme, so that a typo shows before the work begins."""
    from convert.scheme_choice import candidates
    from convert.schemes import parse_scheme

    candidates(target)
    if isinstance(data, str | Path):
        check_data_source(str(data))
    return None if scheme is None else parse_scheme(scheme)


def _place(
    path: str | Path,
    output: str | Path | None,
    force: bool,
    rows: int | None,
    target: str,
    scheme: SchemeSpec | None,
) -> OutputPlace:
    """Find out before the work where the result goes, and that it may go there."""
    from convert.output_place import OutputPlace
    from convert.scheme_choice import candidates

    place = OutputPlace(path, None if output is None else Path(output), force, rows)
    place.check(target, candidates(target) if scheme is None else (scheme,))
    return place


def _imported(
    path: str | Path,
    architecture: str | Path | None,
    hints: ImportHints,
    data: str | Path | Sequence[Any] | None,
) -> tuple[ImportedModel, Path]:
    """Import a model; code that makes a network is told what the data's frames look like.

    The limit of memory is extended by what copies of its weights take.

    Returns:
        The model, and the path that its step model is named after: for code, its function.
    """
    if is_code(path) or hints.trusts_code or hints.model_code:
        hints = replace(hints, frames=frame_shapes(data))
    name = str(path).rpartition(":")[2] if is_code(path) else path
    imported = import_model(path, architecture, hints, whole=True)
    extend(COPIES_OF_WEIGHTS * imported.parameters * np.dtype(np.float32).itemsize)
    return imported, Path(name)


def _prepare(
    imported: ImportedModel,
    meaning: Meaning,
    data: str | Path | Sequence[Any] | None,
    facts: Facts,
    in_float: Sequence[str],
    expected: str | Path | None,
) -> Conversion:
    """Compare an imported model's float step with the original, and with what is expected."""
    from convert.import_conversion.conversion import (
        hold_against,
        keep_in_float,
        prepare,
        step_inputs,
    )
    from convert.import_conversion.expected import read_expected
    from convert.step.step_module import StepModule

    with quiet():
        module = StepModule(meaning.graph)
    sequences: Sequences | None = None
    if isinstance(data, str | Path):
        sequences = load_sequences(str(data), step_inputs(module))
    elif data is not None:
        sequences = fit_sequences(data, step_inputs(module))
    given = None if expected is None else read_expected(expected)
    conversion = prepare(imported, facts, sequences, module, meaning)
    if given is not None and sequences is not None:
        hold_against(conversion, given, sequences)
    keep_in_float(conversion, in_float)
    return conversion


def _wish(window: int | None, hop: int | None, carry: bool) -> WindowWish:
    """Check what is wanted of a window before the work begins."""
    from convert.import_conversion.window_choice import WindowWish

    wish = WindowWish(window, hop, carry)
    wish.check()
    return wish


def _meaning(path: Path, imported: ImportedModel, wish: WindowWish) -> Meaning:
    """Choose how to step the model of a file; its errors begin with the file."""
    from convert.errors import ConvertError
    from convert.import_conversion.window_choice import choose_meaning

    try:
        return choose_meaning(imported, wish)
    except ConvertError as error:
        raise type(error)(f"{path}: {error.message}") from error


def _tell_of_original(
    path: Path, conversion: Conversion, explain: bool, scheme: SchemeSpec | None, say: Tell
) -> None:
    """Tell what was imported; and the errors of schemes and layers, if they are to be explained."""
    say(f"{path}: {conversion.imported.framework}; {conversion.proof}")
    if conversion.imported.understood:
        say(f"  {conversion.imported.understood}")
    for text in (*conversion.changed, *filter(None, [conversion.unsaid])):
        say(f"  {text}")
    if explain:
        _explain(conversion, scheme, say)


def _export(
    conversion: Conversion,
    target: str,
    scheme: SchemeSpec | None,
    path: Path,
    place: OutputPlace,
    say: Tell,
) -> tuple[StepModel, dict[str, str]]:
    """Write the step model, by default beside ``path`` and named after its scheme."""
    from convert.import_conversion.conversion import export_first

    model, refused = export_first(conversion, target, scheme, place.partial(path))
    for name, reason in refused.items():
        say(f"  not {name}: {reason}")
    return place.finish(model, path), refused


def _written(
    conversion: Conversion,
    target: str,
    scheme: SchemeSpec | None,
    path: Path,
    place: OutputPlace,
    installed: Runtimes,
    say: Tell,
) -> ConvertedFile:
    """Write the step model, verify it, and check it for the target."""
    model, refused = _export(conversion, target, scheme, path, place, say)
    verified, report = _check(model, target, conversion.is_random, installed, say)
    found = conversion.float_error, conversion.window, conversion.changed
    return ConvertedFile(model.path, model, *found, refused, verified, report)


def _explain(conversion: Conversion, scheme: SchemeSpec | None, say: Tell) -> None:
    """Tell the errors by scheme and by layer; of int8 if no integer scheme is asked for."""
    from convert.import_conversion.layer_errors import Trial, explain
    from convert.schemes import load_scheme, parse_scheme

    if scheme is None or load_scheme(scheme.base).state_dtype == "float32":
        scheme = parse_scheme("int8")
    data = (
        "data kept from calibration"
        if conversion.held_out.sequences
        else "the data that calibrates"
    )
    if conversion.is_random:
        data = "random numbers, which tell nothing of real use"
    say(f"  errors against the float32 step, as shares of the output's spread, on {data}:")
    explain(Trial(conversion, conversion.measured), scheme, lambda text: say(f"  {text}"))


def _check(
    model: StepModel, target: str, is_random: bool, installed: Runtimes, say: Tell
) -> tuple[list[Verification], TargetReport]:
    """Verify a file on every installed runtime, and check it against the target."""
    from convert.import_conversion.held_out import held_out_sentence
    from convert.schemes.mixed import mixed_sentence
    from convert.targets.check import check_file

    path, metrics, scheme = model.path, model.contract.metrics, model.contract.scheme
    verified = installed.verify([path])
    report = check_file(path, target)
    states = ", ".join(state.name for state in model.contract.states)
    runtimes = ", ".join(passed(verified))
    if mixed := mixed_sentence(metrics.get("mixed", {})):
        say(f"  {mixed}")
    if not is_random:
        say(f"  {held_out_sentence(metrics, scheme)}")
    say(
        f"{path}: {model.file_bytes:,} bytes, {scheme}, states {states or 'none'}; "
        f"{'computed alike' if is_random else 'verified'} on {runtimes or 'no runtime'}; "
        f"{'fits' if report.fits else 'does not fit'} {target}"
    )
    for objection in objections(verified):
        say(f"  not on {objection}")
    if verified and not runtimes:
        raise VerificationError(f"{path}: no runtime here computes it right; do not use it")
    if not report.fits:
        raise report.error()
    if command := get_profile(target).next_command:
        say(f"  next: {command} {shlex.quote(str(path))}")
    if is_random:
        say(
            f"{path}: accuracy unknown: calibrated on random numbers, which tell nothing of real "
            "use; convert again with --data FILE"
        )
    return verified, report
