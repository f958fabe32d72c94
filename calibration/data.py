"""Load sequences for calibration and checks from a user's files and functions.

``.npy``: [steps, channels], [sequences, steps, channels], with further axes where a frame has them,
or token ids [steps] and [sequences, steps]. ``.npz``: such arrays by the inputs' names, ``x`` for
the first. CSV and Parquet: a column for each channel, in order; a column called ``sequence``
numbers the sequences. ``module:function``: called without arguments, returns a list of sequences,
each an array or a dict of arrays by input.
It runs in a process of its own (:mod:`calibration.data_function`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.data_function import call_data_function
from calibration.errors import CalibrationError, one_line
from calibration.tables import SEQUENCE_COLUMN, read_csv, read_parquet

# What data may call the first input, whatever the model calls it.
FIRST = "x"

#: For each sequence, arrays [steps, channels] by input name.
Sequences = list[dict[str, NDArray[Any]]]


@dataclass(frozen=True)
class InputShape:
    """What one input takes at each step.

    That is values of ``shape``, such as (channels,) or (height, width, channels), or one of
    ``vocabulary`` token ids. If ``constant``, it stays for a whole sequence."""

    name: str
    shape: tuple[int, ...]
    vocabulary: int | None = None
    constant: bool = False

    @property
    def values(self) -> int:
        """How many values it takes at each step."""
        return math.prod(self.shape)


def load_sequences(source: str, inputs: Sequence[InputShape]) -> Sequences:
    """Read sequences from a file or a function.

    Args:
        source: the path of a file, or ``module:function``.
        inputs: what the model takes of each step.

    Returns:
        For each sequence, a dict of arrays by input: [steps, channels] float32, or [steps, 1] int32
        token ids.

    Raises:
        CalibrationError: the file or function is missing, cannot be read, or does not fit the
            inputs.
    """
    path = Path(source)
    readers = {
        ".npy": _read_npy, ".npz": _read_npz, ".csv": _read_table, ".parquet": _read_table,
    }  # fmt: skip
    if path.suffix.lower() in readers:
        if not path.is_file():
            raise CalibrationError(f"{source}: no such file; check the path")
        try:
            raw = readers[path.suffix.lower()](path, inputs)
        except CalibrationError:
            raise
        # NumPy and pandas raise many types for damaged files, such as zlib.error and pyarrow's.
        except Exception as error:
            raise CalibrationError(f"{source}: cannot be read ({one_line(error)})") from error
    elif ":" in source:
        raw = call_data_function(source)
    else:
        raise CalibrationError(
            f"{source}: calibration data is a .npy, .npz, .csv or .parquet file, "
            "or a function as module:function"
        )
    return fit_sequences(raw, inputs, source)


def fit_sequences(
    given: Iterable[Any], inputs: Sequence[InputShape], source: str = "data"
) -> Sequences:
    """Bring sequences into the inputs' shapes and dtypes.

    Args:
        given: sequences, each an array [steps, channels] or a dict of such arrays by input.
        inputs: what the model takes of each step.
        source: where they come from, for messages.

    Returns:
        The sequences as :func:`load_sequences` gives them.

    Raises:
        CalibrationError: there are no sequences, or one does not fit the inputs.
    """
    sequences = [_fitted(item, inputs, source) for item in given]
    if not sequences or not any(len(item[inputs[0].name]) for item in sequences):
        raise CalibrationError(f"{source}: there is no sequence in it; give at least one")
    return sequences


def random_sequences(inputs: Sequence[InputShape], seed: int, count: int, steps: int) -> Sequences:
    """Draw standard normal frames, and token ids with equal probability."""
    generator = np.random.default_rng(seed)
    sequences = []
    for _ in range(count):
        one = {}
        for item in inputs:
            if item.vocabulary is not None:
                # By custom, id 0 is padding if there is any.
                low = min(1, item.vocabulary - 1)
                rows = 1 if item.constant else steps
                ids = generator.integers(low, item.vocabulary, (rows, 1), np.int32)
                one[item.name] = np.repeat(ids, steps // rows, 0)
            else:
                rows = 1 if item.constant else steps
                values = generator.normal(size=(rows, *item.shape)).astype(np.float32)
                one[item.name] = np.repeat(values, steps // rows, 0)
        sequences.append(one)
    return sequences


def without_padding(sequences: Sequences, name: str, padding: float) -> Sequences:
    """Return the sequences without the steps that the model skips as padding.

    At these steps, all values of the input ``name`` are ``padding``."""
    kept = []
    for sequence in sequences:
        frames = sequence[name]
        real = ~np.all(frames.reshape(len(frames), -1) == padding, axis=-1)
        if real.any():
            kept.append({key: values[real] for key, values in sequence.items()})
    return kept


def _read_npy(path: Path, inputs: Sequence[InputShape]) -> list[Any]:
    return _split(np.load(path, allow_pickle=False), inputs[0])


def _read_npz(path: Path, inputs: Sequence[InputShape]) -> list[Any]:
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    if len(arrays) == 1 and len(inputs) == 1:
        return _split(next(iter(arrays.values())), inputs[0])
    parts = {}
    arrays = _named(arrays, inputs)
    for item in inputs:
        if item.name not in arrays:
            raise CalibrationError(
                f"{path}: it holds {', '.join(arrays) or 'nothing'}, the model takes "
                f"{', '.join(one.name for one in inputs)}; name the arrays so"
            )
        parts[item.name] = _split(arrays[item.name], item)
    counts = {name: len(part) for name, part in parts.items()}
    if len(set(counts.values())) > 1:
        raise CalibrationError(f"{path}: the inputs differ in their number of sequences ({counts})")
    return [dict(zip(parts, values, strict=True)) for values in zip(*parts.values(), strict=True)]


def _named(arrays: Mapping[str, Any], inputs: Sequence[InputShape]) -> dict[str, Any]:
    """Return arrays by the inputs' names; the first may be called x."""
    first = inputs[0].name
    if first in arrays or FIRST not in arrays or any(item.name == FIRST for item in inputs):
        return dict(arrays)
    return {first if name == FIRST else name: values for name, values in arrays.items()}


def _split(array: NDArray[Any], item: InputShape) -> list[NDArray[Any]]:
    """Split an array of one or many sequences into a list of sequences."""
    if item.constant:
        rows = array[np.newaxis] if array.shape == item.shape else array
        return [row[np.newaxis] for row in rows]
    single = 1 if item.vocabulary is not None else 1 + len(item.shape)
    # Token ids may have a last axis of one value, like real values.
    if item.vocabulary is not None and array.ndim > 1 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == single:
        return [array]
    if array.ndim == single + 1:
        return list(array)
    raise CalibrationError(
        f"an array of shape {array.shape} is not a sequence for the input '{item.name}'; "
        f"give [steps, {_axes(item)}] or [sequences, steps, {_axes(item)}]"
    )


def _read_table(path: Path, inputs: Sequence[InputShape]) -> list[Any]:
    """Cut a table into sequences, and its columns into inputs."""
    table, keys = (read_parquet if path.suffix.lower() == ".parquet" else read_csv)(path)
    widths = [item.values for item in inputs]
    if table.shape[1] != sum(widths):
        raise CalibrationError(
            f"{path}: {table.shape[1]} columns apart from '{SEQUENCE_COLUMN}', but the model "
            f"takes {sum(widths)} values a step"
        )
    groups = [table]
    if keys is not None:
        rows: dict[str, list[int]] = {}
        for row, key in enumerate(keys):
            rows.setdefault(key, []).append(row)
        groups = [table[one] for one in rows.values()]
    ends = np.cumsum(widths)[:-1]
    names = [item.name for item in inputs]
    return [dict(zip(names, np.split(group, ends, axis=1), strict=True)) for group in groups]


def _fitted(given: Any, inputs: Sequence[InputShape], source: str) -> dict[str, NDArray[Any]]:
    """Bring one sequence into the inputs' shapes and dtypes."""
    if not isinstance(given, Mapping):
        given = {inputs[0].name: given}
    given = _named(given, inputs)
    found: dict[str, NDArray[Any]] = {}
    steps = 0
    for item in inputs:
        if item.name not in given:
            raise CalibrationError(f"{source}: a sequence lacks the input '{item.name}'")
        values = _numbers(given[item.name], item, source)
        found[item.name] = values
        steps = max(steps, len(values))
    for item in inputs:
        values = found[item.name]
        if item.constant and len(values) == 1:
            found[item.name] = np.repeat(values, steps, 0)
        elif len(values) != steps:
            raise CalibrationError(
                f"{source}: a sequence has {len(values)} steps of '{item.name}' and {steps} of "
                "another input"
            )
    return found


def _numbers(given: Any, item: InputShape, source: str) -> NDArray[Any]:
    """Bring one input's values of one sequence into its shape and dtype."""
    try:
        values = np.asarray(given)
    except ValueError as error:
        raise CalibrationError(
            f"{source}: the input '{item.name}' is not an array of numbers ({one_line(error)})"
        ) from error
    if values.dtype.kind not in "fiub":
        raise CalibrationError(f"{source}: the input '{item.name}' does not hold numbers")
    # An array that is made of a list of masked ones has lost what was left out.
    parts = given if isinstance(given, list | tuple) else (given,)
    if any(np.ma.is_masked(part) for part in parts):  # type: ignore[no-untyped-call]
        raise CalibrationError(
            f"{source}: the input '{item.name}' is a masked array with values left out; "
            "cut the sequence there, or fill them in"
        )
    # Tables hold a step's values in one row; a single value may have no axis of its own.
    if values.ndim in (1, 2) and values.size == len(values) * item.values:
        values = values.reshape(-1, *item.shape)
    if values.shape[1:] != item.shape:
        raise CalibrationError(
            f"{source}: a sequence of shape {values.shape} does not fit the input "
            f"'{item.name}', which takes {_size(item)} {_how_often(item)}"
        )
    if (step := _first(~np.isfinite(values))) is not None:
        raise CalibrationError(
            f"{source}: the input '{item.name}' holds NaN or infinity, first at step {step}"
        )
    if item.vocabulary is not None:
        return _token_ids(values, item, source)
    if (step := _first(np.abs(values) > np.finfo(np.float32).max)) is not None:
        raise CalibrationError(
            f"{source}: the input '{item.name}' holds values that are too large for float32, "
            f"first at step {step}; scale them"
        )
    return values.astype(np.float32)


def _token_ids(values: NDArray[Any], item: InputShape, source: str) -> NDArray[Any]:
    highest = (item.vocabulary or 0) - 1
    if values.min(initial=0) < 0 or values.max(initial=0) > highest:
        raise CalibrationError(
            f"{source}: token ids from {values.min()} to {values.max()}; the model knows "
            f"0 to {highest}"
        )
    if (step := _first(values != np.rint(values))) is not None:
        raise CalibrationError(
            f"{source}: the input '{item.name}' takes token ids, whole numbers; at step {step} it "
            "holds a fraction"
        )
    return values.astype(np.int32)


def _first(wrong: NDArray[Any]) -> int | None:
    """Return the first step at which something is wrong, counted from 0; None if nothing is."""
    steps = wrong.reshape(len(wrong), -1).any(-1) if wrong.size else np.zeros(0, bool)
    return int(steps.argmax()) if steps.any() else None


def _axes(item: InputShape) -> str:
    return "channels" if len(item.shape) == 1 else ", ".join(map(str, item.shape))


def _how_often(item: InputShape) -> str:
    if not item.constant:
        return "a step"
    return f"that stay for a whole sequence: give [sequences, {', '.join(map(str, item.shape))}]"


def _size(item: InputShape) -> str:
    return f"{item.values} values" if len(item.shape) == 1 else f"values of shape {item.shape}"
