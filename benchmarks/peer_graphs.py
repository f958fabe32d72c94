"""The network of ``peer_steps.py`` in ONNX, PyTorch and plain C, with the same weights."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from peer_steps import Given


def onnx_step(given: Given, scheme: str) -> str:
    """Write one step as ONNX: x and the states to y and the new states; return its path.

    Float uses the operator LSTM or GRU. For int8, ONNX Runtime's own dynamic quantization is used:
    it knows LSTM; a GRU is written out as products.
    """
    import onnx

    path = given.folder / f"step-{scheme}.onnx"
    if path.exists():
        return str(path)
    written = _written_out(given) if scheme == "int8" and not given.is_lstm else _as_operator(given)
    onnx.save(written, path)
    if scheme == "int8":
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(path, path, weight_type=QuantType.QInt8)
    return str(path)


def _as_operator(given: Given) -> Any:
    from onnx import helper

    order, states = ("iofc", ["h", "c"]) if given.is_lstm else ("zrh", ["h"])
    recurrent_bias = given.recurrent_bias
    if recurrent_bias is None:
        recurrent_bias = np.zeros_like(given.bias)
    constants = {
        "W": np.concatenate([gate.T for gate in given.gates(given.kernel, order)])[np.newaxis],
        "R": np.concatenate([gate.T for gate in given.gates(given.recurrent, order)])[np.newaxis],
        "B": np.concatenate([*given.gates(given.bias, order), *given.gates(recurrent_bias, order)])[
            np.newaxis
        ],
        "head": given.head,
        "head_bias": given.head_bias,
        "front": np.array([0], np.int64),
    }
    nodes = [
        helper.make_node("Unsqueeze", [name, "front"], [f"{name}_3"]) for name in ["x", *states]
    ]
    options: dict[str, Any] = {"hidden_size": given.units}
    if not given.is_lstm:
        options["linear_before_reset"] = 1
    outputs = ["", *(f"{name}_new" for name in states)]
    inputs = ["x_3", "W", "R", "B", "", *(f"{name}_3" for name in states)]
    nodes.append(helper.make_node("LSTM" if given.is_lstm else "GRU", inputs, outputs, **options))
    nodes += [
        helper.make_node("Squeeze", [f"{name}_new", "front"], [f"{name}_out"]) for name in states
    ]
    nodes.append(helper.make_node("Gemm", ["h_out", "head", "head_bias"], ["y"]))
    return _model(given, nodes, constants, states)


def _written_out(given: Given) -> Any:
    """Write a GRU as two products and its gates."""
    from onnx import helper

    constants = {
        "kernel": given.kernel,
        "recurrent": given.recurrent,
        "bias": given.bias,
        "recurrent_bias": given.recurrent_bias,
        "head": given.head,
        "head_bias": given.head_bias,
    }
    make = helper.make_node
    three: dict[str, Any] = {"axis": 1, "num_outputs": 3}
    nodes = [
        make("MatMul", ["x", "kernel"], ["xw"]),
        make("Add", ["xw", "bias"], ["xb"]),
        make("MatMul", ["h", "recurrent"], ["hw"]),
        make("Add", ["hw", "recurrent_bias"], ["hb"]),
        make("Split", ["xb"], ["xz", "xr", "xh"], **three),
        make("Split", ["hb"], ["hz", "hr", "hh"], **three),
        make("Add", ["xz", "hz"], ["sz"]),
        make("Add", ["xr", "hr"], ["sr"]),
        make("Sigmoid", ["sz"], ["z"]),
        make("Sigmoid", ["sr"], ["r"]),
        make("Mul", ["r", "hh"], ["rh"]),
        make("Add", ["xh", "rh"], ["sh"]),
        make("Tanh", ["sh"], ["candidate"]),
        make("Sub", ["h", "candidate"], ["away"]),
        make("Mul", ["z", "away"], ["kept"]),
        make("Add", ["candidate", "kept"], ["h_out"]),
        make("MatMul", ["h_out", "head"], ["yw"]),
        make("Add", ["yw", "head_bias"], ["y"]),
    ]
    return _model(given, nodes, constants, ["h"])


def _model(given: Given, nodes: list[Any], constants: dict[str, Any], states: list[str]) -> Any:
    from onnx import TensorProto, checker, helper, numpy_helper

    def value(name: str, width: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, width])

    graph = helper.make_graph(
        nodes,
        "step",
        [value("x", given.inputs), *(value(name, given.units) for name in states)],
        [value("y", given.outputs), *(value(f"{name}_out", given.units) for name in states)],
        [numpy_helper.from_array(np.ascontiguousarray(a), name) for name, a in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    return model


def torch_module(given: Given) -> Any:
    """Make a module of PyTorch's own cell and a linear layer: (x, *states) -> (y, *states)."""
    import torch

    order = "ifco" if given.is_lstm else "rzh"

    class OneStep(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            kind = torch.nn.LSTMCell if given.is_lstm else torch.nn.GRUCell
            self.cell = kind(given.inputs, given.units)
            self.head = torch.nn.Linear(given.units, given.outputs)

        def forward(self, x: Any, *states: Any) -> Any:
            if given.is_lstm:
                h, c = self.cell(x, states)
                return self.head(h), h, c
            h = self.cell(x, states[0])
            return self.head(h), h

    module = OneStep().eval()

    def joined(matrix: Any) -> Any:
        gates = np.concatenate([gate.T for gate in given.gates(matrix, order)])
        return torch.from_numpy(np.ascontiguousarray(gates))

    recurrent_bias = given.recurrent_bias
    if recurrent_bias is None:
        recurrent_bias = np.zeros_like(given.bias)
    values = {
        "cell.weight_ih": joined(given.kernel),
        "cell.weight_hh": joined(given.recurrent),
        "cell.bias_ih": joined(given.bias),
        "cell.bias_hh": joined(recurrent_bias),
        "head.weight": torch.from_numpy(np.ascontiguousarray(given.head.T)),
        "head.bias": torch.from_numpy(given.head_bias),
    }
    module.load_state_dict(values)
    return module


_C = """
#include <math.h>
static float h[UNITS], c[UNITS], gx[GATES * UNITS], gh[GATES * UNITS];
const float *W, *R, *B, *RB, *V, *VB;
static float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
void step(const float *restrict x, float *restrict y) {
  for (int j = 0; j < GATES * UNITS; j++) gx[j] = B[j], gh[j] = RB[j];
  for (int i = 0; i < INPUTS; i++)
    for (int j = 0; j < GATES * UNITS; j++) gx[j] += x[i] * W[i * GATES * UNITS + j];
  for (int i = 0; i < UNITS; i++)
    for (int j = 0; j < GATES * UNITS; j++) gh[j] += h[i] * R[i * GATES * UNITS + j];
  for (int u = 0; u < UNITS; u++) {
#if GATES == 4
    c[u] = sigmoid(gx[UNITS + u] + gh[UNITS + u]) * c[u] +
           sigmoid(gx[u] + gh[u]) * tanhf(gx[2 * UNITS + u] + gh[2 * UNITS + u]);
    h[u] = sigmoid(gx[3 * UNITS + u] + gh[3 * UNITS + u]) * tanhf(c[u]);
#else
    const float z = sigmoid(gx[u] + gh[u]), r = sigmoid(gx[UNITS + u] + gh[UNITS + u]);
    const float candidate = tanhf(gx[2 * UNITS + u] + r * gh[2 * UNITS + u]);
    h[u] = candidate + z * (h[u] - candidate);
#endif
  }
  for (int o = 0; o < OUTPUTS; o++) y[o] = VB[o];
  for (int u = 0; u < UNITS; u++)
    for (int o = 0; o < OUTPUTS; o++) y[o] += h[u] * V[u * OUTPUTS + o];
}
"""


def compile_c_loop(given: Given) -> tuple[Any, object]:
    """Compile the loops for these sizes; return the function (x, y), and what must stay alive."""
    folder = Path(tempfile.mkdtemp(prefix="edgestep-"))
    source, library = folder / "step.c", folder / "step.so"
    source.write_text(_C)
    sizes = {
        "UNITS": given.units,
        "INPUTS": given.inputs,
        "OUTPUTS": given.outputs,
        "GATES": 4 if given.is_lstm else 3,
    }
    macros = [f"-D{name}={value}" for name, value in sizes.items()]
    subprocess.run(
        ["cc", "-O3", "-march=native", "-shared", "-fPIC", *macros, source, "-lm", "-o", library],
        check=True,
    )
    loaded = ctypes.CDLL(str(library))
    recurrent_bias = given.recurrent_bias
    if recurrent_bias is None:
        recurrent_bias = np.zeros_like(given.bias)
    arrays = {
        "W": given.kernel, "R": given.recurrent, "B": given.bias, "RB": recurrent_bias,
        "V": given.head, "VB": given.head_bias,
    }  # fmt: skip
    kept = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
    for name, array in kept.items():
        ctypes.c_void_p.in_dll(loaded, name).value = array.ctypes.data
    return loaded.step, (loaded, kept)
