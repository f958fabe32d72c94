"""A step model as an engine of TensorRT, with its states on the GPU: a backend for the benchmarks.

It takes what TensorRT 8.5 (JetPack 5) and later offer, and calls CUDA through NVIDIA's own
bindings. TensorRT's own kernels alone are used, as is its later versions' default, unless cuBLAS is
asked for.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from convert.exporters.onnx import to_onnx
from device_runner.backends.backend import Backend
from device_runner.backends.onnxruntime import state_output_name
from device_runner.errors import BadModelError, MissingRuntimeError
from device_runner.model.step_file import StepModel
from device_runner.stream import Stream

NAME = "tensorrt"
WORKSPACE_BYTES = 1 << 30
INSTALL = "pip install tensorrt cuda-bindings"
# Tactics of other libraries, which TensorRT 8 tries too.
_OF_CUBLAS, _OF_OTHERS = ("CUBLAS", "CUBLAS_LT"), ("CUDNN",)


class Cuda:
    """The few calls of CUDA's runtime that a step needs; each raises what CUDA reports.

    Raises:
        MissingRuntimeError: the bindings or a GPU are missing, or a call failed.
    """

    def __init__(self) -> None:
        try:
            from cuda.bindings import runtime
        except ImportError as error:
            raise MissingRuntimeError(
                f"CUDA's bindings are missing ({error}); {INSTALL}"
            ) from error
        self._runtime = runtime
        try:
            (count,) = self._call("cudaGetDeviceCount")
        except (MissingRuntimeError, RuntimeError) as error:
            raise MissingRuntimeError(f"there is no NVIDIA GPU to be seen ({error})") from error
        if not count:
            raise MissingRuntimeError("there is no NVIDIA GPU; run this on a machine that has one")
        (self._stream,) = self._call("cudaStreamCreate")
        #: The stream's address, as TensorRT takes it.
        self.stream = int(self._stream)
        (properties,) = self._call("cudaGetDeviceProperties", 0)
        #: Name of the GPU.
        self.device = bytes(properties.name).split(b"\0")[0].decode()

    def _call(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        error, *values = getattr(self._runtime, name)(*arguments)
        if int(error):
            raise MissingRuntimeError(f"{name}: {error!r}")
        return tuple(values)

    def device_buffer(self, size: int) -> int:
        """Give the address of so many bytes of zeros on the GPU."""
        (address,) = self._call("cudaMalloc", size)
        self._call("cudaMemset", address, 0, size)
        return int(address)

    def host_buffer(self, size: int) -> memoryview:
        """Give so many bytes that the GPU copies from and to without a detour."""
        (address,) = self._call("cudaMallocHost", size)
        return memoryview((ctypes.c_ubyte * size).from_address(int(address))).cast("B")

    def to_device(self, target: int, source: memoryview) -> None:
        """Queue a copy of bytes that stay where they are until it is done."""
        self._copy(target, _address(source), source.nbytes, "cudaMemcpyHostToDevice")

    def to_host(self, target: memoryview, source: int) -> None:
        """Queue a copy of as many bytes as the target has."""
        self._copy(_address(target), source, target.nbytes, "cudaMemcpyDeviceToHost")

    def _copy(self, target: int, source: int, size: int, kind: str) -> None:
        way = getattr(self._runtime.cudaMemcpyKind, kind)
        self._call("cudaMemcpyAsync", target, source, size, way, self._stream)

    def begin_recording(self) -> None:
        """Take what is queued from now on down instead of doing it."""
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", self._stream, mode)

    def end_recording(self) -> Any:
        """Return what was queued, as a graph for :meth:`replay`."""
        (graph,) = self._call("cudaStreamEndCapture", self._stream)
        (recorded,) = self._call("cudaGraphInstantiate", graph, 0)
        return recorded

    def replay(self, recorded: Any) -> None:
        """Queue a graph."""
        self._call("cudaGraphLaunch", recorded, self._stream)

    def wait(self) -> None:
        """Wait until all that was queued is done."""
        self._call("cudaStreamSynchronize", self._stream)


def _address(view: memoryview) -> int:
    return ctypes.addressof(ctypes.c_ubyte.from_buffer(view))


class TensorRtBackend(Backend):
    """A step in TensorRT: every state has two buffers on the GPU, which take turns.

    Inputs and outputs lie in pinned memory of the host; ``invoke`` copies them both ways and waits.

    Args:
        graph: whether the copies and the engine's kernels are recorded as a CUDA graph, one for
            each turn, and replayed in one call; otherwise each is queued at each step.
        engine: from :func:`build_engine`; several backends may step it.

    Raises:
        BadModelError: the model has a window.
        MissingRuntimeError: TensorRT or CUDA failed in the first step.
    """

    wants_accelerator = True

    def __init__(self, model: StepModel, cuda: Cuda, engine: Any, graph: bool) -> None:
        tensorrt = import_tensorrt()
        super().__init__(NAME, f"{tensorrt.__version__} on {cuda.device}")
        model.require_no_window(NAME)
        self._cuda = cuda
        self._context = engine.create_execution_context()
        contract = model.contract
        self._specs = contract.states
        self._inputs = [cuda.host_buffer(spec.byte_count) for spec in contract.inputs]
        self._outputs = [cuda.host_buffer(spec.byte_count) for spec in contract.outputs]
        self._on_device = {
            spec.name: self._bound(spec.name, spec.byte_count)
            for spec in (*contract.inputs, *contract.outputs)
        }
        self._to_device = [
            (self._on_device[spec.name], view)
            for spec, view in zip(contract.inputs, self._inputs, strict=True)
        ]
        self._to_host = [
            (view, self._on_device[spec.name])
            for spec, view in zip(contract.outputs, self._outputs, strict=True)
        ]
        self._states = {
            state.name: [cuda.device_buffer(state.byte_count) for _ in range(2)]
            for state in contract.states
        }
        self._turn = 0
        self._graphs: list[Any] = []
        self.write_state(contract.initial_state())
        # TensorRT puts off some of its work to the first step, which must not be recorded.
        self._queue()
        cuda.wait()
        if graph:
            self._graphs = [self._recorded(turn) for turn in range(2)]
            self._turn = 0

    def _bound(self, name: str, size: int) -> int:
        address = self._cuda.device_buffer(size)
        self._context.set_tensor_address(name, address)
        return address

    def _recorded(self, turn: int) -> Any:
        self._turn = turn
        self._cuda.begin_recording()
        self._queue()
        return self._cuda.end_recording()

    def _queue(self) -> None:
        """Queue a step: the inputs' way to the GPU, the engine, the outputs' way back."""
        for address, view in self._to_device:
            self._cuda.to_device(address, view)
        for name, buffers in self._states.items():
            self._context.set_tensor_address(name, buffers[self._turn])
            self._context.set_tensor_address(state_output_name(name), buffers[1 - self._turn])
        if not self._context.execute_async_v3(self._cuda.stream):
            raise MissingRuntimeError("TensorRT failed in a step; its log says why")
        for view, address in self._to_host:
            self._cuda.to_host(view, address)

    def put(self, frame: Any) -> None:
        frame = memoryview(frame)
        start = 0
        for view in self._inputs:
            view[:] = frame[start : start + view.nbytes]
            start += view.nbytes

    def invoke(self) -> None:
        if self._graphs:
            self._cuda.replay(self._graphs[self._turn])
        else:
            self._queue()
        self._cuda.wait()

    def advance(self) -> None:
        self._turn ^= 1

    def get(self) -> bytes:
        return b"".join(self._outputs)

    def read_state(self) -> dict[str, bytes]:
        found = {}
        for spec in self._specs:
            view = memoryview(bytearray(spec.byte_count))
            self._cuda.to_host(view, self._states[spec.name][self._turn])
            self._cuda.wait()
            found[spec.name] = view.tobytes()
        return found

    def write_state(self, state: Mapping[str, bytes]) -> None:
        for name, buffers in self._states.items():
            stored = memoryview(bytearray(state[name]))  # kept until the copy is done
            self._cuda.to_device(buffers[self._turn], stored)
            self._cuda.wait()


class TensorRtStream(Stream):
    """A stream on a backend that is already there."""

    def __init__(self, model: StepModel, backend: TensorRtBackend) -> None:
        self.model, self.load_ns = model, 0
        self._own(backend)


def build_engine(model: StepModel, cublas: bool = False) -> Any:
    """Build a step model's engine, in float32 without TF32.

    Args:
        cublas: whether kernels of cuBLAS, which must be installed, are tried as well.

    Raises:
        BadModelError: TensorRT does not take the model, or cannot build an engine.
        NotExportableError: it has no ONNX form.
        MissingRuntimeError: TensorRT is missing, or does not start on this GPU.
    """
    tensorrt = import_tensorrt()
    log = tensorrt.Logger(tensorrt.Logger.WARNING)
    try:
        builder = tensorrt.Builder(log)
    except TypeError as error:  # what its binding makes of "no builder"
        raise MissingRuntimeError("TensorRT does not start here; its log says why") from error
    # Without a meaning since TensorRT 10, where every network has its batch among its axes.
    explicit = getattr(tensorrt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    network = builder.create_network(0 if explicit is None else 1 << int(explicit))
    parser = tensorrt.OnnxParser(network, log)
    if not parser.parse(to_onnx(model)):
        reasons = "; ".join(parser.get_error(n).desc() for n in range(parser.num_errors))
        raise BadModelError(f"{model.path}: TensorRT does not take the step ({reasons})")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    config.clear_flag(tensorrt.BuilderFlag.TF32)
    names = _OF_OTHERS if cublas else (*_OF_CUBLAS, *_OF_OTHERS)
    others = [getattr(tensorrt.TacticSource, name, None) for name in names]
    mask = sum(1 << int(source) for source in others if source is not None)
    config.set_tactic_sources(config.get_tactic_sources() & ~mask)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BadModelError(f"{model.path}: TensorRT could not build an engine; its log says why")
    runtime = tensorrt.Runtime(log)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise BadModelError(f"{model.path}: TensorRT could not load its own engine")
    _kept.append((log, runtime, engine))
    _check_tensors(engine, model)
    return engine


# An engine must not outlive what made it, nor a context its engine. Not all of them keep the other.
_kept: list[Any] = []


def _check_tensors(engine: Any, model: StepModel) -> None:
    """Hold the engine's tensors against the contract: name, shape and bytes of an element."""
    contract = model.contract
    wanted = {spec.name: spec for spec in (*contract.inputs, *contract.outputs)}
    for state in contract.states:
        wanted[state.name] = wanted[state_output_name(state.name)] = state
    names = {engine.get_tensor_name(number) for number in range(engine.num_io_tensors)}
    if names != set(wanted):
        raise BadModelError(f"{model.path}: the engine's tensors are {', '.join(sorted(names))}")
    for name, spec in wanted.items():
        shape = tuple(engine.get_tensor_shape(name))
        size = engine.get_tensor_dtype(name).itemsize * math.prod(shape)
        if (shape, size) != (spec.shape, spec.byte_count):
            kind = str(engine.get_tensor_dtype(name))
            raise BadModelError(
                f"{model.path}: in the engine '{name}' is {kind} {shape}, "
                f"in the model {np.dtype(spec.dtype)} {spec.shape}"
            )


def import_tensorrt() -> Any:
    """Import TensorRT; MissingRuntimeError if it is not there."""
    try:
        import tensorrt
    except ImportError as error:
        raise MissingRuntimeError(f"TensorRT is missing ({error}); {INSTALL}") from error
    return tensorrt
