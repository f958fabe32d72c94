"""A trained model of another framework, all the way to a step model file that proves itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras as keras

from calibration.data import InputShape, Sequences, random_sequences, without_padding
from calibration.rollout import long_streams
from convert.errors import ContractViolationError
from convert.export import draft_model, export_step, step_of
from convert.importers.imported import ImportedModel
from convert.scheme_choice import candidates
from convert.schemes import load_scheme, needs_ranges, parse_scheme
from convert.schemes.scheme import FloatStep
from convert.schemes.spec import SchemeSpec
from convert.step.step_module import Kind, StepModule
from convert.step_model_facts import StepModelFacts
from device_runner.errors import VerificationError
from device_runner.model.contract import Tolerance
from device_runner.model.golden import Golden, golden_input
from device_runner.model.names import INPUT_NAME, OUTPUT_NAME
from device_runner.model.step_file import StepModel
from device_runner.operators.multiply_adds import mean_multiply_adds
from device_runner.stream import Stream
from models.layers import Recurrence
from models.network import count_parameters
from models.tensorflow_log import quiet

# Largest error of the float step against the original, as a share of the output's range.
FLOAT_TOLERANCE = 1e-4
GOLDEN_SEQUENCES, GOLDEN_STEPS = 3, 16
CALIBRATION_STEPS = 4000
RANDOM_SEED = 20
RANDOM_WARNING = (
    "calibrated on random numbers, not on data: ranges and the golden sequences say nothing of "
    "real use; convert again with --data"
)
# Meaning of the outputs by the activation of the layer that gives them.
MEANINGS = {"softmax": "probabilities", "sigmoid": "probabilities"}


@dataclass(frozen=True)
class Facts:
    """What the model file does not tell.

    Attributes:
        labels: what each value of the first output stands for; () where nobody said.
        frame_period_s: seconds between two frames; None where nobody said.
    """

    labels: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    units: str = ""
    frame_period_s: float | None = None


@dataclass
class Conversion:
    """An imported model whose float step computes what the original does.

    Attributes:
        float_error: largest error of the float step against the original on random and on given
            data, as a share of the output's range.
    """

    imported: ImportedModel
    module: StepModule
    step: FloatStep
    description: StepModelFacts
    sequences: Sequences
    is_random: bool
    float_error: float
    _ranges: Any = field(default=None)

    @property
    def changed(self) -> tuple[str, ...]:
        """What the step model does otherwise than the file says, for people."""
        return (*self.imported.changed, *self.module.changed)

    def export(self, scheme: str | SchemeSpec, path: Path) -> StepModel:
        """Write the step model in a scheme; errors as :func:`convert.export.export`."""
        spec = parse_scheme(scheme) if isinstance(scheme, str) else scheme
        if needs_ranges(spec) and self._ranges is None:
            if load_scheme(spec.base).needs_ranges:
                self.step.check_integers()
            with quiet():
                streams = long_streams(self.sequences, CALIBRATION_STEPS, RANDOM_SEED)
                self._ranges = self.step.calibrate(streams)
        return export_step(self.step, self.description, spec, path, self._ranges)


def step_inputs(module: StepModule) -> tuple[InputShape, ...]:
    """The inputs that calibration data must have."""
    return tuple(
        InputShape(item.name, item.shape[-1], item.vocabulary, item.kind is Kind.CONSTANT)
        for item in module.inputs
    )


def prepare(
    imported: ImportedModel,
    facts: Facts,
    sequences: Sequences | None,
    module: StepModule | None = None,
) -> Conversion:
    """Make the float step and hold it against the original.

    Args:
        sequences: real data, as :func:`calibration.data.load_sequences` gives it; None: random.

    Raises:
        UnsupportedLayerError: a layer cannot be stepped.
        VerificationError: the float step computes something else than the original.
    """
    with quiet():
        module = module or StepModule(imported.network)
        step = step_of(module)
    is_random = sequences is None
    given = sequences or random_sequences(step_inputs(module), RANDOM_SEED + 1, 8, 64)
    if imported.padding is not None:
        given = without_padding(given, module.inputs[0].name, imported.padding)
    golden = _golden(imported, module, given)
    description = _description(imported, module, facts, given, golden, is_random)
    random = random_sequences(step_inputs(module), RANDOM_SEED, 2, GOLDEN_STEPS)
    if imported.padding is not None:
        random = without_padding(random, module.inputs[0].name, imported.padding)
    error = _float_error(imported, module, step, description, random)
    return Conversion(imported, module, step, description, given, is_random, error)


def export_first(
    conversion: Conversion, target: str, scheme: SchemeSpec | None, path: Path
) -> tuple[StepModel, dict[str, str]]:
    """Write the step model in ``scheme``, or in the target's cheapest that the model survives.

    Returns:
        The model, and why cheaper schemes were not taken, by scheme.

    Raises:
        ContractViolationError: no scheme of the target is left.
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


def original_outputs(
    imported: ImportedModel, module: StepModule, sequence: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What the original gives after every step of a sequence, [steps, outputs] by output name:
    where it gives one result for a sequence, that of each beginning of it."""
    steps = len(sequence[module.inputs[0].name])

    def run(length: int) -> list[np.ndarray]:
        inputs = []
        for item, tensor in zip(module.inputs, imported.network.inputs, strict=True):
            values = sequence[item.name][:length]
            if item.kind is Kind.CONSTANT:
                inputs.append(values[:1])
            elif item.vocabulary is not None and len(tensor.shape) == 2:
                inputs.append(values[np.newaxis, :, 0])
            else:
                inputs.append(values[np.newaxis])
        with quiet():
            return imported.reference(inputs)

    kinds = [module.output_kinds[name] for name in module.outputs]
    whole = run(steps)
    found = {
        name: value[0] if kind is Kind.STEP else np.repeat(value, steps, 0)
        for name, kind, value in zip(module.outputs, kinds, whole, strict=True)
    }
    if Kind.SUMMARY in kinds:
        for length in range(1, steps):
            for name, kind, value in zip(module.outputs, kinds, run(length), strict=True):
                if kind is Kind.SUMMARY:
                    found[name][length - 1] = value[0]
    return found


def _golden(imported: ImportedModel, module: StepModule, sequences: Sequences) -> Golden:
    """The beginnings of some sequences from all over the data. Real inputs are rounded to float16
    where it holds them."""
    places = np.unique(np.linspace(0, len(sequences) - 1, GOLDEN_SEQUENCES).astype(int))
    chosen = []
    for index in places:
        chosen.append(
            {name: golden_input(values[:GOLDEN_STEPS]) for name, values in sequences[index].items()}
        )
    outputs = [original_outputs(imported, module, item) for item in chosen]
    return Golden(
        {item.name: np.concatenate([one[item.name] for one in chosen]) for item in module.inputs},
        {
            name: np.concatenate([one[name] for one in outputs]).astype(np.float32)
            for name in module.outputs
        },
        tuple(len(one[module.inputs[0].name]) for one in chosen),
    )


def _float_error(
    imported: ImportedModel,
    module: StepModule,
    step: FloatStep,
    description: StepModelFacts,
    random: Sequences,
) -> float:
    """The largest error of the float step on the golden and on random sequences."""
    draft = draft_model(
        step,
        description,
        step.flatbuffer,
        Path(imported.name),
        SchemeSpec("float32"),
        Tolerance(0.0, 0.0, 0.0),
    )
    with quiet():
        stream = Stream(draft, "litert")
    worst = 0.0
    goldens = description.golden.sequences()
    ends = np.cumsum(description.golden.lengths)
    pairs = [
        (sequence, {k: v[end - length : end] for k, v in description.golden.outputs.items()})
        for sequence, length, end in zip(goldens, description.golden.lengths, ends, strict=True)
    ]
    pairs += [(sequence, original_outputs(imported, module, sequence)) for sequence in random]
    ranges = {
        name: max(float(np.ptp(np.concatenate([wanted[name] for _, wanted in pairs]))), 1e-3)
        for name in module.outputs
    }
    for sequence, wanted in pairs:
        stream.reset()
        given = stream.run(sequence)
        outputs = given if isinstance(given, dict) else {OUTPUT_NAME: given}
        for name, values in wanted.items():
            share = float(np.abs(outputs[name] - values).max()) / ranges[name]
            worst = np.maximum(worst, share)
            if not share <= FLOAT_TOLERANCE:
                raise VerificationError(
                    f"{imported.name}: stepped, output '{name}' is off by {share:.2g} of its range "
                    f"from what {imported.framework} computes over the sequence; this is a fault "
                    "of the conversion, please report it"
                )
    return float(worst)


def _description(
    imported: ImportedModel,
    module: StepModule,
    facts: Facts,
    sequences: Sequences,
    golden: Golden,
    is_random: bool,
) -> StepModelFacts:
    outputs, channels = golden.y.shape[-1], golden.x.shape[-1]
    meaning = _meaning(imported.network)
    cells = _recurrences(imported.network)
    for what, names, wanted in (
        ("labels", facts.labels, outputs),
        ("channels", facts.channels, channels),
    ):
        if names and len(names) != wanted:
            raise ContractViolationError(f"{len(names)} {what} are given, the model has {wanted}")
    if INPUT_NAME not in golden.inputs:
        raise ContractViolationError("the step has no input x")
    warnings = {"calibration_warning": RANDOM_WARNING} if is_random else {}
    changed = [*imported.changed, *module.changed]
    facts_of_import: dict[str, Any] = {
        "imported_from": imported.framework,
        **({"changed": changed} if changed else {}),
        **warnings,
    }
    return StepModelFacts(
        task=imported.name,
        cell="+".join(dict.fromkeys(kind for kind, _ in cells)) or "none",
        units=tuple(size for _, size in cells) or (outputs,),
        parameters=count_parameters(imported.network),
        labels=facts.labels or tuple(map(str, range(outputs))),
        channels=facts.channels
        or (("token",) if module.inputs[0].vocabulary else tuple(map(str, range(channels)))),
        input_units=facts.units,
        frame_period_s=facts.frame_period_s or 1.0,
        frame_period_source="given at conversion"
        if facts.frame_period_s
        else "not given; 1 s stands for it",
        output_meaning=meaning,
        normalization={},
        golden=golden,
        spread=float(np.ptp(golden.y)) or 1.0,
        classifies=meaning != "values" and outputs > 1,
        streams=sequences,
        evaluate=lambda stream: {
            **facts_of_import,
            "multiply_adds": mean_multiply_adds(stream.model),
        },
    )


def _meaning(network: keras.Model) -> str:
    """What the first output is: probabilities behind a softmax or sigmoid, else values."""
    layer = getattr(getattr(network.outputs[0], "_keras_history", None), "layer", None)
    activation = getattr(getattr(layer, "activation", None), "__name__", "")
    if isinstance(layer, keras.layers.Softmax):
        activation = "softmax"
    return MEANINGS.get(activation, "values")


def _recurrences(network: keras.Model) -> list[tuple[str, int]]:
    """Kind and width of each recurrent layer, lowest first."""
    found = []
    for layer in network._flatten_layers(include_self=False):
        if isinstance(layer, Recurrence):
            found.append((layer.cell_name, layer.cell.units))
        elif isinstance(layer, keras.layers.RNN):
            cells = getattr(layer.cell, "cells", [layer.cell])
            found += [(type(c).__name__.removesuffix("Cell").lower(), c.units) for c in cells]
    return found
