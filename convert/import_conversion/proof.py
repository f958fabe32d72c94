"""Compare an imported model's float step with the framework that the model comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.data import Sequences
from convert.export import draft_model
from convert.import_conversion.original import ByName, outputs_of_original
from convert.importers.imported import ImportedModel
from convert.schemes.scheme import FloatStep
from convert.schemes.spec import SchemeSpec
from convert.step.phase_signatures import with_phases
from convert.step.step_module import StepModule
from convert.step_model_facts import StepModelFacts
from device_runner.errors import VerificationError
from device_runner.model.contract import Tolerance
from device_runner.model.golden import Golden
from device_runner.model.window import Window
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
        with_phases(step.flatbuffer, step.periods),
        Path(description.task),
        SchemeSpec("float32"),
        Tolerance(0.0, 0.0, 0.0),
    )
    with quiet():
        return Stream(draft, "litert")


def outputs_of(stream: Stream, sequence: ByName) -> ByName:
    """Step through a sequence from a reset; return outputs [steps, values] by name."""
    stream.reset()
    return stream.run_by_name(sequence)


def float_error(
    imported: ImportedModel,
    module: StepModule,
    stream: Stream,
    golden: Golden,
    random: Sequences,
    window: Window | None = None,
) -> float:
    """Find the largest error of the float step on the golden and on random sequences.

    With a window, the original is asked for each of them, and only answers count.

    Raises:
        VerificationError: it does not compute what the original does.
    """
    pairs = list(zip(golden.sequences(), _cut(golden), strict=True))
    pairs += [(one, outputs_of_original(imported, module, one, window)) for one in random]
    ranges = {
        name: max(_range(np.concatenate([wanted[name] for _, wanted in pairs])), LEAST_RANGE)
        for name in module.outputs
    }
    worst = 0.0
    for sequence, wanted in pairs:
        outputs = outputs_of(stream, sequence)
        for name, values in wanted.items():
            answered = slice(None) if window is None else ~np.isnan(values)
            # An answer that the stream lacks is as wrong as one that is far off.
            difference = np.nan_to_num(outputs[name][answered], nan=np.inf) - values[answered]
            share = float(np.abs(difference).max(initial=0.0)) / ranges[name]
            worst = np.maximum(worst, share)
            if not share <= FLOAT_TOLERANCE:
                raise VerificationError(
                    f"{imported.name}: stepped, output '{name}' is off by {share:.2g} of its range "
                    f"from what {imported.framework} computes over the sequence; this is a fault "
                    "of the conversion, please report it"
                )
    return float(worst)


def _range(values: NDArray[Any]) -> float:
    """Return largest minus smallest value, leaving out frames without an answer."""
    return float(np.nanmax(values) - np.nanmin(values))


def _cut(golden: Golden) -> list[ByName]:
    """Return the golden outputs of each sequence by name."""
    ends = np.cumsum(golden.lengths)
    return [
        {name: values[end - length : end] for name, values in golden.outputs.items()}
        for length, end in zip(golden.lengths, ends, strict=True)
    ]
