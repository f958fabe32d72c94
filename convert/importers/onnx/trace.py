"""Follow a graph's operators from inputs to outputs, and collect the step's instructions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from convert.errors import ConvertError, UnsupportedLayerError
from convert.importers.onnx.network import Graph, Node
from convert.importers.onnx.operators import OPERATORS
from convert.importers.onnx.rolled import STATE
from convert.importers.onnx.rows import with_rows
from convert.importers.onnx.value import Call, Frames, Known, Plan, Value
from convert.layers.layer_rule import Joined, StepRule, plain
from convert.step.step_graph import Instruction, Kind
from device_runner.errors import one_line

# What to do about operators that have no step, where that is known.
WITHOUT_STEP = {
    "Loop": (
        "its number of turns is known when it runs alone; export the network as one step that "
        "takes its states and gives the new ones, with the loop around it in the caller, or the "
        "loop over time as a Scan, LSTM, GRU or RNN"
    ),
    "Attention": (
        "it attends to the whole sequence; over a window of a fixed length it can be computed "
        "anew (--window) if it is exported as MatMul and Softmax, or use a recurrence"
    ),
}
WITHOUT_STEP["MultiHeadAttention"] = WITHOUT_STEP["Attention"]
# No value of a network for a small device is larger.
SIZE_LIMIT = 2**26


@dataclass(frozen=True)
class Carried:
    """A state of a loop: what a step reads, what it leaves for the next, what the first reads."""

    taken: Value
    given: str
    initial: NDArray[Any]


@dataclass
class Trace:
    """What is known of a graph once its operators were followed.

    Attributes:
        graph: the graph.
        steps: length of the sequences that constants with an axis of time are for.
        values: all values, by name.
        instructions: the step's computations.
        cells: kind and units of each recurrence.
        bounds: largest magnitudes that the equations of a recurrence allow, by a value's name.
        targets: by the name of its output, the new shape of each change of shape that time passes
            through, with -1 for time.
        carried: the states of a loop over time that was written out.
    """

    graph: Graph
    steps: int
    values: dict[str, Value] = field(default_factory=dict)
    instructions: list[Instruction] = field(default_factory=list)
    cells: list[tuple[str, int]] = field(default_factory=list)
    bounds: dict[str, float] = field(default_factory=dict)
    targets: dict[str, tuple[int, ...]] = field(default_factory=dict)
    carried: list[Carried] = field(default_factory=list)

    @property
    def over_time(self) -> int:
        """How many computations look back over time."""
        own = sum(bool(item.states) or bool(item.rule.states) for item in self.instructions)
        return own + len(self.carried)

    def run(self) -> None:
        """Follow all operators.

        Raises:
            UnsupportedLayerError: one has no step, or nothing gives an output.
        """
        self._constants(self.graph)
        self._nodes(self.graph)
        for port in self.graph.outputs:
            if port.name not in self.values:
                raise UnsupportedLayerError(f"nothing gives the output '{port.name[:80]}'")

    def _constants(self, graph: Graph) -> None:
        for name, array in graph.constants.items():
            self.values[name] = Value(name, array.shape, array.dtype, constant=array)

    def _nodes(self, graph: Graph) -> None:
        for node in graph.nodes:
            if node.kind == "If":
                self._branch(node)
                continue
            if node.kind == STATE:
                self._state(node)
                continue
            rule = OPERATORS.get(node.kind)
            if rule is None:
                advice = WITHOUT_STEP.get(
                    node.kind, "replace it, or give the network as a step without it"
                )
                raise UnsupportedLayerError(f"{node.described} has no step here; {advice}")
            missing = [name for name in node.inputs if name and name not in self.values]
            if missing:
                raise UnsupportedLayerError(
                    f"{node.described} reads '{missing[0][:80]}', which nothing gives; export the "
                    "network again"
                )
            values = tuple(self.values[name] if name else None for name in node.inputs)
            call = Call(node, values, self.steps, self.graph.opset)
            try:
                found = rule(call)
                if isinstance(found, Known):
                    self._know(node, found.arrays)
                elif all(value is None or value.constant is not None for value in values):
                    self._know(node, self._folded(call, found))
                else:
                    self._add(call, found)
            except (ConvertError, MemoryError):
                raise
            # A rule given what the standard does not allow, or TensorFlow with what it cannot do.
            except Exception as error:
                raise call.refusal(f"cannot be computed ({one_line(error)[:200]})") from error

    def _branch(self, node: Node) -> None:
        """Follow the branch of an If whose condition is known."""
        condition = self.values.get(node.inputs[0])
        if condition is None or condition.constant is None:
            raise UnsupportedLayerError(
                f"{node.described} decides by the network's inputs, which a step cannot; bind the "
                "input that it decides by with --bind INPUT=VALUE"
            )
        taken = "then_branch" if bool(condition.constant.ravel()[0]) else "else_branch"
        branch: Graph = node.attributes[taken]
        self._constants(branch)
        self._nodes(branch)
        for name, port in zip(node.outputs, branch.outputs, strict=True):
            if name:
                self.values[name] = replace(self.values[port.name], name=self._place(port.name))

    def _state(self, node: Node) -> None:
        """Begin a state of a loop."""
        begin = self.values.get(node.inputs[0])
        if begin is None or begin.constant is None:
            raise UnsupportedLayerError(
                f"a loop over time begins with '{node.inputs[0][:80]}', which depends on the "
                "network's inputs; begin it with zeros"
            )
        name = node.outputs[0]
        value = Value(name, begin.shape, np.dtype(np.float32))
        self.values[name] = value
        initial = np.asarray(begin.constant, np.float32)
        self.carried.append(Carried(value, node.attributes["given"], initial))

    def _place(self, name: str) -> str:
        return self.values[name].name

    def _know(self, node: Node, arrays: Sequence[NDArray[Any]]) -> None:
        # strict=False: outputs at the end may be left out.
        for name, array in zip(node.outputs, arrays, strict=False):
            if name:
                self.values[name] = Value(name, array.shape, array.dtype, constant=array)

    def _folded(self, call: Call, plan: Plan) -> list[NDArray[Any]]:
        """Compute an operator whose inputs are all known."""
        operands = tuple(
            plan.operands.get(position, None if value is None else value.constant)
            for position, value in enumerate(call.values)
        )
        # Eagerly, also where a graph is being made of the step: the results are numbers.
        with tf.init_scope():
            outputs, _ = plan.compute(operands, ())
            return [np.asarray(plain(item)) for item in outputs]

    def _add(self, call: Call, plan: Plan) -> None:
        """Add an operator to the step."""
        node = call.node
        varying = call.varying()
        fixed = {
            position: plan.operands.get(position, value.constant)
            for position, value in enumerate(call.values)
            if value is not None and value.constant is not None
        }
        positions, count = [position for position, _ in varying], len(call.values)

        def step(inputs: Any, states: Any) -> Any:
            operands: list[Any] = [fixed.get(position) for position in range(count)]
            for position, value in zip(positions, inputs, strict=True):
                operands[position] = value
            outputs, new = plan.compute(tuple(operands), states)
            return tuple(outputs), new

        ranks = tuple(len(value.shape) for _, value in varying)
        timed = [value.frames for _, value in varying if value.axis is not None]
        delay, stride = _in_time(timed, plan)
        rule = StepRule(
            with_rows(step, ranks, plan.rowwise),
            plan.states,
            takes_deferred=plan.takes_deferred,
            sums_up=plan.sums_up,
            float_only=plan.float_only,
            begins_anew=plan.begins_anew,
            delay=delay,
            stride=stride,
        )
        kind = self._kind(call)
        outputs = self._shapes(rule, varying, call)
        places = []
        for number, (shape, dtype) in enumerate(outputs):
            name = node.outputs[number] if number < len(node.outputs) else ""
            place = name or f"{node.outputs[0] or node.name}:{number}"
            places.append(place)
            sums = plan.sums_up[number] if isinstance(plan.sums_up, tuple) else plan.sums_up
            own = Kind.SUMMARY if sums else kind
            if name:
                self.values[name] = Value(
                    place, shape, dtype, plan.axes[number], kind=own, frames=plan.frames
                )
        self.instructions.append(
            Instruction(
                node.name or node.outputs[0], rule, tuple(v.name for _, v in varying), tuple(places)
            )
        )
        if plan.cell is not None:
            self.cells.append(plan.cell)
        # strict=False: what no equation bounds gives no bounds.
        for name, bound in zip(node.outputs, plan.bounds, strict=False):
            if name and bound is not None:
                self.bounds[name] = bound
        if plan.target is not None:
            self.targets[node.outputs[0]] = plan.target

    def _kind(self, call: Call) -> Kind:
        kinds = {value.kind for _, value in call.varying()}
        if {Kind.STEP, Kind.SUMMARY} <= kinds:
            raise call.refusal(
                "joins a step with the summary of the whole sequence, which is known at its end "
                "alone"
            )
        return next((k for k in (Kind.SUMMARY, Kind.STEP) if k in kinds), Kind.CONSTANT)

    def _shapes(
        self, rule: StepRule, varying: list[tuple[int, Value]], call: Call
    ) -> list[tuple[tuple[int, ...], np.dtype[Any]]]:
        """Find the shapes of a step's outputs by computing it on zeros."""
        zeros = tuple(_zeros(value.shape, value.dtype) for _, value in varying)
        states = tuple(tf.zeros((1, *state.shape)) for state in rule.states)
        outputs, _ = rule.step(zeros, states)
        found = []
        for item in outputs:
            tensor = plain(item) if isinstance(item, Joined) else item
            shape = tuple(int(n) for n in tensor.shape)
            if math.prod(shape) > SIZE_LIMIT:
                raise call.refusal(f"gives {math.prod(shape):,} values in a step")
            found.append((shape, np.dtype(tensor.dtype.as_numpy_dtype)))
        return found


def _in_time(given: Sequence[Frames], plan: Plan) -> tuple[int, int]:
    """Say how much later and less often than its inputs an operator answers, in their frames."""
    if not given or not any(axis is not None for axis in plan.axes):
        return 0, 1
    before, after = given[0], plan.frames
    return (after.delay - before.delay) // before.period, after.period // before.period


def _zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tf.Tensor:
    return tf.zeros(shape, tf.as_dtype(dtype))
