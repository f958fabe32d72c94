"""Make a step model of a TFLite file that edgestep did not make.

The reference is the file itself, as LiteRT computes it. Nothing is known of the model that it was
trained as, so nothing is claimed of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calibration.data import InputShape, Sequences, load_sequences, random_sequences
from convert.adoption.contract import AdoptedFacts, checked_specs, write_as_it_is, write_quantized
from convert.adoption.explicit import ExplicitStep, explicit_step
from convert.adoption.original import OriginalFile, golden_of_file
from convert.data_source import check_data_source
from convert.errors import SourceModelError
from convert.schemes import parse_scheme
from convert.schemes.scheme import FloatStep
from convert.schemes.spec import SchemeSpec
from device_runner.containment import loading
from device_runner.errors import BadModelError
from device_runner.model.flatbuffer import read_graph
from device_runner.model.foreign_model import check_variables, scheme_of
from device_runner.model.golden import golden_input
from device_runner.model.graph_checks import TENSOR_LIMIT_BYTES
from device_runner.model.step_file import StepModel, has_contract, read_bytes
from device_runner.model.tensor_spec import TensorSpec
from device_runner.output_file import OutputKind, check_not_source, check_replaceable
from models.tensorflow_log import quiet

GOLDEN_SEQUENCES, GOLDEN_STEPS = 3, 16
RANDOM_SEED, RANDOM_SEQUENCES, RANDOM_STEPS = 31, 8, 64
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Wishes:
    """What the user asks for.

    Attributes:
        states: pairs (input, output) that are states; () to recognise them.
        signature: key of the signature that is the step; None to choose.
        scheme: a scheme to quantize to; None to leave the numbers as they are.
        data: a file or function, as for ``convert``; None for random numbers.
        random_calibration: whether random numbers may calibrate.
        frame_period_s: seconds between two frames; None if unknown.
        labels: what each value of the first output stands for; () if unknown.
    """

    states: tuple[tuple[str, str], ...] = ()
    signature: str | None = None
    scheme: str | None = None
    data: str | None = None
    random_calibration: bool = False
    frame_period_s: float | None = None
    labels: tuple[str, ...] = ()


def adopt_file(
    path: Path, wishes: Wishes, output: Path | None, tell: Tell, force: bool = False
) -> StepModel:
    """Write a step model of a TFLite file.

    Args:
        path: the file.
        output: the file to write; by default beside ``path``, with "step" or the scheme in its
            name.
        tell: receives one line of text whenever there is news.
        force: whether to write over a file that is not a step model.

    Raises:
        OptionError: a file of another kind is where the step model would be written.
        BadModelError, SourceModelError: the file is missing or damaged, is a step model already, or
            its states cannot be told or taken out.
        CalibrationError: the data does not fit.
        VerificationError: the step model does not compute what the file does.
    """
    data = read_bytes(path)
    if has_contract(data):
        raise BadModelError(
            f"{path}: it has a step contract already; use it as it is (inspect, verify, bench)"
        )
    if wishes.data is not None:
        check_data_source(wishes.data)
    spec = None if wishes.scheme is None else parse_scheme(wishes.scheme)
    ending = "step" if spec is None else spec.file_part
    target = output or path.with_name(f"{path.stem}-{ending}.tflite")
    check_not_source(target, path)
    check_replaceable(target, OutputKind.STEP_MODEL, force)
    try:
        with loading(path), quiet():
            step = _explicit(data, wishes, spec)
        return _written(path, data, step, wishes, spec, target, tell)
    except (BadModelError, SourceModelError) as error:
        if error.message.startswith(str(path)):
            raise
        raise type(error)(f"{path}: {error.message}") from error


def _explicit(data: bytes, wishes: Wishes, spec: SchemeSpec | None) -> ExplicitStep:
    """Check the file, and make its states explicit."""
    graph = read_graph(data)
    needed = sum(max(0, tensor.byte_count or 0) for tensor in graph.tensors)
    if needed > TENSOR_LIMIT_BYTES:
        raise BadModelError(
            f"its tensors take {needed:,} bytes, a step model's {TENSOR_LIMIT_BYTES:,} at most"
        )
    if custom := next((code for code, _ in graph.operator_codes if code.startswith("CUSTOM")), ""):
        raise SourceModelError(
            f"it has the operator {custom.removeprefix('CUSTOM:')!r}, which is not part of TFLite; "
            "convert the model again with built-in operators (TFLITE_BUILTINS)"
        )
    check_variables(graph)
    is_float = scheme_of(graph) in ("float32", "float16", "dynamic")
    if spec is not None and not is_float:
        raise SourceModelError(
            f"its numbers are stored as {scheme_of(graph)} already, so --scheme {spec} would "
            "quantize them twice; leave --scheme out, or adopt the float file"
        )
    return explicit_step(data, wishes.states, wishes.signature, spec is not None)


def _written(
    path: Path,
    data: bytes,
    step: ExplicitStep,
    wishes: Wishes,
    spec: SchemeSpec | None,
    target: Path,
    tell: Tell,
) -> StepModel:
    graph = read_graph(step.flatbuffer)
    inputs, outputs, vocabularies = checked_specs(graph)
    float_step = FloatStep(
        step.flatbuffer, {}, initial=dict(step.initial), vocabularies=vocabularies
    )
    tell(f"{path}: a TFLite file of {scheme_of(graph)}; {states_in_words(step)}")
    sequences = _sequences(wishes, spec, inputs, step)
    places = np.unique(np.linspace(0, len(sequences) - 1, GOLDEN_SEQUENCES).astype(int))
    chosen = [
        {name: golden_input(values[:GOLDEN_STEPS]) for name, values in sequences[index].items()}
        for index in places
    ]
    with loading(path), quiet():
        golden = golden_of_file(OriginalFile(data, step), chosen, inputs, outputs)
    facts = AdoptedFacts(
        path, step, golden, wishes.data, wishes.frame_period_s, wishes.labels, sequences
    )
    if spec is None:
        return write_as_it_is(float_step, facts, target)
    return write_quantized(float_step, facts, spec, target)


def states_in_words(step: ExplicitStep) -> str:
    """Say which states there are, and by what they were recognised."""
    parts = [
        f"{pair.taken} <- {pair.given} (by {pair.how})"
        if pair.taken != pair.given
        else f"{pair.taken} (by {pair.how})"
        for pair in step.ports.states
    ]
    parts += [f"{name} (was kept inside)" for name in step.inner]
    return f"states {', '.join(parts)}" if parts else "no state was found: each frame stands alone"


def _sequences(
    wishes: Wishes, spec: SchemeSpec | None, inputs: Sequence[TensorSpec], step: ExplicitStep
) -> Sequences:
    """Read the user's sequences, or draw random ones; in the shape of the step's frames."""
    shapes = [
        InputShape(one.name, tuple(n for n in one.frame_shape if n > 1) or (1,), one.vocabulary)
        for one in inputs
    ]
    if wishes.data is not None:
        sequences = _loaded(wishes.data, shapes, step)
    else:
        from convert.schemes import needs_ranges

        if spec is not None and needs_ranges(spec) and not wishes.random_calibration:
            raise SourceModelError(
                f"real sequences are needed to calibrate {spec}: give --data FILE, or "
                "--random-calibration to do without"
            )
        sequences = random_sequences(shapes, RANDOM_SEED, RANDOM_SEQUENCES, RANDOM_STEPS)
        for one in inputs:
            if one.scale is not None:
                _spread(sequences, one)
    frames = {one.name: one.frame_shape for one in inputs}
    return [
        {name: values.reshape(-1, *frames[name]) for name, values in sequence.items()}
        for sequence in sequences
    ]


def _loaded(source: str, shapes: Sequence[InputShape], step: ExplicitStep) -> Sequences:
    """Load sequences whose arrays have the step's names, or the file's own."""
    if Path(source).suffix == ".npz" and Path(source).is_file():
        own = {step.names[shape.name]: shape for shape in shapes}
        try:
            with np.load(source, allow_pickle=False) as archive:
                there = set(own) <= set(archive.files) and len(own) > 1
        except Exception:  # load_sequences says what is wrong with it
            there = False
        if there:
            named = [InputShape(name, one.shape, one.vocabulary) for name, one in own.items()]
            back = {name: one.name for name, one in own.items()}
            return [
                {back[name]: values for name, values in sequence.items()}
                for sequence in load_sequences(source, named)
            ]
    return load_sequences(source, shapes)


def _spread(sequences: Sequences, spec: TensorSpec) -> None:
    """Spread standard normal values over the range that an input's integers hold."""
    limits = np.iinfo(spec.dtype)
    low, high = (spec.dequantize(np.array([n], spec.dtype))[0] for n in (limits.min, limits.max))
    for sequence in sequences:
        values: Any = sequence[spec.name]
        middle, width = (low + high) / 2, (high - low) / 8
        sequence[spec.name] = np.clip(middle + width * values, low, high).astype(np.float32)
