"""One way of stepping a recurrent network from Python, in a process of its own, for ``peers.py``.

``python benchmarks/peer_steps.py NAME`` answers lines of standard input. A folder: it builds the
step NAME from what is there, writes the outputs of all frames to FOLDER/NAME.npy, and answers
"ready". A number: it steps so many frames, and answers the nanoseconds of one. In the folder are
our step models, ``frames.npy`` [steps, inputs], ``weights.npz``: kernel [inputs, gates * units],
recurrent [units, gates * units], bias and, of a GRU, recurrent bias; head [units, outputs] and its
bias. The gates are in the order of Keras.

Every step takes a float32 array [inputs] and gives one [outputs], and keeps its state.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Step = Callable[[Array], Array]


class Given:
    """What is in the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        weights = np.load(folder / "weights.npz")
        self.kernel, self.recurrent, self.bias = (
            weights[name] for name in ("kernel", "recurrent", "bias")
        )
        self.head, self.head_bias = weights["head"], weights["head_bias"]
        self.recurrent_bias = weights.get("recurrent_bias")
        self.is_lstm = self.recurrent_bias is None
        self.inputs, self.outputs = len(self.kernel), len(self.head_bias)
        self.units = len(self.recurrent)

    def gates(self, matrix: Array, order: str) -> list[Array]:
        """Cut a matrix or bias into its gates, in another order than Keras'."""
        keras = "ifco" if self.is_lstm else "zrh"
        blocks = np.split(matrix, len(keras), axis=-1)
        return [blocks[keras.index(gate)] for gate in order]

    def states(self) -> list[Array]:
        """Return zeros for each state, [1, units]."""
        return [np.zeros((1, self.units), np.float32) for _ in range(2 if self.is_lstm else 1)]


def native(given: Given, scheme: str) -> Step:
    return _stream(given, scheme, "native")


def litert(given: Given, scheme: str) -> Step:
    return _stream(given, scheme, "litert")


def _stream(given: Given, scheme: str, backend: str) -> Step:
    from device_runner.stream import Stream

    step: Any = Stream(given.folder / f"{scheme}.tflite", backend).step
    return cast(Step, step)


def onnxruntime_run(given: Given, scheme: str) -> Step:
    session, names = _session(given, scheme)
    states = given.states()
    run, outputs = session.run, ["y", *(f"{name}_out" for name in names)]

    def step(x: Array) -> Array:
        y, *new = run(outputs, {"x": x[np.newaxis], **dict(zip(names, states, strict=True))})
        states[:] = new
        answer: Array = y[0]
        return answer

    return step


def onnxruntime_binding(given: Given, scheme: str) -> Step:
    """Inputs and outputs are bound once; two bindings take turns, so that no state is copied."""
    session, names = _session(given, scheme)
    x = np.zeros((1, given.inputs), np.float32)
    y = np.zeros((1, given.outputs), np.float32)
    states = [[np.zeros((1, given.units), np.float32) for _ in names] for _ in range(2)]
    bindings = []
    for turn in range(2):
        binding = session.io_binding()
        bind = {"x": x, **dict(zip(names, states[turn], strict=True))}
        for name, array in bind.items():
            binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        result = {"y": y, **{f"{n}_out": s for n, s in zip(names, states[1 - turn], strict=True)}}
        for name, array in result.items():
            binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        bindings.append(binding)
    first, second = bindings
    run, row = session.run_with_iobinding, x[0]

    def step(frame: Array) -> Array:
        nonlocal first, second
        row[:] = frame
        run(first)
        first, second = second, first
        answer: Array = y[0].copy()
        return answer

    step.kept = states  # type: ignore[attr-defined]
    return step


def _session(given: Given, scheme: str) -> tuple[Any, list[str]]:
    import onnxruntime
    from peer_graphs import onnx_step

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    path = onnx_step(given, scheme)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session, ["h", "c"][: len(given.states())]


def openvino_infer(given: Given, scheme: str) -> Step:
    import openvino
    from peer_graphs import onnx_step

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    # A thread that is bound to one processor waits while another program has it.
    settings["ENABLE_CPU_PINNING"] = False
    # Its own choice for float32 is a shorter type on processors that have one.
    settings["INFERENCE_PRECISION_HINT"] = "f32"
    compiled = core.compile_model(str(onnx_step(given, scheme)), "CPU", settings)
    request, states = compiled.create_infer_request(), given.states()
    names = ["x", "h", "c"][: 1 + len(states)]

    def step(x: Array) -> Array:
        found = request.infer(dict(zip(names, (x[np.newaxis], *states), strict=True)))
        y, *states[:] = (found[number] for number in range(1 + len(states)))
        answer: Array = y[0].copy()
        return answer

    return step


def torch_eager(given: Given, scheme: str) -> Step:
    return _torch_step(given, lambda module, example: module)


def torch_script(given: Given, scheme: str) -> Step:
    import torch

    def scripted(module: Any, example: Any) -> Any:
        traced = torch.jit.trace(module, example)
        return torch.jit.optimize_for_inference(torch.jit.freeze(traced.eval()))

    return _torch_step(given, scripted)


def torch_compile(given: Given, scheme: str) -> Step:
    import torch

    return _torch_step(given, lambda module, example: torch.compile(module, dynamic=False))


def torch_int8(given: Given, scheme: str) -> Step:
    """Weights of 8 bits, values quantized as they come: what PyTorch has for these cells."""
    import torch

    torch.backends.quantized.engine = "x86" if "x86" in _engines() else "qnnpack"
    kinds = {torch.nn.LSTMCell, torch.nn.GRUCell, torch.nn.Linear}
    return _torch_step(
        given, lambda module, _: torch.ao.quantization.quantize_dynamic(module, kinds)
    )


def _engines() -> list[str]:
    import torch

    return list(torch.backends.quantized.supported_engines)


def _torch_step(given: Given, prepare: Callable[[Any, Any], Any]) -> Step:
    import torch
    from peer_graphs import torch_module

    torch.set_num_threads(1)
    states = [torch.from_numpy(state) for state in given.states()]
    from_numpy = torch.from_numpy
    with torch.inference_mode():
        example = (torch.zeros(1, given.inputs), *states)
        module = prepare(torch_module(given), example)
        module(*example)

    @torch.inference_mode()
    def step(x: Array) -> Array:
        y, *states[:] = module(from_numpy(x)[None], *states)
        answer: Array = y.numpy()[0]
        return answer

    return cast(Step, step)


def executorch_xnnpack(given: Given, scheme: str) -> Step:
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.runtime import Runtime
    from peer_graphs import torch_module

    torch.set_num_threads(1)
    states = [torch.from_numpy(state) for state in given.states()]
    example = (torch.zeros(1, given.inputs), *states)
    exported = torch.export.export(torch_module(given), example)
    lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    program = Runtime.get().load_program(lowered.to_executorch().buffer)
    method, from_numpy = program.load_method("forward"), torch.from_numpy

    def step(x: Array) -> Array:
        y, *new = method.execute([from_numpy(x)[None], *states])
        # They lie in the program's memory, which the next step writes to.
        states[:] = [state.clone() for state in new]
        answer: Array = y[0].numpy().copy()
        return answer

    step.kept = program  # type: ignore[attr-defined]
    return step


def c_loop(given: Given, scheme: str) -> Step:
    """Loops over the weights in C with libm's functions, compiled for this machine, by ctypes."""
    import ctypes

    from peer_graphs import compile_c_loop

    function, kept = compile_c_loop(given)
    x, y = np.zeros(given.inputs, np.float32), np.zeros(given.outputs, np.float32)
    call = (ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data))

    def step(frame: Array) -> Array:
        x[:] = frame
        function(*call)
        return y.copy()

    step.kept = kept  # type: ignore[attr-defined]
    return step


#: Each way, and the scheme that it steps.
PEERS: dict[str, tuple[Callable[[Given, str], Step], str]] = {
    "native": (native, "float32"),
    "native int8": (native, "int8"),
    "litert": (litert, "float32"),
    "litert int8": (litert, "int8"),
    "onnxruntime": (onnxruntime_run, "float32"),
    "onnxruntime bound": (onnxruntime_binding, "float32"),
    "onnxruntime int8": (onnxruntime_binding, "int8"),
    "openvino": (openvino_infer, "float32"),
    "torch": (torch_eager, "float32"),
    "torch script": (torch_script, "float32"),
    "torch compile": (torch_compile, "float32"),
    "torch int8": (torch_int8, "int8"),
    "executorch": (executorch_xnnpack, "float32"),
    "C loop": (c_loop, "float32"),
}


def main() -> None:
    build, scheme = PEERS[sys.argv[1]]
    # Whatever a library prints goes elsewhere; answers go where standard output was.
    answers, sys.stdout = sys.stdout, sys.stderr
    clock = time.perf_counter_ns
    frames: list[Array] = []
    step: Step = np.copy
    for line in sys.stdin:
        command = line.rstrip("\n")
        if not command.isdigit():
            folder = Path(command)
            frames = list(np.load(folder / "frames.npy"))
            step = build(Given(folder), scheme)
            np.save(folder / f"{sys.argv[1]}.npy", np.array([step(frame) for frame in frames]))
            print("ready", file=answers, flush=True)
            continue
        batch = (frames * (int(command) // len(frames) + 1))[: int(command)]
        start = clock()
        for frame in batch:
            step(frame)
        print((clock() - start) / len(batch), file=answers, flush=True)


if __name__ == "__main__":
    main()
