"""Decide which operators of a step graph stay in float32 in an integer scheme.

These do: operators that a layer marks (:func:`convert.layers.layer_rule.in_float`), and layers that
say so as a whole, because rounding within them would ruin the result; operators without a form in
integers, with their layer if it has neither products nor states; and operators that read or write a
state that stays in float32. What goes into such a part is dequantized, and
what comes out is quantized. All other states keep their integers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from convert.schemes.scheme import FloatStep
from convert.step.scopes import is_in_float, layer_number
from convert.tflite_editor import TfliteEditor
from device_runner.model.flatbuffer import Graph, Operator, read_graph
from device_runner.model.names import STEP_SIGNATURE
from device_runner.operators import OPERATORS
from device_runner.operators.row import Form, Grid

FORMS = {8: Form.INT8, 16: Form.INT16}
# Element by element, or passing values on: cheap in float32, and a rounding less.
_CHEAP = frozenset({"ADD", "MUL", "SUB", "RELU", "MAXIMUM", "LOGISTIC", "TANH"})

_PRODUCTS = frozenset({"BATCH_MATMUL", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})


@dataclass(frozen=True)
class FloatParts:
    """What stays in float32.

    Attributes:
        operators: their positions in the graph.
        states: names of the states.
        reasons: why, by layer.
    """

    operators: frozenset[int] = frozenset()
    states: frozenset[str] = frozenset()
    reasons: Mapping[str, str] = field(default_factory=dict)


def mixed_sentence(reasons: Mapping[str, str]) -> str:
    """Say in one line what stays in float32, and why; "" if nothing does.

    Example:
        >>> mixed_sentence({"a": "there is no EXP", "b": "there is no EXP"})
        "mixed: parts of 'a', 'b' stay in float32 (there is no EXP)"
    """
    found: dict[str, list[str]] = defaultdict(list)
    for layer, reason in reasons.items():
        found[reason].append(f"'{layer}'")
    texts = [
        f"parts of {', '.join(layers)} stay in float32 ({why})" for why, layers in found.items()
    ]
    return f"mixed: {'; '.join(texts)}" if texts else ""


def float_parts(graph: Graph, step: FloatStep, bits: int) -> FloatParts:
    """Find what stays in float32 if a step graph is quantized to ``bits``-bit integers.

    If the tensors' names tell no layers, nothing does.
    """
    if not step.layers:
        return FloatParts()
    places = operator_layers(graph)
    signature = graph.signature(STEP_SIGNATURE)
    states = {
        *step.float_states,
        *(name for name in _states_of(graph, places, step.kept_float)),
    }
    taken = {signature.inputs[name] for name in states}
    given = {signature.outputs[name] for name in states}
    lacking = _lacking(graph, places, bits)
    whole = step.kept_float | _layers_in_float(graph, step, places, lacking)
    chosen = {
        place
        for place, operator in enumerate(graph.operators)
        if places[place] in whole
        or taken & {*operator.inputs}
        or given & {*operator.outputs}
        or place in lacking
        or is_in_float(_name(graph, operator))
    }
    reasons = {
        step.layers[number].name: _reason(graph, step, number, lacking, places, bits)
        for number in sorted({places[place] for place in chosen} - {None})  # type: ignore[type-var]
        if number is not None
    }
    written_out = {
        place
        for place in lacking
        if not is_in_float(_name(graph, graph.operators[place]))
        and places[place] not in step.kept_float
    }
    chosen |= _before(graph, written_out)
    _extend(graph, chosen)
    return FloatParts(frozenset(chosen), frozenset(states), reasons)


def _reason(
    graph: Graph,
    step: FloatStep,
    layer: int,
    lacking: Collection[int],
    places: Mapping[int, int | None],
    bits: int,
) -> str:
    """Say why a layer has operators in float32."""
    if layer in step.kept_float:
        return "chosen"
    if reason := step.layers[layer].float_only:
        return reason
    found = [graph.operators[place] for place in sorted(lacking) if places[place] == layer]
    names = dict.fromkeys(one.name for one in found if not _has_form(one, bits))
    if names:
        return f"there is no {', '.join(names)} in {bits}-bit integers"
    return f"it spans more orders of magnitude than {bits}-bit integers hold"


def operator_layers(graph: Graph) -> dict[int, int | None]:
    """Find the layer of each operator by position, as the names of tensors tell it.

    A tensor that the step gives has lost its name; its operator belongs to the layer of what it
    reads that comes last.
    """
    by_tensor: dict[int, int] = {}
    found: dict[int, int | None] = {}
    for place, operator in enumerate(graph.operators):
        layer = layer_number(_name(graph, operator))
        if layer is None:
            read = [by_tensor[index] for index in operator.inputs if index in by_tensor]
            constants = [
                number
                for index in operator.inputs
                if index >= 0 and graph.tensors[index].constant_bytes
                if (number := layer_number(graph.tensors[index].name)) is not None
            ]
            layer = max([*read, *constants], default=None)
        found[place] = layer
        if layer is not None:
            by_tensor.update(dict.fromkeys(operator.outputs, layer))
    return found


def _state_inputs(graph: Graph) -> set[int]:
    signature = graph.signature(STEP_SIGNATURE)
    return {signature.inputs[name] for name in signature.inputs if name in signature.outputs}


def _lacking(graph: Graph, places: Mapping[int, int | None], bits: int) -> set[int]:
    """List the operators, by position, that integers do not hold.

    A root of what a layer reads spans too many magnitudes. A recurrence's roots are of what its
    equations bound."""
    states = _state_inputs(graph)
    recurrent = {places[p] for p, one in enumerate(graph.operators) if states & {*one.inputs}}
    return {
        place
        for place, operator in enumerate(graph.operators)
        if not _has_form(operator, bits)
        or (operator.name == "RSQRT" and places[place] not in recurrent)
    }


def _layers_in_float(
    graph: Graph, step: FloatStep, places: Mapping[int, int | None], lacking: Collection[int]
) -> set[int]:
    """List the layers that stay in float32 as a whole.

    A layer says so itself, or it has neither products nor states and lacks an integer form."""
    states = _state_inputs(graph)
    found = {number for number, layer in enumerate(step.layers) if layer.float_only}
    large = {
        places[place]
        for place, operator in enumerate(graph.operators)
        if operator.name in _PRODUCTS or states & {*operator.inputs}
    }
    small = {number for place in lacking if (number := places[place]) is not None} - large
    return found | small


def _states_of(
    graph: Graph, places: Mapping[int, int | None], layers: Collection[int]
) -> list[str]:
    """List the states that only the given layers read."""
    signature = graph.signature(STEP_SIGNATURE)
    found = []
    for name, index in signature.inputs.items():
        readers = [place for place, one in enumerate(graph.operators) if index in one.inputs]
        if (
            name in signature.outputs
            and readers
            and {places[one] for one in readers} <= set(layers)
        ):
            found.append(name)
    return found


def _has_form(operator: Operator, bits: int) -> bool:
    return operator.name in OPERATORS and FORMS[bits] in OPERATORS[operator.name].versions


def _name(graph: Graph, operator: Operator) -> str:
    return graph.tensors[operator.outputs[0]].name


def _before(graph: Graph, roots: Collection[int]) -> set[int]:
    """List cheap operators that nothing but the given ones read, directly or by each other.

    A normalization, say, may be written out in operators: the variance that a root reads must not
    be rounded before."""
    readers: dict[int, set[int]] = {}
    for place, operator in enumerate(graph.operators):
        for index in operator.inputs:
            readers.setdefault(index, set()).add(place)
    outputs = set(graph.signature(STEP_SIGNATURE).outputs.values())
    found = set(roots)
    for place in reversed(range(len(graph.operators))):
        operator = graph.operators[place]
        if operator.name not in _CHEAP | {"SUM", "MEAN"} or outputs & {*operator.outputs}:
            continue
        read = set().union(*(readers.get(index, set()) for index in operator.outputs))
        if read and read <= found:
            found.add(place)
    return found


def _extend(graph: Graph, chosen: set[int]) -> None:
    """Add cheap operators that read nothing but what parts in float32 give, and constants.

    They would need a rounding of their own."""
    given = {index for place in chosen for index in graph.operators[place].outputs}
    for place, operator in enumerate(graph.operators):
        row = OPERATORS.get(operator.name)
        passes = row is not None and row.grid is Grid.PASSED
        read = [i for i in operator.inputs if i >= 0 and not graph.tensors[i].constant_bytes]
        if place in chosen or not (passes or operator.name in _CHEAP):
            continue
        if read and set(read) <= given:
            chosen.add(place)
            given.update(operator.outputs)


def _only_dequantized(graph: Graph) -> set[int]:
    """Find the inputs, other than states, that are turned into float32 wherever they are read."""
    signature = graph.signature(STEP_SIGNATURE)
    inputs = set(signature.inputs.values()) - _state_inputs(graph)
    inputs -= set(signature.outputs.values())
    read = {index for operator in graph.operators for index in operator.inputs}
    others = {
        index
        for operator in graph.operators
        if operator.name != "DEQUANTIZE"
        for index in operator.inputs
    }
    return (inputs & read) - others


def repaired(flatbuffer: bytes, states: Collection[str]) -> bytes:
    """Mend what the quantizer makes of a graph that stays in float32 in parts.

    It converts every input and state to integers, also those that stay in float32: the states that
    do, and the inputs that nothing but parts in float32 reads. If a tensor is given out
    and also read on, it may give out the wrong one, or let the last operator read the wrong one.

    Args:
        states: names of the states that stay in float32.
    """
    graph = read_graph(flatbuffer)
    signature = graph.signature(STEP_SIGNATURE)
    outputs = dict(signature.outputs)
    kept = {signature.inputs[name] for name in states} | _only_dequantized(graph)
    dropped: set[int] = set()
    replaced: dict[int, int] = {}
    quantized: dict[int, int] = {}
    for place, operator in enumerate(graph.operators):
        source, target = operator.inputs[0], operator.outputs[0]
        if operator.name == "DEQUANTIZE" and source in kept:
            dropped.add(place)
            replaced[target] = source
        if operator.name == "QUANTIZE" and graph.tensors[source].dtype == "float32":
            quantized[target] = source
            if names := [name for name in states if outputs[name] == target]:
                outputs[names[0]] = source
    editor = TfliteEditor(flatbuffer)
    for index in kept:
        editor.set_float(index)
    read = set(outputs.values())
    for place, operator in enumerate(graph.operators):
        if operator.name != "DEQUANTIZE" and graph.tensors[operator.outputs[0]].dtype == "float32":
            editor.read_instead(place, quantized)
        else:
            read.update(operator.inputs)
    dropped |= {
        place
        for place, operator in enumerate(graph.operators)
        if operator.name == "QUANTIZE" and operator.outputs[0] not in read
    }
    editor.drop_operators(dropped, replaced)
    editor.set_outputs(outputs)
    return editor.flatbuffer()
