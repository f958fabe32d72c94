"""The least that a step takes on LiteRT: bytes written, the graph invoked, the state handed on.

It shares no code with the runner's loop, so that the runner can be held against it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import click
from ai_edge_litert.interpreter import Interpreter

from device_runner.model.flatbuffer import read_graph


def bare_loop(flatbuffer: bytes, key: str) -> Callable[[bytes], bytes]:
    """A step of the first subgraph, whose signature is ``key``: bytes in, bytes out."""
    interpreter = Interpreter(model_content=flatbuffer, num_threads=1)
    interpreter.allocate_tensors()
    signature = read_graph(flatbuffer).signature(key)
    if signature.subgraph:
        raise click.ClickException(f"the converter did not put '{key}' first")

    def view(index: int) -> memoryview:
        array = interpreter.tensor(index)()
        address, size = array.__array_interface__["data"][0], array.nbytes
        del array
        return memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B")

    x, y = view(signature.inputs["x"]), view(signature.outputs["y"])
    states = [
        (view(index), view(signature.outputs[name]))
        for name, index in signature.inputs.items()
        if name != "x"
    ]
    for state_in, _ in states:
        state_in[:] = bytes(len(state_in))
    invoke = interpreter._interpreter.Invoke  # without the public one's search for live views
    whole = slice(None)

    def step(frame: bytes) -> bytes:
        x[whole] = frame
        invoke()
        for state_in, state_out in states:
            state_in[whole] = state_out
        return y.tobytes()

    return step
