"""Find loops over time that an exporter wrote out step by step, and make one step of them again.

A network that steps its cells by hand (``for t in range(x.shape[1])``) is exported with all its
steps in a row. They read the frames of a sequence one by one, and each reads what the one before it
left. If the steps are alike, one of them is kept: what it reads of the one before it are states.

Four kinds of nodes stand for what surrounds it: FRAME gives one frame of a sequence, STATE what the
step before left, FRAMES the sequence of a value of each step, and LAST a value of the last step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.importers.onnx.known_branches import with_known_branches
from convert.importers.onnx.network import Graph, Node

FRAME, STATE, FRAMES, LAST = "FrameOfTime", "StateOfTime", "FramesOfTime", "LastOfTime"
# With fewer steps it cannot be told whether they are alike.
LEAST_STEPS = 5
# What is linear in what it reads, or moves it. As the last thing that a step does for the next one
# it becomes the first thing of that, so that the state is what it reads, which is no larger.
LINEAR = {
    "Add", "Cast", "Conv", "Gemm", "Identity", "LayerNormalization", "MatMul", "Reshape", "Slice",
    "Split", "Squeeze", "Sub", "Transpose", "Unsqueeze",
}  # fmt: skip
# The step that is kept; those before it may lack what is known of the zeros that states begin with.
KEPT = 2


class _NoLoopError(Exception):
    """The steps are not alike."""


@dataclass(frozen=True)
class _Pick:
    """A frame that is read from a sequence."""

    sequence: str
    axis: int
    squeezed: bool
    step: int


def rolled(graph: Graph) -> Graph:
    """Return a graph with one step of each loop over time; the graph itself if there is none."""
    values = _known(graph)
    picks = _picks(graph, values)

    def is_one_frame(name: str, axis: int) -> bool:
        return name in picks and not picks[name].squeezed and picks[name].axis == axis

    graph = with_known_branches(graph, values, is_one_frame)
    values = _known(graph)
    picks = _picks(graph, values)
    lengths: dict[tuple[str, int], set[int]] = {}
    for pick in picks.values():
        lengths.setdefault((pick.sequence, pick.axis), set()).add(pick.step)
    counts = {place: len(steps) for place, steps in lengths.items()
              if steps == set(range(len(steps)))}  # fmt: skip
    for steps in sorted(set(counts.values()), reverse=True):
        if steps < LEAST_STEPS:
            break
        own = {name: pick for name, pick in picks.items()
               if counts.get((pick.sequence, pick.axis)) == steps}  # fmt: skip
        try:
            return _Loop(graph, values, own, steps).one_step()
        except _NoLoopError:
            continue
    return graph


def _picks(graph: Graph, values: dict[str, NDArray[Any]]) -> dict[str, _Pick]:
    """Find all frames that are read from a sequence, by name."""
    picks: dict[str, _Pick] = {}
    for node in graph.nodes:
        picks |= dict(_picked(node, values))
    return picks


def _known(graph: Graph) -> dict[str, NDArray[Any]]:
    values = dict(graph.constants)
    return values | {
        node.outputs[0]: np.asarray(node.attributes["value"])
        for node in graph.nodes
        if node.kind == "Constant" and "value" in node.attributes
    }


def _picked(node: Node, values: dict[str, NDArray[Any]]) -> Iterator[tuple[str, _Pick]]:
    """List the frames that a node reads from a sequence, by the names of its outputs."""
    axis = int(node.attributes.get("axis", 0))
    if node.kind == "Split" and len(node.outputs) >= LEAST_STEPS:
        sizes = values.get(node.inputs[1]) if len(node.inputs) > 1 else None
        if sizes is None or (sizes == 1).all():
            for step, name in enumerate(node.outputs):
                yield name, _Pick(node.inputs[0], axis, False, step)
        return
    given = [values.get(name) for name in node.inputs[1:]]
    if node.kind not in ("Gather", "Slice") or any(one is None or one.size != 1 for one in given):
        return
    numbers = [int(one.ravel()[0]) for one in given if one is not None]
    if node.kind == "Gather" and numbers[0] >= 0:
        squeezed = given[0] is not None and given[0].ndim == 0
        yield node.outputs[0], _Pick(node.inputs[0], axis, squeezed, numbers[0])
    elif len(numbers) in (3, 4) and numbers[0] >= 0 and numbers[1] == numbers[0] + 1:
        yield node.outputs[0], _Pick(node.inputs[0], numbers[2], False, numbers[0])


@dataclass
class _Loop:
    """The steps of a loop: the nodes of each, in the graph's order."""

    graph: Graph
    values: dict[str, NDArray[Any]]
    picks: dict[str, _Pick]
    steps: int
    depth: dict[str, int] = field(default_factory=dict)
    place: dict[str, tuple[int, int]] = field(default_factory=dict)
    bodies: list[list[Node]] = field(default_factory=list)
    joins: list[Node] = field(default_factory=list)
    ids: dict[Any, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.makers = {name: node for node in self.graph.nodes for name in node.outputs if name}
        self.bodies = [[] for _ in range(self.steps)]
        self.depth = {name: pick.step for name, pick in self.picks.items()}
        inner = []
        for node in self.graph.nodes:
            if node.outputs[0] in self.picks:
                continue
            found = [self.depth.get(name) for name in node.inputs]
            known = [step for step in found if step is not None]
            if not known:
                continue
            if node.kind == "Concat" and found == list(range(self.steps)):
                self.joins.append(node)
                continue
            inner.append(node)
            self.depth |= dict.fromkeys(node.outputs, max(known))
        self._put_off(inner)
        for node in inner:
            body = self.bodies[self.depth[node.outputs[0]]]
            self.place |= {name: (len(body), number) for number, name in enumerate(node.outputs)}
            body.append(node)

    def _put_off(self, inner: list[Node]) -> None:
        """Put what is linear, and read by the next step alone, into the next step."""
        readers: dict[str, list[Node]] = {}
        for node in self.graph.nodes:
            for name in node.inputs:
                readers.setdefault(name, []).append(node)
        outputs = {port.name for port in self.graph.outputs}
        for node in reversed(inner):
            step = self.depth[node.outputs[0]]
            varying = [name for name in node.inputs if name in self.depth]
            # A join, which has no step itself, is never in the next one.
            found = [self.depth.get(reader.outputs[0], step)
                     for name in node.outputs for reader in readers.get(name, ())]  # fmt: skip
            if (
                node.kind in LINEAR and len(varying) == 1 and varying[0] not in self.picks
                and found and set(found) == {step + 1} and not outputs & set(node.outputs)
            ):  # fmt: skip
                self.depth |= dict.fromkeys(node.outputs, step + 1)

    def one_step(self) -> Graph:
        """Return the graph with the step KEPT alone.

        Raises:
            _NoLoopError: the steps differ.
        """
        last = self.steps - 1
        keys = [self._key(node, KEPT, self.place) for node in self.bodies[KEPT]]
        for step in range(KEPT + 1, last):
            if [self._key(node, step, self.place) for node in self.bodies[step]] != keys:
                raise _NoLoopError
        behind = self._behind(dict(zip(keys, range(len(keys)), strict=True)))
        begins = self._begins(keys)
        self._check_behind(behind)
        return replace(self.graph, nodes=tuple(self._nodes(behind, begins)))

    def _id(self, key: Any) -> int:
        return self.ids.setdefault(key, len(self.ids))

    def _outer(self, name: str) -> int:
        """Number a value that no step gives; equal computations have equal numbers."""
        if name in self.values:
            array = self.values[name]
            return self._id((str(array.dtype), array.shape, array.tobytes()))
        node = self.makers.get(name)
        if node is None:
            return self._id(name)
        inputs = tuple(self._outer(one) if one else -1 for one in node.inputs)
        attributes = _frozen(node.attributes)
        return self._id((node.kind, attributes, inputs, list(node.outputs).index(name)))

    def _key(self, node: Node, step: int, place: dict[str, tuple[int, int]]) -> int:
        """Number what a node computes in a step, from the places of what it reads."""
        inputs: list[Any] = []
        for name in node.inputs:
            if name in self.picks:
                pick = self.picks[name]
                if pick.step != step:
                    raise _NoLoopError
                inputs.append((self._id(pick.sequence), pick.axis, pick.squeezed))
            elif name in self.depth:
                back = step - self.depth[name]
                if back > 1 or name not in place:
                    raise _NoLoopError
                inputs.append(("back" if back else "own", *place[name]))
            else:
                inputs.append(self._outer(name) if name else -1)
        return self._id((node.kind, _frozen(node.attributes), tuple(inputs), len(node.outputs)))

    def _behind(self, positions: dict[int, int]) -> set[str]:
        """Find the nodes of the last step that are behind the loop, by their first outputs."""
        last = self.steps - 1
        place = {name: at for name, at in self.place.items() if self.depth[name] < last}
        behind: set[str] = set()
        for node in self.bodies[last]:
            try:
                position = positions.get(self._key(node, last, place))
            except _NoLoopError:
                position = None
            if position is None:
                behind.add(node.outputs[0])
                continue
            for number, name in enumerate(node.outputs):
                place[name] = (position, number)
        self.place |= place
        return behind

    def _check_behind(self, behind: set[str]) -> None:
        """Raise _NoLoopError if what is behind the loop reads another step than the last."""
        for node in self.bodies[self.steps - 1]:
            if node.outputs[0] in behind and any(
                self.depth.get(name, self.steps - 1) < self.steps - 1 for name in node.inputs
            ):
                raise _NoLoopError
        for port in self.graph.outputs:
            if self.depth.get(port.name, self.steps - 1) < self.steps - 1:
                raise _NoLoopError

    def _begins(self, keys: list[int]) -> dict[str, str]:
        """Find what each state begins with, by the name that the kept step reads it by."""
        begins: dict[str, str] = {}
        seen: set[tuple[str, str]] = set()

        def compare(node: Node, first: Node | None) -> None:
            if first is None or first.kind != node.kind or (
                node.outputs[0], first.outputs[0]) in seen:  # fmt: skip
                return
            seen.add((node.outputs[0], first.outputs[0]))
            for own, other in zip(node.inputs, first.inputs, strict=False):
                if own in self.picks or own not in self.depth:
                    continue
                if self.depth[own] == KEPT - 1:
                    if other in self.depth:
                        raise _NoLoopError
                    begins.setdefault(own, other)
                else:
                    compare(self.makers[own], self.makers.get(other))

        read: set[str] = set()
        for node, second in zip(self.bodies[KEPT], self.bodies[1], strict=False):
            for own, other in zip(node.inputs, second.inputs, strict=False):
                if self.depth.get(own) == KEPT - 1 and own not in self.picks:
                    read.add(own)
                    position, _ = self.place[own]
                    compare(self.bodies[KEPT][position], self.makers.get(other))
        if not read or read - set(begins) or len(keys) != len(self.bodies[1]):
            raise _NoLoopError
        return begins

    def _nodes(self, behind: set[str], begins: dict[str, str]) -> Iterator[Node]:
        """List the nodes of the graph with one step of the loop."""
        last = self.steps - 1
        kept = self.bodies[KEPT]
        begun: set[str] = set()
        for node in self.graph.nodes:
            name = node.outputs[0]
            if name in self.picks:
                yield from self._frames(node)
            elif node in self.joins:
                axis = {"axis": int(node.attributes.get("axis", 0))}
                yield Node(FRAMES, node.name, (node.inputs[KEPT],), node.outputs, axis)
            elif self.depth.get(name) == KEPT:
                for state in node.inputs:
                    if state in begins and state not in begun:
                        begun.add(state)
                        position, number = self.place[state]
                        given = {"given": kept[position].outputs[number]}
                        yield Node(STATE, state, (begins[state],), (state,), given)
                yield node
            elif self.depth.get(name) == last and name not in behind:
                for one in node.outputs:
                    position, number = self.place[one]
                    if one and self._is_read(one, behind):
                        yield Node(LAST, one, (kept[position].outputs[number],), (one,), {})
            elif name not in self.depth or name in behind:
                yield node

    def _frames(self, node: Node) -> Iterator[Node]:
        """Read the frame of the kept step, and the last one if something behind the loop does."""
        for name in node.outputs:
            pick = self.picks[name]
            settings = {"axis": pick.axis, "squeezed": pick.squeezed}
            if pick.step == KEPT:
                yield Node(FRAME, name, (pick.sequence,), (name,), settings)

    def _is_read(self, name: str, behind: set[str]) -> bool:
        if any(port.name == name for port in self.graph.outputs):
            return True
        readers = [node for node in self.graph.nodes if name in node.inputs]
        return any(node.outputs[0] in behind for node in readers)


def _frozen(value: Any) -> Any:
    """Return attributes as something that can be compared and hashed."""
    if isinstance(value, dict):
        return tuple(sorted((name, _frozen(one)) for name, one in value.items()))
    if isinstance(value, list | tuple):
        return tuple(_frozen(one) for one in value)
    if isinstance(value, np.ndarray):
        return (str(value.dtype), value.shape, value.tobytes())
    return value if isinstance(value, str | int | float) else repr(value)
