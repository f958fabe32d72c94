"""The backend for LiteRT's GPU accelerator: ``CompiledModel`` on WebGPU.

WebGPU works on Vulkan, Metal or Direct3D.

The states stay on the device. Every state has two device buffers that take turns as input and
output, so that handing the state on moves no bytes. Only inputs and outputs cross the bus.

A quantized graph is computed in float on the GPU, and LiteRT then gives host memory instead of
device buffers; the placement says so. ``invoke`` includes the wait for the step's end and the
transfer of the outputs. A graph that only partly fits the GPU is refused, as the rest would
silently run on the CPU.
"""

from __future__ import annotations

import base64
import math
import re
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np

from device_runner.backends.backend import (
    Backend,
    LoadOptions,
    Placement,
    distribution_version,
)
from device_runner.backends.host_step import frame_places
from device_runner.backends.native_output import STDERR, STDOUT, captured
from device_runner.errors import BadModelError, MissingRuntimeError, one_line
from device_runner.model.names import STEP_SIGNATURE
from device_runner.model.step_file import StepModel
from device_runner.model.tensor_spec import TensorSpec

NAME = "litert-gpu"

# LiteRT's number for a tensor buffer that lies in host memory.
HOST_MEMORY = 1
# A model of one operator, y = tanh(x) with x [1, 4] float32. Whether there is a GPU shows only when
# a model is put onto it.
_PROBE_MODEL = base64.b64decode(
    "GAAAAFRGTDMAAA4AFAAQAAwACAAAAAQADgAAABAAAAAcAAAA2AAAAAMAAAABAAAACAAAAAQABAAEAAAAAQAAABAA"
    "AAAMABQAEAAMAAgABAAMAAAAEAAAADwAAABAAAAARAAAAAEAAAAQAAAAAAAKAAwAAAAIAAQACgAAAAgAAAAMAAAA"
    "AQAAAAEAAAABAAAAAAAAAAEAAAABAAAAAQAAAAAAAAACAAAANAAAAAQAAADg////CAAAAAwAAAABAAAAeQAAAAIA"
    "AAABAAAABAAAAAwADAAIAAAAAAAEAAwAAAAIAAAADAAAAAEAAAB4AAAAAgAAAAEAAAAEAAAAAQAAABAAAAAMAAwA"
    "CwAAAAAABAAMAAAAHAAAAAAAABw="
)
# LiteRT tells these things only in its log.
_ADAPTER = re.compile(r"Selected adapter: (?P<name>[^,\n]+).*?adapterType=(?P<kind>[^,\n]+)")
_NO_DEVICE = re.compile(
    r"(Couldn't load Vulkan: \S+|vkCreateInstance failed\S* .*|No adapters found)"
)
_PARTLY = re.compile(r"\d+ operations will run on the GPU.*")


def load(model: StepModel, options: LoadOptions) -> LiteRtGpuBackend:
    """Put a step model onto the GPU."""
    model.require_no_window(NAME)
    version = _version()
    compiled, log = _compile(model.flatbuffer)
    if compiled is None:
        _check_device(version, log)
        partly = _PARTLY.search(log)
        raise BadModelError(
            f"{model.path}: the GPU does not take the whole graph "
            f"({_tail(partly.group() if partly else log)}); 'edgestep check --target gpu' names "
            "the operator; export it as float32 if it is not, or use another backend"
        )
    if not compiled.is_fully_accelerated():
        raise BadModelError(
            f"{model.path}: a part of the graph would run on the CPU; "
            "export it as float32, or use another backend"
        )
    return LiteRtGpuBackend(version, _adapter(log), compiled, model)


def probe() -> str:
    """Return LiteRT's version, and the GPU that it found."""
    version = _version()
    return f"{version} on {_check_device(version)}"


class LiteRtGpuBackend(Backend):
    """A step model on the GPU.

    Args:
        adapter: name of the GPU.
        state_on_device: False if LiteRT holds the states in host memory and copies them at every
            step.
    """

    wants_accelerator = True

    def __init__(self, version: str, adapter: str, compiled: Any, model: StepModel) -> None:
        super().__init__(NAME, version)
        self.adapter = adapter
        self._compiled = compiled
        self._operators = tuple(operator.name for operator in model.graph.operators)
        contract = model.contract
        self._specs = {state.name: state for state in contract.states}
        signature = compiled.get_signature_list()[STEP_SIGNATURE]
        index = compiled.get_signature_index(STEP_SIGNATURE)
        with captured(STDOUT, STDERR):
            inputs = {
                name: compiled.create_input_buffer_by_name(STEP_SIGNATURE, name)
                for name in signature["inputs"]
            }
            outputs = {
                name: compiled.create_output_buffer_by_name(STEP_SIGNATURE, name)
                for name in signature["outputs"]
            }
            self.state_on_device = not any(
                HOST_MEMORY in _buffer_types(compiled, position, index)
                for position, name in enumerate(signature["inputs"])
                if name in self._specs
            )
            specs = {**{spec.name: spec for spec in contract.inputs}, **self._specs}
            for name, buffer in inputs.items():
                buffer.write(np.zeros(specs[name].shape, specs[name].dtype))
        where = "" if self.state_on_device else ", states copied through host memory"
        self._place = f"{adapter}{where}"
        self.version = f"{version} on {self._place}"
        states = [{name: buffers[name] for name in self._specs} for buffers in (inputs, outputs)]
        # The step is bound twice: in the second one every state's buffers have changed sides.
        self._runs = [
            (
                index,
                [{**inputs, **old}[name] for name in signature["inputs"]],
                [{**outputs, **new}[name] for name in signature["outputs"]],
            )
            for old, new in (states, states[::-1])
        ]
        self._states = states
        self._turn = 0
        self._results = [(outputs[spec.name].read, *_layout(spec)) for spec in contract.outputs]
        self._y = bytes(sum(spec.byte_count for spec in contract.outputs))
        places = frame_places([spec.byte_count for spec in contract.inputs])
        self._targets = [
            (inputs[spec.name].write, spec.dtype, place)
            for spec, place in zip(contract.inputs, places, strict=True)
        ]
        # LiteRT crashes if a buffer outlives its model, which the garbage collector may cause.
        weakref.finalize(self, _release, [*inputs.values(), *outputs.values()], compiled)

    def put(self, frame: Any) -> None:
        frame = memoryview(frame)
        for write, dtype, place in self._targets:
            write(np.frombuffer(frame[place], dtype))

    def invoke(self) -> None:
        try:
            self._compiled.run_by_index(*self._runs[self._turn])
            # run_by_index only starts the step; LiteRT offers no other way to wait for its end
            # than to read a result.
            self._y = b"".join([read(size, dtype).tobytes() for read, size, dtype in self._results])
        except RuntimeError as error:
            raise MissingRuntimeError(
                f"the GPU failed in a step ({one_line(error)}); "
                "check it with 'edgestep doctor' and start again"
            ) from error

    def advance(self) -> None:
        self._turn ^= 1

    def get(self) -> bytes:
        return self._y

    def read_state(self) -> dict[str, bytes]:
        return {
            name: buffer.read(*_layout(self._specs[name])).tobytes()
            for name, buffer in self._states[self._turn].items()
        }

    def write_state(self, state: Mapping[str, bytes]) -> None:
        for name, buffer in self._states[self._turn].items():
            buffer.write(np.frombuffer(state[name], self._specs[name].dtype))

    def placement(self) -> Placement:
        """Report all operators on the GPU: a graph that does not fit is refused."""
        return Placement(f"GPU: {self._place}", self._operators, ())


def _release(buffers: list[Any], compiled: Any) -> None:
    with captured(STDOUT, STDERR):
        for buffer in buffers:
            buffer.destroy()
        compiled.close()
        compiled.environment.close()


def _buffer_types(compiled: Any, position: int, signature: int) -> list[int]:
    requirements = compiled.get_input_buffer_requirements(position, signature)
    types: list[int] = requirements["supported_types"]
    return types


def _layout(spec: TensorSpec) -> tuple[int, np.dtype[Any]]:
    return math.prod(spec.shape), np.dtype(spec.dtype)


def _version() -> str:
    _compiled_model()
    return distribution_version("ai-edge-litert")


def _compiled_model() -> Any:
    try:
        from ai_edge_litert import compiled_model

        # Older versions have no options, and compute in float16 if the GPU can.
        _ = compiled_model.Options, compiled_model.GpuOptions
    except (ImportError, AttributeError) as error:
        raise MissingRuntimeError(
            f"LiteRT's GPU accelerator is not usable ({one_line(error)}); "
            "install it with 'pip install \"ai-edge-litert>=2.3\"'"
        ) from error
    return compiled_model


def _compile(flatbuffer: bytes) -> tuple[Any, str]:
    """Put a model onto the GPU; return it, or None if that fails, and LiteRT's log."""
    litert = _compiled_model()
    # Only the GPU is named: what it does not take would otherwise silently run on the CPU.
    options = litert.Options(
        hardware_accelerators=litert.HardwareAccelerator.GPU,
        gpu_options=litert.GpuOptions(enforce_f32=True),
    )
    with captured(STDOUT, STDERR) as log:
        try:
            compiled = litert.CompiledModel.from_buffer(flatbuffer, options=options)
        except RuntimeError as error:
            return None, f"{log()}\n{error}"
        return compiled, log()


def _check_device(version: str, earlier: str = "") -> str:
    """Return the GPU's name; MissingRuntimeError if LiteRT can use none.

    Args:
        earlier: the log of an earlier attempt, as some reasons are logged once per process.
    """
    compiled, log = _compile(_PROBE_MODEL)
    if compiled is None or not compiled.is_fully_accelerated():
        found = _NO_DEVICE.search(earlier + log)
        raise MissingRuntimeError(
            f"LiteRT {version} finds no GPU ({_tail(found.group() if found else log)}); "
            "install the GPU's Vulkan driver and the Vulkan loader (Debian: libvulkan1), "
            "see docs/gpu.md"
        )
    return _adapter(log)


def _adapter(log: str) -> str:
    found = _ADAPTER.search(log)
    return f"{found['name']} ({found['kind']})" if found else "an adapter that LiteRT does not name"


def _tail(text: str) -> str:
    """Return the end of a text, without line breaks."""
    return " ".join(text.split())[-300:]
