"""Rolls a float step model over real sequences and watches every tensor.

The state is carried along as in use, over streams much longer than a training sequence: an LSTM's
cell state keeps growing long after the first few hundred steps, and a range learned from short
sequences would saturate on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from calibration.errors import CalibrationError
from calibration.ranges import RangeCollector, Ranges

# Values are added to the collectors in blocks of this many steps.
BLOCK_STEPS = 256


def roll_out(
    step_model: bytes,
    streams: Sequence[np.ndarray],
    progress: Callable[[int, int], None] | None = None,
) -> Ranges:
    """Step a float32 step model through streams and collect the range of each tensor.

    Args:
        step_model: a .tflite flatbuffer with the signature ``step(x, state...) -> (y, state...)``
            in float32; states are the names on both sides and start from zero.
        streams: inputs, each [steps, inputs] float32; the state is reset between streams only.
        progress: called now and then with (steps done, steps in all).

    Raises:
        CalibrationError: there is no data, or the model computes NaN or infinity.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    total = sum(len(stream) for stream in streams)
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
    pairs = [(inputs[name]["index"], outputs[name]["index"]) for name in inputs if name in outputs]
    done = 0
    for stream in streams:
        for state_in, _ in pairs:
            interpreter.set_tensor(state_in, np.zeros_like(interpreter.get_tensor(state_in)))
        block: dict[int, list[np.ndarray]] = {index: [] for index in roles}
        for position, frame in enumerate(stream, 1):
            interpreter.set_tensor(inputs["x"]["index"], frame[np.newaxis].astype(np.float32))
            interpreter.invoke()
            for index, values in block.items():
                values.append(interpreter.get_tensor(index))
            for state_in, state_out in pairs:
                interpreter.set_tensor(state_in, interpreter.get_tensor(state_out))
            if position % BLOCK_STEPS == 0 or position == len(stream):
                for index, values in block.items():
                    collectors[index].add(np.stack(values))
                    values.clear()
                if progress:
                    progress(done + position, total)
        done += len(stream)
    names = {item["index"]: item["name"] for item in interpreter.get_tensor_details()}
    return Ranges(
        steps=total,
        longest_stream=max(len(stream) for stream in streams),
        states={
            name: (names[inputs[name]["index"]], names[outputs[name]["index"]])
            for name in inputs
            if name in outputs
        },
        tensors={names[index]: collectors[index].result(role) for index, role in roles.items()},
    )


def _roles(interpreter, inputs: dict, outputs: dict) -> dict[int, str]:
    """Index of every float tensor that the step computes or takes -> its role."""
    details = {item["index"]: item for item in interpreter.get_tensor_details()}
    computed = [int(index) for op in interpreter._get_ops_details() for index in op["outputs"]]
    roles = {index: "activation" for index in computed if details[index]["dtype"] == np.float32}
    for name, item in outputs.items():
        roles[item["index"]] = "state" if name in inputs else "output"
    for name, item in inputs.items():
        roles[item["index"]] = "state" if name in outputs else "input"
    used = [details[index]["name"] for index in roles]
    if len(set(used)) != len(used):
        raise CalibrationError("two tensors of the step model have one name; export it again")
    return roles


def long_streams(
    sequences: Sequence[np.ndarray], steps: int, seed: int, streams: int = 4
) -> list[np.ndarray]:
    """Chain real sequences, in random order and as often as needed, into a few long streams.

    Args:
        sequences: each [steps, inputs].
        steps: steps in all streams together (the last sequence of each is kept whole).
    """
    generator = np.random.default_rng(seed)
    chained = []
    for _ in range(streams):
        pieces: list[np.ndarray] = []
        length = 0
        while length < steps / streams:
            for index in generator.permutation(len(sequences)):
                pieces.append(sequences[index])
                length += len(sequences[index])
                if length >= steps / streams:
                    break
        chained.append(np.concatenate(pieces))
    return chained
