"""Tell which layer an integer scheme loses most in, and what mends it at least cost.

Two figures for each layer. Its own error: how far what it gives is from what it gives in float32,
with all that came before it quantized too. And the error of the whole step if this layer alone
stays in float32: the difference is what the layer costs. All of it is measured, on data kept from
calibration.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convert.errors import ContractViolationError, UnknownLayerError
from convert.evaluation import float_stream_of
from convert.export import draft_model
from convert.import_conversion.held_out import LEAST_SPREAD, StepError, step_error
from convert.schemes import apply_scheme, parse_scheme
from convert.schemes.mixed import operator_layers
from convert.schemes.scheme import FloatStep
from convert.schemes.spec import SchemeSpec
from convert.step.phase_signatures import with_phases
from device_runner.model.contract import Tolerance
from device_runner.model.flatbuffer import Graph, read_graph
from device_runner.model.names import STEP_SIGNATURE
from device_runner.model.step_file import StepModel
from device_runner.stream import Stream
from models.tensorflow_log import quiet

if TYPE_CHECKING:
    from convert.import_conversion.conversion import Conversion

# How many steps the layers' own outputs are compared over.
OWN_STEPS = 500
# What is tried as a mend, and how much of the error it must take away to count as one.
MENDS = (
    "int8:per-channel", "int8:compensated", "int8:per-channel:compensated", "int8:percentile",
    "int8:mse", "int16x8", "int16x8:per-channel:compensated", "dynamic", "float32",
)  # fmt: skip
MENDED = 0.5
# An error below this share of the spread needs no mend.
SMALL = 0.005


class LayerError(NamedTuple):
    """What a layer loses in an integer scheme.

    Attributes:
        layer: its name.
        own: rms error of what it gives, as a share of that value's spread; None if unknown.
        alone: the step's error if this layer alone stays in float32.
        file_bytes: size of that step's graph.
    """

    layer: str
    own: float | None
    alone: StepError
    file_bytes: int


class SchemeError(NamedTuple):
    """The error and size of the step in a scheme, or the reason why it has none."""

    name: str
    error: StepError | None
    file_bytes: int
    refused: str = ""


@dataclass(frozen=True)
class Trial:
    """What schemes and layers are tried with.

    Attributes:
        conversion: the imported model.
        sequences: the data that errors are measured on.
    """

    conversion: Conversion
    sequences: Sequence[Mapping[str, Any]]

    def model(self, spec: SchemeSpec, step: FloatStep) -> StepModel:
        """Make the step model of a scheme, without a file."""
        flatbuffer = apply_scheme(spec, step, self.conversion.ranges_for(spec))
        return draft_model(
            step, self.conversion.description, with_phases(flatbuffer, step.periods), Path("trial"),
            spec, Tolerance(0.0, 0.0, 0.0),
        )  # fmt: skip

    def error(self, model: StepModel) -> StepError:
        """Measure a step model's error."""
        with quiet():
            stream = Stream(model, "litert")
        found = self.conversion
        return step_error(stream, found.step, self.sequences, found.decides)


def in_float(step: FloatStep, names: Collection[str]) -> FloatStep:
    """Let layers stay in float32 in integer schemes.

    Raises:
        UnknownLayerError: there is no layer of a name.
    """
    known = [layer.name for layer in step.layers]
    for name in names:
        if name not in known:
            raise UnknownLayerError("layer", name, dict.fromkeys(known))
    places = {place for place, name in enumerate(known) if name in names}
    return replace(step, kept_float=step.kept_float | places)


def layer_errors(trial: Trial, spec: SchemeSpec) -> list[LayerError]:
    """Measure what each layer loses in a scheme, the one that loses most first."""
    step = trial.conversion.step
    graph = read_graph(step.flatbuffer)
    places = operator_layers(graph)
    worked = sorted({place for place in places.values() if place is not None})
    own = _own_errors(trial, trial.model(spec, step), graph, places)
    found = []
    for place in worked:
        if place in step.kept_float or step.layers[place].float_only:
            continue
        kept = replace(step, kept_float=step.kept_float | {place})
        try:
            model = trial.model(spec, kept)
            alone = trial.error(model)
        except ContractViolationError:
            continue
        name = step.layers[place].name
        found.append(LayerError(name, own.get(place), alone, len(model.flatbuffer)))
    return sorted(found, key=lambda one: one.alone.rms)


def scheme_errors(trial: Trial, spec: SchemeSpec) -> list[SchemeError]:
    """Measure the error and size of the step in a scheme and in all that may mend it."""
    found = []
    for name in dict.fromkeys((str(spec), *MENDS)):
        try:
            model = trial.model(parse_scheme(name), trial.conversion.step)
            found.append(SchemeError(name, trial.error(model), len(model.flatbuffer)))
        except ContractViolationError as error:
            found.append(SchemeError(name, None, 0, error.message))
    return found


def cheapest_mend(
    now: SchemeError, schemes: Sequence[SchemeError], layers: Sequence[LayerError]
) -> str:
    """Say what takes away at least half of the error and makes the smallest graph."""
    if now.error is None:
        return f"{now.name} is not to be had: {now.refused}"
    if now.error.rms < SMALL:
        return f"nothing to mend: {now.name} is off by {now.error.rms:.2%} rms"
    offers = [(one.file_bytes, one.name, one.error) for one in schemes[1:] if one.error]
    offers += [(one.file_bytes, f"{now.name} --in-float {one.layer}", one.alone) for one in layers]
    good = [one for one in offers if one[2].rms <= MENDED * now.error.rms]
    if not good:
        return "nothing that was tried halves the error"
    size, name, error = min(good, key=lambda one: one[0])
    return (
        f"{name}: rms {error.rms:.2%} instead of {now.error.rms:.2%}, "
        f"{size:,} bytes instead of {now.file_bytes:,}"
    )


def explain(trial: Trial, spec: SchemeSpec, say: Callable[[str], None]) -> None:
    """Print the errors by layer and by scheme, and the cheapest mend."""
    schemes = scheme_errors(trial, spec)
    now = schemes[0]
    for number, one in enumerate(schemes):
        if not number:
            say("scheme                            rms      largest  bytes")
        if one.error:
            error = f"{one.error.rms:7.2%}  {one.error.maximum:7.2%}  {one.file_bytes:,}"
        else:
            error = f"not to be had: {one.refused}"
        say(f"{one.name:32}  {error}")
    say(f"{'int8:qat':32}  not tried: it trains, in a recipe ('edgestep run')")
    layers = layer_errors(trial, spec) if now.error else []
    for number, loss in enumerate(layers):
        if not number:
            say(f"layer, in {spec!s:22}  its own  {spec.base} if it alone were float32, bytes")
        own = "      ?" if loss.own is None else f"{loss.own:7.2%}"
        say(f"{loss.layer[:32]:32}  {own}  rms {loss.alone.rms:.2%}, {loss.file_bytes:,}")
    say(f"cheapest mend: {cheapest_mend(now, schemes, layers)}")


def worst_layer(trial: Trial, spec: SchemeSpec) -> str:
    """Say in a few words which layer a scheme loses most in; "" if that is not to be told."""
    try:
        error = trial.error(trial.model(spec, trial.conversion.step))
        losses = layer_errors(trial, spec)
    except ContractViolationError:
        return ""
    if not losses or losses[0].alone.rms >= error.rms:
        return ""
    first = losses[0]
    return (
        f"layer '{first.layer}' loses most (rms {error.rms:.2%} of the spread, "
        f"{first.alone.rms:.2%} with it in float32)"
    )


def _own_errors(
    trial: Trial, model: StepModel, graph: Graph, places: Mapping[int, int | None]
) -> dict[int, float]:
    """Measure the rms error of what each layer gives, as a share of its spread, by place.

    Args:
        model: the quantized step.
        graph: the float step's graph, whose tensors have the same names.
    """
    given = _gives(graph, places)
    float_model = float_stream_of(trial.conversion.step, model).model
    wanted = _watched(float_model, given, trial.sequences)
    found = _watched(model, given, trial.sequences)
    errors = {}
    for place in wanted.keys() & found.keys():
        spread = max(float(np.ptp(wanted[place])), LEAST_SPREAD)
        difference = found[place] - wanted[place]
        errors[place] = float(np.sqrt(np.mean(difference**2))) / spread
    return errors


def _gives(graph: Graph, places: Mapping[int, int | None]) -> dict[int, str]:
    """Find the name of the tensor that each layer gives, by its place."""
    readers: dict[int, set[int | None]] = {}
    for place, operator in enumerate(graph.operators):
        for index in operator.inputs:
            readers.setdefault(index, set()).add(places[place])
    outputs = set(graph.signature(STEP_SIGNATURE).outputs.values())
    found: dict[int, str] = {}
    for place, operator in enumerate(graph.operators):
        layer = places[place]
        index = operator.outputs[0]
        if layer is not None and (index in outputs or readers.get(index, set()) - {layer}):
            found[layer] = graph.tensors[index].name
    return found


def _watched(
    model: StepModel, tensors: Mapping[int, str], sequences: Sequence[Mapping[str, Any]]
) -> dict[int, NDArray[Any]]:
    """Step a model and record tensors in real units, [steps, values] by key."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with quiet():
        interpreter = Interpreter(
            model_content=model.flatbuffer,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
    by_name = {tensor.name: tensor for tensor in model.graph.tensors}
    chosen = {key: by_name[name] for key, name in tensors.items() if name in by_name}
    signature, contract = model.graph.signature(STEP_SIGNATURE), model.contract
    found: dict[int, list[NDArray[Any]]] = {key: [] for key in chosen}
    left = OWN_STEPS
    for sequence in sequences:
        states = {
            state.name: np.frombuffer(state.initial_bytes(), state.dtype).reshape(state.shape)
            for state in contract.states
        }
        for number in range(min(left, max(map(len, sequence.values())))):
            left -= 1
            for spec in contract.inputs:
                value = spec.quantize(sequence[spec.name][number]).reshape(spec.shape)
                interpreter.set_tensor(signature.inputs[spec.name], value)
            for name, value in states.items():
                interpreter.set_tensor(signature.inputs[name], value)
            interpreter.invoke()
            for key, tensor in chosen.items():
                value = interpreter.get_tensor(tensor.index).astype(np.float64).ravel()
                if tensor.scales:
                    value = (value - tensor.zero_points[0]) * tensor.scales[0]
                found[key].append(value)
            states = {name: interpreter.get_tensor(signature.outputs[name]) for name in states}
    return {key: np.stack(values) for key, values in found.items() if values}
