"""Hold a step against outputs that the user computed with the original: ``--expected``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.data import Sequences
from calibration.errors import CalibrationError
from convert.import_conversion.proof import FLOAT_TOLERANCE, LEAST_RANGE, outputs_of
from convert.step.step_module import StepModule
from device_runner.errors import VerificationError, one_line
from device_runner.stream import Stream

# Frames that are stepped at most, from the start of the data: what takes a few seconds.
MOST_FRAMES = 200_000


@dataclass(frozen=True)
class Expected:
    """What the original gives for the data.

    Attributes:
        path: the file.
        outputs: by output, a row for each frame of the data, or for each sequence.
    """

    path: str
    outputs: Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class ExpectedError:
    """How a step compares with it.

    Attributes:
        largest: error, as a share of the spread of what is expected.
        compared: rows.
    """

    largest: float
    compared: int


def read_expected(path: str | Path) -> Expected:
    """Read a .npy file with the first output, or a .npz file with outputs by name.

    Raises:
        CalibrationError: it cannot be read, or does not hold numbers.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            outputs = {"": loaded}
        else:
            with loaded:
                outputs = {name: loaded[name] for name in loaded.files}
    # NumPy raises many types for damaged files.
    except Exception as error:
        raise CalibrationError(
            f"{path}: cannot be read as outputs of the original ({one_line(error)}); give a .npy "
            "file of [steps, values] or [sequences, steps, values], or a .npz file with one for "
            "each output"
        ) from error
    for name, values in outputs.items():
        if values.dtype.kind not in "fiub" or not values.size or not np.isfinite(values).all():
            raise CalibrationError(
                f"{path}: {f'output {name!r}' if name else 'it'} holds no finite numbers; save the "
                "outputs of the original as float32"
            )
    return Expected(str(path), outputs)


def expected_error(
    expected: Expected, module: StepModule, stream: Stream, sequences: Sequences
) -> ExpectedError:
    """Step the data and compare with what is expected of it.

    Args:
        stream: of the float step.
        sequences: the data in its order.

    Raises:
        CalibrationError: the file does not fit the data.
        VerificationError: an output is off by more than 1e-4 of its spread.
    """
    named = {name or module.outputs[0]: values for name, values in expected.outputs.items()}
    if unknown := sorted(set(named) - set(module.outputs)):
        raise CalibrationError(
            f"{expected.path}: there is no output '{unknown[0]}'; there are "
            f"{', '.join(module.outputs)}"
        )
    begin = {name: values[:1] for name, values in sequences[0].items()}
    widths = {name: values.size for name, values in outputs_of(stream, begin).items()}
    wanted = {}
    for name, values in named.items():
        delay = module.graph.timing(name).delay
        lengths = [len(next(iter(one.values()))) for one in sequences]
        rows = _by_sequence(values, widths[name], lengths, delay)
        if rows is None:
            raise CalibrationError(
                f"{expected.path}: output '{name}' has the shape {list(values.shape)}; the data "
                f"has {sum(lengths):,} frames in {len(lengths):,} sequences, with {widths[name]} "
                "values each: give a row for each frame, or the last one of each sequence"
            )
        wanted[name] = rows
    spreads = {name: max(float(np.ptp(values)), LEAST_RANGE) for name, values in named.items()}
    worst, compared, frames = 0.0, 0, 0
    for number, sequence in enumerate(sequences):
        if frames > MOST_FRAMES:
            break
        frames += len(next(iter(sequence.values())))
        given = outputs_of(stream, sequence)
        for name, rows in wanted.items():
            share = _largest(given[name], rows[number]) / spreads[name]
            compared += len(rows[number])
            worst = max(worst, share)
            if not share <= FLOAT_TOLERANCE:
                raise VerificationError(
                    f"{expected.path}: stepped, output '{name}' is off by {share:.2g} of its "
                    f"spread in sequence {number}; the step is of another network than the one "
                    "that gave these outputs, or they are not of this data"
                )
    return ExpectedError(worst, compared)


def _by_sequence(
    values: NDArray[Any], width: int, lengths: list[int], delay: int
) -> list[NDArray[Any]] | None:
    """Cut what is expected into the sequences of the data, the last rows of each; None if it does
    not fit.

    Args:
        delay: frames before the first answer, for which the step's outputs mean nothing."""
    for counts in (lengths, [max(length - delay, 0) for length in lengths], [1] * len(lengths)):
        if values.size == sum(counts) * width:
            rows = values.reshape(sum(counts), width).astype(np.float32)
            found = np.split(rows, np.cumsum(counts)[:-1])
            return [part[delay:] if counts is lengths else part for part in found]
    return None


def _largest(given: NDArray[Any], rows: NDArray[Any]) -> float:
    """Return the largest difference of a sequence's last outputs; infinite where there is none."""
    last = given.reshape(len(given), -1)[len(given) - len(rows) :]
    return float(np.abs(np.nan_to_num(last, nan=np.inf) - rows).max(initial=0.0))


def expected_facts(found: ExpectedError) -> dict[str, Any]:
    """Return the facts for a step model's metrics."""
    return {"expected": {"error": round(found.largest, 8), "compared": found.compared}}
