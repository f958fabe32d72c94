"""Take an imported model through its float step to a step model file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from calibration.data import InputShape, Sequences, random_sequences, without_padding
from calibration.errors import CalibrationError
from calibration.ranges import Ranges
from calibration.rollout import long_streams
from convert.errors import ContractViolationError
from convert.export import export_step, step_of
from convert.import_conversion.description import Facts, description_of, with_facts
from convert.import_conversion.expected import (
    Expected,
    ExpectedError,
    expected_error,
    expected_facts,
)
from convert.import_conversion.held_out import HeldOut, split, step_error
from convert.import_conversion.layer_errors import Trial, in_float, worst_layer
from convert.import_conversion.original import chained_from, golden_of, steps_to_compare
from convert.import_conversion.proof import float_error, float_stream
from convert.import_conversion.window_choice import Meaning
from convert.import_conversion.window_report import WindowReport, costs_of
from convert.import_conversion.windows import window_difference
from convert.importers.imported import VALUES, ImportedModel
from convert.model_metrics import Drift as ModelDrift
from convert.scheme_choice import candidates, drift_refusal
from convert.schemes import load_scheme, needs_ranges, parse_scheme, parts_in_float
from convert.schemes.mixed import mixed_sentence
from convert.schemes.scheme import FloatStep
from convert.schemes.spec import SchemeSpec
from convert.step.step_graph import Kind
from convert.step.step_module import StepModule
from convert.step_model_facts import StepModelFacts
from convert.targets.profile import get_profile
from device_runner.errors import BadModelError, VerificationError
from device_runner.model.step_file import StepModel
from device_runner.model.window import Window, lanes_needed
from device_runner.stream import Stream
from models.tensorflow_log import quiet

CALIBRATION_STEPS = 4000
RANDOM_SEED = 20
# How much random data to draw if none is given: sequences, and steps in each.
RANDOM_SEQUENCES, RANDOM_STEPS = 8, 64
# How many windows to calibrate on at least, and at most where each is computed as a whole.
LEAST_WINDOWS, MOST_WHOLE_WINDOWS = 32, 256
# How many frames beyond the first window the float step is held against the original.
PROOF_FRAMES = 256


@dataclass
class Conversion:
    """An imported model whose float step computes what the original does.

    Attributes:
        sequences: what calibrates; the rest of the data is ``held_out``.
        float_error: largest error of the float step against the original, on random and on given
            data, as a share of the output's range. With a window the original is asked for each.
        window: what its window costs, kept and carried on, if it has one.
        expected: how the step compares with outputs that the user gave, if any.
    """

    imported: ImportedModel
    module: StepModule
    step: FloatStep
    description: StepModelFacts
    sequences: Sequences
    is_random: bool
    float_error: float
    window: WindowReport | None = None
    held_out: HeldOut = field(default_factory=lambda: HeldOut([]))
    expected: ExpectedError | None = None
    _ranges: Ranges | None = field(default=None)

    @property
    def proof(self) -> str:
        """Say in one line how the step compares with the original."""
        does = f"what {self.imported.told_by}"
        computes = f"computes {does}, largest error {self.float_error:.1g} of the output's range"
        if self.expected:
            computes += f"; it gives what is expected, largest error {self.expected.largest:.1g}"
        if self.window is None:
            return f"stepped it {computes}"
        if self.window.kept:
            return f"{self.window.sentence}; it {computes}"
        return self.window.sentence

    @property
    def unsaid(self) -> str:
        """Say what the answer is for if the model could have been trained on windows; or ""."""
        kinds = self.module.output_kinds.values()
        if self.window is not None or self.imported.window is not None or Kind.SUMMARY not in kinds:
            return ""
        lengths = {len(next(iter(one.values()))) for one in self.measured + self.sequences}
        like = f", such as the {min(lengths)} of each sequence here," if len(lengths) == 1 else ""
        return (
            "it gives one answer for a sequence of any length: here for all frames since the "
            f"reset. If it was trained on windows of W frames{like if not self.is_random else ''} "
            "--window W answers for the last W alone"
        )

    @property
    def changed(self) -> tuple[str, ...]:
        """What the step model does differently from the file, in words."""
        return (*self.imported.changed, *self.module.changed)

    @property
    def measured(self) -> Sequences:
        """The data that errors are measured on: what is held out, or all if nothing is."""
        return self.held_out.sequences or self.sequences

    @property
    def decides(self) -> bool:
        """Whether the first output is a decision."""
        return self.description.output_meaning != VALUES

    def ranges_for(self, spec: SchemeSpec) -> Ranges | None:
        """Return the calibrated ranges, which are made once; None if the scheme needs none."""
        if not needs_ranges(spec):
            return None
        if self._ranges is None:
            _check_varied(self.sequences)
            with quiet():
                self._ranges = self.step.calibrate(_calibration_streams(self.sequences, self.step))
        return self._ranges

    def export(self, scheme: str | SchemeSpec, path: Path) -> StepModel:
        """Write the step model in the given scheme; errors as :func:`convert.export.export`."""
        spec = parse_scheme(scheme) if isinstance(scheme, str) else scheme
        description = self.description
        if self.held_out.sequences:
            description = replace(description, evaluate=self._evaluate)
        return export_step(self.step, description, spec, path, self.ranges_for(spec))

    def _evaluate(self, stream: Stream) -> dict[str, Any]:
        """Add the error on data kept from calibration to a step model's metrics."""
        error = step_error(stream, self.step, self.held_out.sequences, self.decides)
        return {**self.description.evaluate(stream), "held_out": error.facts(self.held_out)}


def _check_varied(sequences: Sequences) -> None:
    """Raise CalibrationError if all data are one number, which has no range."""
    parts = [values for one in sequences for values in one.values()]
    lowest = min(float(np.min(values)) for values in parts)
    highest = max(float(np.max(values)) for values in parts)
    if lowest == highest:
        raise CalibrationError(
            f"the data given are {lowest:g} everywhere: integers need the range of real use; give "
            "frames as the model gets them, or --scheme float32, which needs no range"
        )


def _calibration_streams(sequences: Sequences, step: FloatStep) -> Sequences:
    """Choose what to roll the step out over.

    With lanes, that is single windows, as a lane's state is never older. A whole window is computed
    at each step, so that few steps will do."""
    window = step.window
    if window is None:
        return long_streams(sequences, CALIBRATION_STEPS, RANDOM_SEED)
    steps, count = window.steps, max(LEAST_WINDOWS, CALIBRATION_STEPS // window.steps)
    if not window.lanes:
        count = min(count, MOST_WHOLE_WINDOWS)
        return [chained_from(sequences, 0, steps - 1 + count)]
    chained = long_streams(sequences, count * steps, RANDOM_SEED, streams=1)[0]
    return [
        {name: values[start : start + steps] for name, values in chained.items()}
        for start in range(0, count * steps, steps)
    ]


def step_inputs(module: StepModule) -> tuple[InputShape, ...]:
    """Return the inputs that calibration data must have."""
    return tuple(
        InputShape(item.name, item.shape[1:], item.vocabulary, item.kind is Kind.CONSTANT)
        for item in module.inputs
    )


def prepare(
    imported: ImportedModel,
    facts: Facts,
    sequences: Sequences | None,
    module: StepModule | None = None,
    meaning: Meaning | None = None,
) -> Conversion:
    """Make the float step and compare it with the original.

    Args:
        sequences: real data, as :func:`calibration.data.load_sequences` gives it; None:
            random data.
        module: the step of one row of ``meaning``, if it is made already.
        meaning: how the model is stepped; None: with its state carried on.

    Raises:
        UnsupportedLayerError: a layer cannot be stepped.
        VerificationError: the float step does not compute what the original does.
    """
    meaning = meaning or Meaning(imported.step_graph)
    with quiet():
        module = module or StepModule(meaning.graph)
        one_row = step_of(module)
        step = _windowed(meaning, one_row)
    is_random = sequences is None
    length = max(RANDOM_STEPS, meaning.window.steps if meaning.window else 0)
    given = sequences or _random(imported, module, 1, RANDOM_SEQUENCES, length)
    given = _without_padding(given, imported)
    # Random numbers tell nothing of real use, whichever of them calibrate.
    seen, held = (given, HeldOut([])) if is_random else split(given)
    if meaning.window is not None:
        held = _whole_windows(held, meaning.window)
    golden = golden_of(imported, module, seen, meaning.window)
    description = description_of(imported, module, facts, seen, golden, is_random)
    stream = float_stream(step, description)
    random = _random_proof(imported, module, meaning.window)
    error = float_error(imported, module, stream, golden, random, meaning.window)
    report = None
    if meaning.window is not None or imported.window is not None:
        report = _report(
            imported, module, meaning, one_row, stream, None if is_random else given, description
        )
    if report is not None:
        description = with_facts(description, report.facts())
    return Conversion(imported, module, step, description, seen, is_random, error, report, held)


def _whole_windows(held: HeldOut, window: Window) -> HeldOut:
    """Chain data, which may be single windows or shorter; keep none if it holds no window."""
    frames = sum(len(next(iter(one.values()))) for one in held.sequences)
    if frames < window.steps:
        return HeldOut([])
    return replace(held, sequences=[chained_from(held.sequences, 0, frames)])


def _windowed(meaning: Meaning, one_row: FloatStep) -> FloatStep:
    """Return the step that keeps a meaning's window, from that of one row."""
    window = meaning.window
    if window is None:
        return one_row
    if window.lanes < 2:
        return replace(one_row, window=window)
    module = StepModule(meaning.graph, rows=window.lanes)
    return step_of(module, window, one_row.flatbuffer)


def _random(
    imported: ImportedModel, module: StepModule, seed: int, count: int, steps: int
) -> Sequences:
    """Draw random sequences, without steps that the model would skip as padding."""
    found = random_sequences(step_inputs(module), RANDOM_SEED + seed, count, steps)
    return _without_padding(found, imported)


def _without_padding(sequences: Sequences, imported: ImportedModel) -> Sequences:
    """Leave out the steps that the model skips."""
    for name, value in imported.padding:
        sequences = without_padding(sequences, name, value)
    return sequences


def _random_proof(imported: ImportedModel, module: StepModule, window: Window | None) -> Sequences:
    """Draw what the float step is held against the original on, besides the golden sequences."""
    if window is None:
        return _random(imported, module, 0, 2, steps_to_compare(module))
    # Enough frames for every lane to begin anew and to answer again.
    return _random(imported, module, 0, 1, window.steps + min(window.cycle, PROOF_FRAMES) + 1)


def _report(
    imported: ImportedModel,
    module: StepModule,
    meaning: Meaning,
    one_row: FloatStep,
    stream: Stream,
    sequences: Sequences | None,
    description: StepModelFacts,
) -> WindowReport | None:
    """Compare a window that is kept with the state carried on, or the other way round.

    Args:
        module: of one row; ``one_row`` is its step.
        stream: of the step as it is exported.
        sequences: data to measure the difference on; None: random numbers.
    """
    window, kept = meaning.window, meaning.window is not None
    trained = imported.window is not None
    if window is not None and not window.lanes:
        (cost,) = costs_of([stream])
        return WindowReport(window, True, trained, cost, reason=meaning.reason)
    if window is None:
        if imported.window is None or Kind.SUMMARY not in module.output_kinds.values():
            return None
        window = Window(imported.window, 1, lanes_needed(imported.window, 1))
        other = float_stream(_windowed(replace(meaning, window=window), one_row), description)
        streams = [other, stream]
    else:
        streams = [stream, float_stream(one_row, description)]
    data = "the data given"
    if sequences is None:
        data = "random numbers"
        sequences = _random(imported, module, 2, RANDOM_SEQUENCES, 4 * window.steps)
    decides = description.output_meaning != VALUES
    difference = window_difference(
        imported, module, streams[1], sequences, data, decides, window.steps
    )
    cost, carried = costs_of(streams)
    return WindowReport(window, kept, trained, cost, carried, difference)


def hold_against(conversion: Conversion, expected: Expected, sequences: Sequences) -> None:
    """Compare the float step with outputs that the user gave for ``sequences``.

    Raises:
        CalibrationError: they do not fit the data.
        VerificationError: the step computes something else.
    """
    sequences = _without_padding(sequences, conversion.imported)
    stream = float_stream(conversion.step, conversion.description)
    found = expected_error(expected, conversion.module, stream, sequences)
    conversion.expected = found
    conversion.description = with_facts(conversion.description, expected_facts(found))


def keep_in_float(conversion: Conversion, layers: Sequence[str]) -> None:
    """Let layers stay in float32 in integer schemes; UnknownLayerError if there is none such."""
    if layers:
        conversion.step = in_float(conversion.step, layers)


def export_first(
    conversion: Conversion, target: str, scheme: SchemeSpec | None, path: Path
) -> tuple[StepModel, dict[str, str]]:
    """Write the step model in ``scheme``, or in the target's cheapest that the model survives.

    Returns:
        The model, and by scheme why each cheaper one was not taken.

    Raises:
        ContractViolationError: the model survives none of the target's schemes.
    """
    if scheme is not None:
        _check_mixed(conversion, target, scheme)
        return conversion.export(scheme, path), {}
    refused: dict[str, str] = {}
    tried = [candidate for candidate in candidates(target) if not candidate.qat]
    for candidate in tried:
        try:
            _check_mixed(conversion, target, candidate)
            model = conversion.export(candidate, path)
        # A runtime may refuse what a scheme makes, such as a SPLIT that it does not delegate.
        except (ContractViolationError, BadModelError) as error:
            refused[str(candidate)] = error.message
            continue
        except VerificationError as error:
            refused[str(candidate)] = f"{error.message}{_and_worst_layer(conversion, candidate)}"
            continue
        problem = _strays(conversion, model)
        if problem is None or candidate == tried[-1]:
            return model, refused
        refused[str(candidate)] = f"{problem}{_and_worst_layer(conversion, candidate)}"
    reasons = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
    raise ContractViolationError(f"no scheme of the target {target} is left: {reasons}")


def _check_mixed(conversion: Conversion, target: str, scheme: SchemeSpec) -> None:
    """Raise ContractViolationError if a target of integers cannot take a step's parts in float."""
    reasons = parts_in_float(scheme, conversion.step).reasons
    if reasons and "float32" not in get_profile(target).dtypes:
        raise ContractViolationError(
            f"{mixed_sentence(reasons)}, and {target} takes whole integer graphs; train with relu, "
            "tanh, sigmoid or nothing in their place, or take another target"
        )


def _strays(conversion: Conversion, model: StepModel) -> str | None:
    """Say how far a step model strays from the float one on the calibration data, if too far."""
    drift = ModelDrift.read(model.contract.metrics.get("drift") or {"steps": 0, "rms": 0.0})
    return None if conversion.is_random else drift_refusal(drift, conversion.decides)


def _and_worst_layer(conversion: Conversion, scheme: SchemeSpec) -> str:
    """Name the layer that a scheme loses most in, to be added to a sentence."""
    if load_scheme(scheme.base).state_dtype == "float32":
        return ""
    found = worst_layer(Trial(conversion, conversion.measured), scheme)
    return f"; {found}" if found else ""
