"""CUDA and TensorRT as far as benchmarks/tensorrt_engine.py calls them, on the CPU.

Memory of the GPU is memory of this process, an engine is ONNX Runtime on the ONNX bytes, and a
stream keeps what is queued until it is waited for, so that a forgotten wait shows in the outputs.
"""

from __future__ import annotations

import ctypes
import enum
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

# The stream, as CUDA numbers it.
NUMBER = 7
COPY = enum.IntEnum("COPY", ["cudaMemcpyHostToDevice", "cudaMemcpyDeviceToHost"])


class Stream:
    """Works that are queued, or recorded into a graph."""

    def __init__(self):
        self.memory, self.queue, self.recording = [], [], None

    def put(self, work):
        (self.queue if self.recording is None else self.recording).append(work)

    def allocate(self, size):
        self.memory.append((ctypes.c_ubyte * size)(*[0xFF] * size))
        return 0, ctypes.addressof(self.memory[-1])

    def set_bytes(self, address, value, size):
        ctypes.memset(address, value, size)
        return (0,)

    def copy(self, target, source, size, kind, stream):
        assert (stream, kind in COPY) == (NUMBER, True)
        self.put(lambda: ctypes.memmove(target, source, size))
        return (0,)

    def begin(self, stream, mode):
        self.recording = []
        return (0,)

    def end(self, stream):
        graph, self.recording = self.recording, None
        return 0, graph

    def launch(self, recorded, stream):
        self.queue.extend(recorded)
        return (0,)

    def wait(self, stream):
        for work in self.queue:
            work()
        self.queue.clear()
        return (0,)


def fake_runtime(stream: Stream) -> Any:
    """Make the module cuda.bindings.runtime; each call gives its error, 0, and its results."""
    return SimpleNamespace(
        cudaMemcpyKind=COPY,
        cudaStreamCaptureMode=SimpleNamespace(cudaStreamCaptureModeThreadLocal=1),
        cudaGetDeviceCount=lambda: (0, 1),
        cudaGetDeviceProperties=lambda number: (0, SimpleNamespace(name=b"a fake GPU\0\0")),
        cudaStreamCreate=lambda: (0, NUMBER),
        cudaMalloc=stream.allocate,
        cudaMallocHost=stream.allocate,
        cudaMemset=stream.set_bytes,
        cudaMemcpyAsync=stream.copy,
        cudaStreamBeginCapture=stream.begin,
        cudaStreamEndCapture=stream.end,
        cudaGraphInstantiate=lambda graph, flags: (0, tuple(graph)),
        cudaGraphLaunch=stream.launch,
        cudaStreamSynchronize=stream.wait,
    )


class Context:
    """An execution context: tensors by address."""

    def __init__(self, engine):
        self.engine, self.addresses = engine, {}

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream):
        addresses, engine = dict(self.addresses), self.engine

        def array(node):
            shape = tuple(node.shape)
            floats = ctypes.c_float * int(np.prod(shape))
            return np.ctypeslib.as_array(floats.from_address(addresses[node.name])).reshape(shape)

        def work():
            given = {node.name: array(node).copy() for node in engine.session.get_inputs()}
            nodes = engine.session.get_outputs()
            for node, values in zip(nodes, engine.session.run(None, given), strict=True):
                array(node)[...] = values

        engine.stream.put(work)
        return True


class Engine:
    """An engine, and its tensors' names, shapes and dtypes."""

    def __init__(self, stream, data):
        self.stream, self.session = stream, onnxruntime.InferenceSession(data)
        self.nodes = {n.name: n for n in (*self.session.get_inputs(), *self.session.get_outputs())}
        self.num_io_tensors = len(self.nodes)

    def get_tensor_name(self, number):
        return list(self.nodes)[number]

    def get_tensor_shape(self, name):
        return self.nodes[name].shape

    def get_tensor_dtype(self, name):
        return SimpleNamespace(itemsize=4)

    def create_execution_context(self):
        return Context(self)


class Parser:
    """A parser that leaves the ONNX bytes in the network."""

    def __init__(self, network, log):
        assert network["flags"] == 1
        self.network = network

    def parse(self, data):
        self.network["onnx"] = data
        return True


class Config:
    """A builder's settings."""

    tactics = 0b11111

    def set_memory_pool_limit(self, pool, size):
        assert size > 0

    def clear_flag(self, flag):
        assert flag == "TF32"

    def get_tactic_sources(self):
        return self.tactics

    def set_tactic_sources(self, sources):
        self.tactics = sources


class Builder:
    """A builder whose plans are ONNX bytes."""

    def __init__(self, log):
        pass

    def create_network(self, flags):
        return {"flags": flags}

    def create_builder_config(self):
        return Config()

    def build_serialized_network(self, network, config):
        assert config.tactics == 0b11000, "cuBLAS and cuDNN are used"
        return network["onnx"]


class Logger:
    """TensorRT's log."""

    WARNING = 1

    def __init__(self, level):
        pass


def fake_tensorrt(stream: Stream) -> Any:
    """Make the module tensorrt, with the flags and tactics of version 8.5."""
    return SimpleNamespace(
        __version__="8.5.3.1",
        Logger=Logger,
        Builder=Builder,
        OnnxParser=Parser,
        Runtime=lambda log: SimpleNamespace(
            deserialize_cuda_engine=lambda plan: Engine(stream, plan)
        ),
        NetworkDefinitionCreationFlag=SimpleNamespace(EXPLICIT_BATCH=0),
        MemoryPoolType=SimpleNamespace(WORKSPACE=0),
        BuilderFlag=SimpleNamespace(TF32="TF32"),
        TacticSource=SimpleNamespace(CUBLAS=0, CUBLAS_LT=1, CUDNN=2),
    )
