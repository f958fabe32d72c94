"""Rolls a float step model over real sequences and watches every tensor.

The state is carried along as in use, over streams much longer than a training sequence: an LSTM's
cell state keeps growing long after the first few hundred steps, and a range learned from short
sequences would saturate on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from calibration.errors import CalibrationError
from calibration.ranges import MomentCollector, RangeCollector, Ranges

#: A stream's frames [steps, *frame shape]; of a model of several inputs, by name.
Frames = np.ndarray | Mapping[str, np.ndarray]

# Values are added to the collectors in blocks of this many steps.
BLOCK_STEPS = 256


def roll_out(
    step_model: bytes,
    streams: Sequence[Frames],
    progress: Callable[[int, int], None] | None = None,
    initial: Mapping[str, np.ndarray] | None = None,
    periods: Mapping[str, int] | None = None,
) -> Ranges:
    """Step a float32 step model through streams and collect the range of each tensor, and the
    second moments of what is multiplied with a matrix.

    Args:
        step_model: a .tflite flatbuffer with the signature ``step(x, state...) -> (y, state...)``
            in float32, but for token ids and counts; states are the names on both sides.
        streams: each [steps, inputs] float32 or [steps, 1] token ids; where there are several
            inputs a dict of such arrays by name. The state is reset between streams only.
        progress: called now and then with (steps done, steps in all).
        initial: values that states begin with, by name, in the state's shape; else zeros.
        periods: steps from one update to the next, by state name; else each step is one. The model
            computes all at every step; only what is due is handed on.

    Raises:
        CalibrationError: there is no data, it does not fit the model's inputs, or the model
            computes NaN or infinity.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    total = sum(_steps(stream) for stream in streams)
    if not total:
        raise CalibrationError("no calibration data; give at least one sequence")
    # Without delegates and with all tensors kept, so that intermediate tensors can be read.
    interpreter = Interpreter(
        model_content=step_model,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner("step")
    inputs, outputs = runner.get_input_details(), runner.get_output_details()
    del runner  # holds a reference that would make invoke() refuse
    roles = _roles(interpreter, inputs, outputs)
    collectors = {index: RangeCollector() for index in roles}
    moments = {
        int(op["inputs"][0]): MomentCollector()
        for op in interpreter._get_ops_details()
        if op["op_name"] == "FULLY_CONNECTED" and int(op["inputs"][0]) in roles
    }
    pairs = [
        (inputs[name]["index"], outputs[name]["index"], (periods or {}).get(name, 1))
        for name in inputs
        if name in outputs
    ]
    beginnings = {
        inputs[name]["index"]: np.zeros(inputs[name]["shape"], inputs[name]["dtype"])
        for name in inputs
        if name in outputs
    }
    for name, beginning in (initial or {}).items():
        beginnings[inputs[name]["index"]][...] = beginning
    taken = {name: item for name, item in inputs.items() if name not in outputs}
    done = 0
    for stream in streams:
        for state_in, value in beginnings.items():
            interpreter.set_tensor(state_in, value)
        block: dict[int, list[np.ndarray]] = {index: [] for index in roles}
        frames = _by_tensor(stream, taken)
        length = _steps(stream)
        for position in range(1, length + 1):
            for index, sequence in frames.items():
                interpreter.set_tensor(index, sequence[position - 1])
            interpreter.invoke()
            for index, values in block.items():
                values.append(interpreter.get_tensor(index))
            for state_in, state_out, period in pairs:
                if (position - 1) % period == 0:
                    interpreter.set_tensor(state_in, interpreter.get_tensor(state_out))
            if position % BLOCK_STEPS == 0 or position == length:
                for index, values in block.items():
                    stacked = np.stack(values)
                    collectors[index].add(stacked)
                    if index in moments:
                        moments[index].add(stacked)
                    values.clear()
                if progress:
                    progress(done + position, total)
        done += length
    names = {item["index"]: item["name"] for item in interpreter.get_tensor_details()}
    return Ranges(
        steps=total,
        longest_stream=max(_steps(stream) for stream in streams),
        states={
            name: (names[inputs[name]["index"]], names[outputs[name]["index"]])
            for name in inputs
            if name in outputs and inputs[name]["index"] in roles
        },
        tensors={names[index]: collectors[index].result(role) for index, role in roles.items()},
        moments={names[index]: moment.result() for index, moment in moments.items()},
    )


def _steps(stream: Frames) -> int:
    return len(next(iter(stream.values()))) if isinstance(stream, Mapping) else len(stream)


def _by_tensor(stream: Frames, inputs: dict[str, dict]) -> dict[int, np.ndarray]:
    """A stream's values by tensor index, each [steps, *tensor's shape] in the tensor's dtype."""
    if not isinstance(stream, Mapping):
        stream = dict.fromkeys(list(inputs)[:1], stream)
    if set(stream) != set(inputs):
        raise CalibrationError(
            f"the calibration data has {', '.join(stream)}, the model takes {', '.join(inputs)}; "
            "give each stream as a dict of arrays by input"
        )
    lengths = {len(values) for values in stream.values()}
    if len(lengths) > 1:
        raise CalibrationError("a calibration stream's inputs have not equally many steps")
    found = {}
    for name, item in inputs.items():
        values, shape = np.asarray(stream[name]), tuple(int(n) for n in item["shape"])
        if np.issubdtype(item["dtype"], np.integer) and values.dtype.kind not in "iu":
            raise CalibrationError(f"input '{name}' takes token ids; give integers")
        if values[0].size != np.prod(shape):
            raise CalibrationError(
                f"calibration data of shape {values.shape} does not fit the input '{name}' "
                f"of shape {shape}"
            )
        found[int(item["index"])] = values.reshape(-1, *shape).astype(item["dtype"])
    return found


def _roles(interpreter, inputs: dict, outputs: dict) -> dict[int, str]:
    """Index of every float tensor that the step computes or takes -> its role."""
    details = {item["index"]: item for item in interpreter.get_tensor_details()}
    computed = [int(index) for op in interpreter._get_ops_details() for index in op["outputs"]]
    roles = {index: "activation" for index in computed if details[index]["dtype"] == np.float32}
    for name, item in outputs.items():
        roles[item["index"]] = "state" if name in inputs else "output"
    for name, item in inputs.items():
        roles[item["index"]] = "state" if name in outputs else "input"
    # Token ids and counts have no range.
    roles = {index: role for index, role in roles.items() if details[index]["dtype"] == np.float32}
    used = [details[index]["name"] for index in roles]
    if len(set(used)) != len(used):
        raise CalibrationError("two tensors of the step model have one name; export it again")
    return roles


def long_streams(sequences: Sequence[Frames], steps: int, seed: int, streams: int = 4) -> list[Any]:
    """Chain real sequences, in random order and as often as needed, into a few long streams.

    Args:
        sequences: each [steps, inputs], or a dict of such arrays by input.
        steps: steps in all streams together (the last sequence of each is kept whole).
    """
    generator = np.random.default_rng(seed)
    chained = []
    for _ in range(streams):
        pieces: list[Frames] = []
        length = 0
        while length < steps / streams:
            for index in generator.permutation(len(sequences)):
                pieces.append(sequences[index])
                length += _steps(sequences[index])
                if length >= steps / streams:
                    break
        chained.append(_chained(pieces))
    return chained


def _chained(pieces: Sequence[Frames]) -> Frames:
    first = pieces[0]
    if isinstance(first, Mapping):
        return {
            name: np.concatenate([cast(Any, piece)[name] for piece in pieces]) for name in first
        }
    return np.concatenate(cast(Any, pieces))
