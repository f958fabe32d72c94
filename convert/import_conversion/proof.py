"""Compare an imported model's float step with the framework that the model comes from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from calibration.data import Sequences
from convert.export import draft_model
from convert.import_conversion.original import ByName, original_outputs
from convert.importers.imported import ImportedModel
from convert.schemes.scheme import FloatStep
from convert.schemes.spec import SchemeSpec
from convert.step.step_module import StepModule
from convert.step_model_facts import StepModelFacts
from device_runner.errors import VerificationError
from device_runner.model.contract import Tolerance
from device_runner.model.golden import Golden
from device_runner.model.names import OUTPUT_NAME
from device_runner.stream import Stream
from models.tensorflow_log import quiet

# The largest allowed error of the float step, as a share of the output's range.
FLOAT_TOLERANCE = 1e-4
# The least range that is assumed, for outputs that hardly move.
LEAST_RANGE = 1e-3


def float_stream(step: FloatStep, description: StepModelFacts) -> Stream:
    """Open a stream of the float step on LiteRT, before there is a file."""
    draft = draft_model(
        step,
        description,
        step.flatbuffer,
        Path(description.task),
        SchemeSpec("float32"),
        Tolerance(0.0, 0.0, 0.0),
    )
    with quiet():
        return Stream(draft, "litert")


def outputs_of(stream: Stream, sequence: ByName) -> ByName:
    """Step through a sequence from a reset; return outputs [steps, values] by name."""
    stream.reset()
    given = stream.run(sequence)
    return given if isinstance(given, dict) else {OUTPUT_NAME: given}


def float_error(
    imported: ImportedModel, module: StepModule, stream: Stream, golden: Golden, random: Sequences
) -> float:
    """Find the largest error of the float step on the golden and on random sequences.

    Raises:
        VerificationError: it does not compute what the original does.
    """
    pairs = list(zip(golden.sequences(), _cut(golden), strict=True))
    pairs += [(sequence, original_outputs(imported, module, sequence)) for sequence in random]
    ranges = {
        name: max(float(np.ptp(np.concatenate([wanted[name] for _, wanted in pairs]))), LEAST_RANGE)
        for name in module.outputs
    }
    worst = 0.0
    for sequence, wanted in pairs:
        outputs = outputs_of(stream, sequence)
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


def _cut(golden: Golden) -> list[ByName]:
    """Return the golden outputs of each sequence by name."""
    ends = np.cumsum(golden.lengths)
    return [
        {name: values[end - length : end] for name, values in golden.outputs.items()}
        for length, end in zip(golden.lengths, ends, strict=True)
    ]
