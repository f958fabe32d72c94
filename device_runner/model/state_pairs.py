"""Find the states in a TFLite graph that has no contract: which output goes back to which input.

A state is found by the first of these that holds:

- a name that the signature has on both sides;
- names that are equal without words such as "in", "out", "next" or "prev" (``h_in``, ``h_out``);
- an equal shape, and the connection: of several outputs of one shape, that of a state is the
  nearest to its input, counted in operators (``c`` reaches the next ``c`` by a MUL and an ADD, the
  next ``h`` only after that).

At least one input and one output are left for data. What stays ambiguous is not paired.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from device_runner.errors import BadModelError
from device_runner.model.flatbuffer import Graph, Signature, Tensor

BY_SIGNATURE, BY_NAME, BY_CONNECTION, ASKED = "signature", "names", "connection", "--state"
# Words that tell a state's input from its output; without them the names are equal.
_SIDES = frozenset(
    ("in", "out", "input", "output", "prev", "previous", "next", "new", "old", "init", "initial",
     "updated", "cur", "current", "last")
)  # fmt: skip
# What PyTorch's documentation calls the states of its layers, before and after.
_TORCH = re.compile(r"^([hc])[0n]$")
# What TensorFlow's converter adds to the names.
_CONVERTER = re.compile(r"^serving_default_|^StatefulPartitionedCall|^PartitionedCall|:\d+$")
# dtypes that hold real values, quantized or not.
_REAL = frozenset(("float32", "float16", "int8", "uint8", "int16"))


@dataclass(frozen=True)
class StatePair:
    """A state: the tensor that a step takes, and the one that it gives.

    Attributes:
        name: of the state.
        taken, given: names of the input and of the output.
        state_in, state_out: their tensors in the graph.
        how: what they were recognised by.
    """

    name: str
    taken: str
    given: str
    state_in: int
    state_out: int
    how: str


@dataclass(frozen=True)
class StepPorts:
    """The inputs, outputs and states of a graph without a contract.

    Attributes:
        signature: key of the signature that was read; None if the graph has none.
        subgraph: the subgraph of the step.
        inputs, outputs: tensors by name, the states' left out.
        states: the pairs.
        order: all outputs' tensors in the order of the graph.
        unclear: candidates that could not be told apart, in words; empty if there are none.
    """

    signature: str | None
    subgraph: int
    inputs: dict[str, int]
    outputs: dict[str, int]
    states: tuple[StatePair, ...]
    order: tuple[int, ...]
    unclear: str = ""


def find_ports(
    graph: Graph, signature: Signature | None, asked: Sequence[tuple[str, str]] = ()
) -> StepPorts:
    """Find the inputs, outputs and states of a graph.

    Args:
        graph: the subgraph of the signature.
        signature: the signature to step; None if the file has none.
        asked: pairs (input, output) that the user named. Then only these, and names on both sides,
            are states.

    Raises:
        BadModelError: a name that the user gave is not there, or the two differ in shape.
    """
    inputs, outputs = _named_tensors(graph, signature)
    pairs: dict[str, StatePair] = {}

    def pair(taken: str, given: str, how: str) -> None:
        name = _stem(taken) if how == BY_NAME else taken
        if name in (one.name for one in pairs.values()) or not name:
            name = taken
        pairs[taken] = StatePair(name, taken, given, inputs[taken], outputs[given], how)

    for taken, given in asked:
        _check_asked(graph, inputs, outputs, taken, given)
        pair(taken, given, ASKED)
    for name in inputs:
        if name in outputs and name not in pairs and _alike(graph, inputs[name], outputs[name]):
            pair(name, name, BY_SIGNATURE)
    unclear = ""
    if not asked:
        for taken, given in _by_stem(graph, _left(inputs, outputs, pairs)):
            pair(taken, given, BY_NAME)
        found, unclear = _by_connection(graph, *_left(inputs, outputs, pairs))
        for taken, given in found:
            pair(taken, given, BY_CONNECTION)
    free_inputs, free_outputs = _left(inputs, outputs, pairs)
    return StepPorts(
        None if signature is None else signature.key,
        0 if signature is None else signature.subgraph,
        free_inputs,
        free_outputs,
        tuple(pairs.values()),
        graph.outputs,
        unclear,
    )


def choose_signature(graph: Graph, key: str | None = None) -> Signature | None:
    """Choose the signature to step; None if the file has none.

    It is the one called ``key``; by default "step", or the only one, or "serving_default".

    Raises:
        BadModelError: there is none called so, or several and none of these names.
    """
    found = {signature.key: signature for signature in graph.signatures}
    if key is not None:
        return graph.signature(key)
    if len(found) < 2:
        return next(iter(found.values()), None)
    for name in ("step", "serving_default"):
        if name in found:
            return found[name]
    raise BadModelError(
        f"it has the signatures {', '.join(sorted(found))}; say which is the step with --signature"
    )


def clean_name(name: str) -> str:
    """Take away what TensorFlow's converter adds to a tensor's name.

    Example:
        >>> clean_name("serving_default_h_in:0")
        'h_in'
    """
    return _CONVERTER.sub("", _CONVERTER.sub("", name))


def _named_tensors(
    graph: Graph, signature: Signature | None
) -> tuple[dict[str, int], dict[str, int]]:
    """Return inputs and outputs by name, in the order of the graph."""
    if signature is not None:
        sides = (signature.inputs, graph.inputs), (signature.outputs, graph.outputs)
        inputs, outputs = (
            dict(
                sorted(
                    names.items(),
                    key=lambda item, order=order: (
                        order.index(item[1])  # type: ignore[misc]
                        if item[1] in order
                        else len(order)
                    ),
                )
            )
            for names, order in sides
        )
        return inputs, outputs
    return _unique(graph, graph.inputs, "input"), _unique(graph, graph.outputs, "output")


def _unique(graph: Graph, indices: Iterable[int], side: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for place, index in enumerate(indices):
        name = clean_name(graph.tensors[index].name)
        found[name if name and name not in found else f"{side}_{place}"] = index
    return found


def _check_asked(
    graph: Graph, inputs: Mapping[str, int], outputs: Mapping[str, int], taken: str, given: str
) -> None:
    for side, name, names in (("input", taken, inputs), ("output", given, outputs)):
        if name not in names:
            raise BadModelError(
                f"--state {taken}={given}: there is no {side} '{name}' (there are: "
                f"{', '.join(names)})"
            )
    shapes = graph.tensors[inputs[taken]].shape, graph.tensors[outputs[given]].shape
    if shapes[0] != shapes[1]:
        raise BadModelError(
            f"--state {taken}={given}: the input has the shape {list(shapes[0])}, the output "
            f"{list(shapes[1])}; a state goes out as it came in"
        )


def _left(
    inputs: Mapping[str, int], outputs: Mapping[str, int], pairs: Mapping[str, StatePair]
) -> tuple[dict[str, int], dict[str, int]]:
    given = {pair.given for pair in pairs.values()}
    return (
        {name: index for name, index in inputs.items() if name not in pairs},
        {name: index for name, index in outputs.items() if name not in given},
    )


def _alike(graph: Graph, state_in: int, state_out: int) -> bool:
    """Tell whether two tensors have one shape, and both hold real values or the same integers."""
    one, other = graph.tensors[state_in], graph.tensors[state_out]
    real = one.dtype in _REAL and other.dtype in _REAL
    return one.shape == other.shape and (real or one.dtype == other.dtype)


def stored_alike(one: Tensor, other: Tensor) -> bool:
    """Tell whether the bytes of one tensor mean the same in the other."""
    return (one.dtype, one.scales, one.zero_points) == (
        other.dtype,
        other.scales,
        other.zero_points,
    )


def _stem(name: str) -> str:
    """Return a name without the words that tell the sides apart; "" if no letters are left."""
    words = [word for word in re.split(r"[^a-z0-9]+", clean_name(name).lower()) if word]
    kept = [_TORCH.sub(r"\1", word) for word in words if word not in _SIDES]
    stem = "_".join(kept)
    return stem if any(c.isalpha() for c in stem) else ""


def _by_stem(graph: Graph, left: tuple[dict[str, int], dict[str, int]]) -> list[tuple[str, str]]:
    """Pair inputs and outputs whose names are equal but for the side."""
    inputs, outputs = left
    found = []
    for name, index in inputs.items():
        stem = _stem(name)
        same = [one for one in inputs if _stem(one) == stem]
        others = [one for one in outputs if _stem(one) == stem]
        if stem and len(same) == len(others) == 1 and _alike(graph, index, outputs[others[0]]):
            found.append((name, others[0]))
    return found


def _by_connection(
    graph: Graph, inputs: Mapping[str, int], outputs: Mapping[str, int]
) -> tuple[list[tuple[str, str]], str]:
    """Pair inputs with the outputs of their shape that are nearest; say what is ambiguous."""
    distance = {name: _distances(graph, index) for name, index in inputs.items()}
    candidates = {
        (taken, given): distance[taken][outputs[given]]
        for taken in inputs
        for given in outputs
        if _alike(graph, inputs[taken], outputs[given]) and outputs[given] in distance[taken]
    }
    found: list[tuple[str, str]] = []
    open_pairs = dict(candidates)
    while True:
        mutual = [pair for pair in open_pairs if _is_nearest(pair, open_pairs)]
        if not mutual:
            break
        found += mutual
        taken, given = {one for one, _ in found}, {one for _, one in found}
        open_pairs = {
            pair: steps
            for pair, steps in open_pairs.items()
            if pair[0] not in taken and pair[1] not in given
        }
    unclear = _in_words(open_pairs)
    if not found or (len(found) < len(inputs) and len(found) < len(outputs)):
        return found, unclear
    if len(found) == 1:
        return [], unclear  # the data itself, as wide in as out
    # All would be states: the data takes the longest way.
    by_length = sorted(found, key=lambda pair: candidates[pair])
    *states, data = by_length
    if candidates[states[-1]] == candidates[data]:
        return [], _in_words(dict.fromkeys(found, 0))
    return states, unclear


def _is_nearest(pair: tuple[str, str], pairs: Mapping[tuple[str, str], int]) -> bool:
    """Tell whether both of a pair have no other as near."""
    rivals = [
        steps
        for other, steps in pairs.items()
        if other != pair and (other[0] == pair[0] or other[1] == pair[1])
    ]
    return not rivals or pairs[pair] < min(rivals)


def _in_words(pairs: Iterable[tuple[str, str]]) -> str:
    pairs = list(pairs)
    inputs, outputs = (list(dict.fromkeys(pair[side] for pair in pairs)) for side in (0, 1))
    return f"{', '.join(inputs)} and {', '.join(outputs)} have one shape" if pairs else ""


def _distances(graph: Graph, start: int) -> dict[int, int]:
    """Count the operators on the shortest way from a tensor to each that depends on it."""
    readers: dict[int, list[int]] = {}
    for place, operator in enumerate(graph.operators):
        for index in operator.inputs:
            readers.setdefault(index, []).append(place)
    found, border = {start: 0}, [start]
    while border:
        following = []
        for tensor in border:
            for place in readers.get(tensor, []):
                operator = graph.operators[place]
                for position, output in enumerate(operator.outputs):
                    # A loop gives each of its values at the place where it takes it.
                    same_place = operator.inputs[position : position + 1] == (tensor,)
                    own = operator.name != "WHILE" or same_place
                    steps = found[tensor] + (1 if own else 2)
                    if output >= 0 and (output not in found or steps < found[output]):
                        found[output] = steps
                        following.append(output)
        border = following
    return found
