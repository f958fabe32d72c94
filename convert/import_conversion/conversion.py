"""Take an imported model through its float step to a step model file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from calibration.data import InputShape, Sequences, random_sequences, without_padding
from calibration.ranges import Ranges
from calibration.rollout import long_streams
from convert.errors import ContractViolationError
from convert.export import export_step, step_of
from convert.import_conversion.description import Facts, description_of, with_facts
from convert.import_conversion.original import GOLDEN_STEPS, golden_of
from convert.import_conversion.proof import float_error, float_stream
from convert.import_conversion.windows import WindowDifference, window_difference
from convert.importers.imported import VALUES, ImportedModel
from convert.scheme_choice import candidates
from convert.schemes import needs_ranges, parse_scheme
from convert.schemes.scheme import FloatStep
from convert.schemes.spec import SchemeSpec
from convert.step.step_graph import Kind
from convert.step.step_module import StepModule
from convert.step_model_facts import StepModelFacts
from device_runner.errors import VerificationError
from device_runner.model.step_file import StepModel
from device_runner.stream import Stream
from models.tensorflow_log import quiet

CALIBRATION_STEPS = 4000
RANDOM_SEED = 20
# How much random data to draw if none is given: sequences, and steps in each.
RANDOM_SEQUENCES, RANDOM_STEPS = 8, 64


@dataclass
class Conversion:
    """An imported model whose float step computes what the original does.

    Attributes:
        float_error: largest error of the float step against the original, on random and on given
            data, as a share of the output's range.
        window: how far the step is from the original asked window by window, if the model was
            trained on windows.
    """

    imported: ImportedModel
    module: StepModule
    step: FloatStep
    description: StepModelFacts
    sequences: Sequences
    is_random: bool
    float_error: float
    window: WindowDifference | None = None
    _ranges: Ranges | None = field(default=None)

    @property
    def proof(self) -> str:
        """Say in one line how the step compares with the original."""
        if self.window is not None:
            return self.window.sentence
        return (
            "stepped it computes what the original does, largest error "
            f"{self.float_error:.1g} of the output's range"
        )

    @property
    def changed(self) -> tuple[str, ...]:
        """What the step model does differently from the file, in words."""
        return (*self.imported.changed, *self.module.changed)

    def export(self, scheme: str | SchemeSpec, path: Path) -> StepModel:
        """Write the step model in the given scheme; errors as :func:`convert.export.export`."""
        spec = parse_scheme(scheme) if isinstance(scheme, str) else scheme
        if needs_ranges(spec) and self._ranges is None:
            with quiet():
                streams = long_streams(self.sequences, CALIBRATION_STEPS, RANDOM_SEED)
                self._ranges = self.step.calibrate(streams)
        return export_step(self.step, self.description, spec, path, self._ranges)


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
) -> Conversion:
    """Make the float step and compare it with the original.

    Args:
        sequences: real data, as :func:`calibration.data.load_sequences` gives it; None:
            random data.

    Raises:
        UnsupportedLayerError: a layer cannot be stepped.
        VerificationError: the float step does not compute what the original does.
    """
    with quiet():
        module = module or StepModule(imported.graph)
        step = step_of(module)
    is_random = sequences is None
    given = sequences or _random(imported, module, 1, RANDOM_SEQUENCES, RANDOM_STEPS)
    if imported.padding is not None:
        given = without_padding(given, module.inputs[0].name, imported.padding)
    golden = golden_of(imported, module, given)
    description = description_of(imported, module, facts, given, golden, is_random)
    stream = float_stream(step, description)
    random = _random(imported, module, 0, 2, GOLDEN_STEPS)
    error = float_error(imported, module, stream, golden, random)
    window = _window(imported, module, stream, None if is_random else given, description)
    if window is not None:
        description = with_facts(description, window.facts())
    return Conversion(imported, module, step, description, given, is_random, error, window)


def _random(
    imported: ImportedModel, module: StepModule, seed: int, count: int, steps: int
) -> Sequences:
    """Draw random sequences, without steps that the model would skip as padding."""
    found = random_sequences(step_inputs(module), RANDOM_SEED + seed, count, steps)
    if imported.padding is None:
        return found
    return without_padding(found, module.inputs[0].name, imported.padding)


def _window(
    imported: ImportedModel,
    module: StepModule,
    stream: Stream,
    sequences: Sequences | None,
    description: StepModelFacts,
) -> WindowDifference | None:
    """Measure the difference, on random numbers if no sequences are given."""
    if imported.window is None:
        return None
    data = "the data given"
    if sequences is None:
        data = "random numbers"
        sequences = _random(imported, module, 2, RANDOM_SEQUENCES, 4 * imported.window)
    decides = description.output_meaning != VALUES
    return window_difference(imported, module, stream, sequences, data, decides)


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
        return conversion.export(scheme, path), {}
    refused: dict[str, str] = {}
    for candidate in candidates(target):
        if candidate.qat:
            continue
        try:
            return conversion.export(candidate, path), refused
        except (ContractViolationError, VerificationError) as error:
            refused[str(candidate)] = error.message
    reasons = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
    raise ContractViolationError(f"no scheme of the target {target} is left: {reasons}")
