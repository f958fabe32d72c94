"""Step a float model in the interpreter, for calibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.errors import CalibrationError

#: A stream's frames [steps, *frame shape]; by name if the model has several inputs.
StreamInputs = NDArray[Any] | Mapping[str, NDArray[Any]]
#: TensorValues of tensors by tensor index, each in the tensor's shape and dtype.
TensorValues = dict[int, NDArray[Any]]


class FloatModel:
    """The signature ``step(x, state...) -> (y, state...)`` of a .tflite flatbuffer.

    Args:
        step_model: the flatbuffer; states are the names on both sides of the signature.
        initial: values that states begin with, by name, in the state's shape; others begin with
            zeros.
        periods: steps from one update to the next, by state name; others have 1. The model computes
            all states at every step; only those that are due are handed on.
        first_phase: the phase of the cycle that a stream begins with.
        keep_tensors: whether intermediate tensors can be read after a step.

    Attributes:
        inputs, outputs: the interpreter's details of the signature's tensors, by name.
        states: state name to the indices of its in and out tensors.
        beginnings: what each state begins with, by the index of its in tensor.
    """

    def __init__(
        self,
        step_model: bytes,
        initial: Mapping[str, NDArray[Any]] | None = None,
        periods: Mapping[str, int] | None = None,
        first_phase: int = 0,
        keep_tensors: bool = False,
    ) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        options: dict[str, Any] = {}
        if keep_tensors:  # a delegate would not give them
            options["experimental_preserve_all_tensors"] = True
            options["experimental_op_resolver_type"] = (
                OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            )
        self.interpreter = Interpreter(model_content=step_model, num_threads=1, **options)
        self.interpreter.allocate_tensors()
        runner = self.interpreter.get_signature_runner("step")
        self.inputs, self.outputs = runner.get_input_details(), runner.get_output_details()
        del runner  # it holds a reference that would make invoke() refuse
        self.states = {
            name: (self.inputs[name]["index"], self.outputs[name]["index"])
            for name in self.inputs
            if name in self.outputs
        }
        self._first_phase = first_phase
        self._periods = {name: (periods or {}).get(name, 1) for name in self.states}
        self.beginnings: TensorValues = {
            item["index"]: np.zeros(item["shape"], item["dtype"])
            for name, item in self.inputs.items()
            if name in self.states
        }
        for name, beginning in (initial or {}).items():
            self.beginnings[self.states[name][0]][...] = beginning

    def step(self, frame: TensorValues, states: TensorValues) -> None:
        """Compute one step from ``states``, by the index of the in tensor."""
        for index, value in (frame | states).items():
            self.interpreter.set_tensor(index, value)
        self.interpreter.invoke()

    def due(self, position: int) -> TensorValues:
        """Return the new values of the states that step ``position`` (from 0) hands on.

        They are by the index of the in tensor."""
        return {
            state_in: self.interpreter.get_tensor(state_out)
            for state_in, state_out in self.due_states(position)
        }

    def due_states(self, position: int) -> list[tuple[int, int]]:
        """List the in and out tensors of the states that step ``position`` hands on."""
        return [
            pair
            for name, pair in self.states.items()
            if (position + self._first_phase) % self._periods[name] == 0
        ]

    def frames(self, stream: StreamInputs) -> list[TensorValues]:
        """Return a stream's values step by step.

        Raises:
            CalibrationError: the stream does not fit the model's inputs.
        """
        taken = {name: item for name, item in self.inputs.items() if name not in self.states}
        if not isinstance(stream, Mapping):
            stream = dict.fromkeys(list(taken)[:1], stream)
        if set(stream) != set(taken):
            raise CalibrationError(
                f"the calibration data has {', '.join(stream)}, the model takes {', '.join(taken)};"
                " give each stream as a dict of arrays by input"
            )
        if len({len(values) for values in stream.values()}) > 1:
            raise CalibrationError(
                "the inputs of a calibration stream differ in their number of steps; "
                "give all of them the same"
            )
        found = {}
        for name, item in taken.items():
            values, shape = np.asarray(stream[name]), tuple(int(n) for n in item["shape"])
            if np.issubdtype(item["dtype"], np.integer) and values.dtype.kind not in "iu":
                raise CalibrationError(f"input '{name}' takes token ids; give integers")
            if values[0].size != np.prod(shape):
                raise CalibrationError(
                    f"calibration data of shape {values.shape} does not fit the input '{name}' "
                    f"of shape {shape}"
                )
            found[int(item["index"])] = values.reshape(-1, *shape).astype(item["dtype"])
        return [
            {index: values[position] for index, values in found.items()}
            for position in range(steps_of(stream))
        ]


def steps_of(stream: StreamInputs) -> int:
    """Count the time steps."""
    return len(next(iter(stream.values()))) if isinstance(stream, Mapping) else len(stream)
