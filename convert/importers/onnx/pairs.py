"""Find which inputs of a network are states that it gives back as outputs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from convert.errors import SourceModelError, UnsupportedLayerError
from convert.importers.onnx.network import Graph, Node, Port

# What hands a state on without computing with it.
PASSING = {
    "Cast", "Concat", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze",
    "Transpose", "Unsqueeze",
}  # fmt: skip
# What a new state may be computed from an old one by, without a product.
LOCAL = {*PASSING, "Add", "Mul", "Sub", "Where", "Pad"}
# Words of a name that say which of the two it is.
DIRECTIONS = {
    "in", "out", "input", "output", "prev", "previous", "next", "new", "old", "cur", "current",
    "last", "initial", "init", "final", "updated", "past", "present", "n", "t", "i", "o", "from",
    "to",
}  # fmt: skip
# Words of signals, which are no states whatever comes out under a similar name.
SIGNALS = {
    "", "x", "y", "audio", "frame", "frames", "signal", "wav", "waveform", "mix", "noisy", "spec",
    "mag", "feature", "features", "feat", "sample", "samples", "image", "data", "pcm", "speech",
    "sound", "obs", "observation",
}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """A state's input and output, and how they were recognised."""

    taken: str
    given: str
    by: str


def find_pairs(graph: Graph, chosen: Sequence[tuple[str, str]]) -> tuple[Pair, ...]:
    """Pair inputs with the outputs that give their new values.

    Args:
        chosen: pairs that the user names.

    Raises:
        SourceModelError: the user names what is not there, or does not fit.
        UnsupportedLayerError: it is not clear which output belongs to an input.
    """
    pairs = [_chosen(graph, *names) for names in chosen]
    for find in (_connected, _named, _by_shape):
        pairs += find(graph, _open(graph, pairs))
    if pairs and len(pairs) == len(graph.inputs):
        raise UnsupportedLayerError(
            "every input of the network is a state; a step needs an input: name the states "
            "with --state IN=OUT"
        )
    return tuple(pairs)


# Inputs and outputs that may still be paired.
_Open = tuple[list[Port], list[Port]]


def _open(graph: Graph, pairs: Iterable[Pair]) -> _Open:
    taken, given = {pair.taken for pair in pairs}, {pair.given for pair in pairs}
    return (
        [port for port in graph.inputs if port.name not in taken and port.dtype == np.float32],
        [port for port in graph.outputs if port.name not in given and port.dtype == np.float32],
    )


def _chosen(graph: Graph, taken: str, given: str) -> Pair:
    inputs = {port.name: port for port in graph.inputs}
    outputs = {port.name: port for port in graph.outputs}
    for name, ports, what in ((taken, inputs, "input"), (given, outputs, "output")):
        if name not in ports:
            raise SourceModelError(
                f"--state {taken}={given}: there is no {what} '{name}'; there are "
                f"{', '.join(ports)}"
            )
    if not fits(inputs[taken], outputs[given]):
        raise SourceModelError(
            f"--state {taken}={given}: their shapes {list(inputs[taken].shape)} and "
            f"{list(outputs[given].shape)} differ"
        )
    return Pair(taken, given, "as given")


def fits(taken: Port, given: Port) -> bool:
    """Tell whether an output can be an input's new value; unknown sizes fit any."""
    if given.shape == () and taken.shape:
        return True
    if len(taken.shape) != len(given.shape) or taken.dtype != given.dtype:
        return False
    return all(
        a == b or not isinstance(a, int) or not isinstance(b, int)
        for a, b in zip(taken.shape, given.shape, strict=True)
    )


def _producers(graph: Graph) -> dict[str, Node]:
    return {name: node for node in graph.nodes for name in node.outputs if name}


def _sources(graph: Graph, name: str, kinds: set[str], names: set[str]) -> set[str]:
    """Find the inputs that a value comes from through operators of some kinds."""
    producers, found, open_names, seen = _producers(graph), set(), [name], set()
    while open_names:
        one = open_names.pop()
        if one in seen:
            continue
        seen.add(one)
        if one in names:
            found.add(one)
        elif one in producers and producers[one].kind in kinds:
            open_names += [item for item in producers[one].inputs if item]
    return found


def _connected(graph: Graph, free: _Open) -> list[Pair]:
    """Pair by recurrent operators: what they begin with, and what they end with."""
    inputs, outputs = ({port.name: port for port in ports} for ports in free)
    pairs: dict[str, str] = {}
    for node in graph.nodes:
        if node.kind not in ("LSTM", "GRU", "RNN"):
            continue
        for begin, end in ((5, 1), (6, 2)):
            if len(node.inputs) <= begin or not node.inputs[begin]:
                continue
            takes = _sources(graph, node.inputs[begin], PASSING, set(inputs))
            ends = {name for name in node.outputs[end : end + 1] if name}
            if begin == 5:
                # The last output of a step of one frame is its state too.
                ends |= {name for name in node.outputs[:1] if name}
            gives = {name for name in outputs if _sources(graph, name, PASSING, ends)}
            gives = {name for name in gives if len(takes) == 1 and fits(
                inputs[next(iter(takes))], outputs[name])}  # fmt: skip
            if len(gives) > 1:
                last = {name for name in node.outputs[end : end + 1] if name}
                gives = {name for name in gives if _sources(graph, name, PASSING, last)}
            if len(takes) == len(gives) == 1:
                pairs.setdefault(next(iter(takes)), next(iter(gives)))
    if len(set(pairs.values())) != len(pairs):
        return []
    return [Pair(taken, given, "by connection") for taken, given in pairs.items()]


def words(name: str) -> tuple[str, ...]:
    """Return a name's words without those that say in or out: "stateN" and "state" are the same."""
    name = name.split(":")[0].split("/")[-1]
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    parts = [part for part in re.split(r"[^a-z0-9]+", name) if part]
    parts = [part[:-1] if re.fullmatch(r"[hcs][nx]", part) else part for part in parts]
    return tuple(part for part in parts if part not in DIRECTIONS)


def _without_digits(name: str) -> tuple[str, ...]:
    parts = (re.sub(r"[0-9]+$", "", part) for part in words(name))
    return tuple(part for part in parts if part)


def _named(graph: Graph, free: _Open) -> list[Pair]:
    """Pair by names that are the same but for words like in and out."""
    inputs, outputs = free
    pairs: list[Pair] = []
    for key in (words, _without_digits):
        for taken in inputs:
            own = key(taken.name)
            if not own or set(own) <= SIGNALS or any(p.taken == taken.name for p in pairs):
                continue
            gone = {pair.given for pair in pairs}
            found = [
                port for port in outputs
                if key(port.name) == own and fits(taken, port) and port.name not in gone
            ]  # fmt: skip
            rivals = [port for port in inputs if key(port.name) == own and port is not taken
                      and not any(p.taken == port.name for p in pairs)]  # fmt: skip
            if len(found) == 1 and not rivals:
                pairs.append(Pair(taken.name, found[0].name, "by name"))
    return pairs


def _by_shape(graph: Graph, free: _Open) -> list[Pair]:
    """Pair what is left by equal shapes, if all sizes are known and only one pairing fits.

    The first input and the first output are the signal."""
    signal = {graph.inputs[0].name, graph.outputs[0].name}
    inputs = [port for port in free[0] if port.name not in signal and _fixed(port)]
    outputs = [port for port in free[1] if port.name not in signal]
    if not all(_fixed(port) or port.dtype != np.float32 for port in graph.inputs[:1]):
        return []
    pairs = []
    for taken in inputs:
        found = [port for port in outputs if _fixed(port) and fits(taken, port)]
        rivals = [port for port in inputs if port.shape == taken.shape]
        if len(found) == len(rivals) == 1:
            pairs.append(Pair(taken.name, found[0].name, "by shape"))
        elif found and len(found) == len(rivals):
            near = [port for port in found if _sources(graph, port.name, LOCAL, {taken.name})]
            if len(near) != 1:
                raise UnsupportedLayerError(
                    f"input '{taken.name}' may be a state, but it is not clear which output is its "
                    f"new value ({', '.join(port.name for port in found)}); say --state "
                    f"{taken.name}={found[0].name}, for each state"
                )
            pairs.append(Pair(taken.name, near[0].name, "by connection"))
    if len({pair.given for pair in pairs}) != len(pairs):
        raise UnsupportedLayerError(
            "inputs and outputs of equal shapes may be states, but it is not clear which belong "
            f"together; say --state {inputs[0].name}={outputs[0].name}, for each state"
        )
    return pairs


def _fixed(port: Port) -> bool:
    """Tell whether all sizes but a batch's are known."""
    return bool(port.shape) and all(
        isinstance(size, int) or (axis < 2 and is_batch(size))
        for axis, size in enumerate(port.shape)
    )


def is_batch(size: int | str | None) -> bool:
    """Tell whether an axis' name is one of a batch."""
    return isinstance(size, str) and size.lower() in (
        "batch", "batch_size", "batchsize", "n", "b", "bs", "unk__0", "?",
    )  # fmt: skip
