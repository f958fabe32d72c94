"""int8: weights, activations, inputs, outputs and states in 8 bits, after training.

The ranges come from our own roll-outs; the quantizer (litert-quantizer) only applies them. What
is special about a recurrent graph is decided here:

- a state's in and out tensors get one and the same scale, and zero point 0. Where the equations
  bound a state (|h| <= 1), the bound is its range; else the largest value of the roll-out with a
  margin, because a state that saturates once stays wrong for many steps;
- the product of a gate with such a state (f * c in an LSTM) gets the state's range: calibrated
  on its own it would saturate before the state does;
- weights are quantized per tensor: one scale a matrix. Per channel, the scales and zero points
  (12 bytes a channel, for weights and bias each) take up a quarter of a small model's file, and on
  the tasks here they buy no accuracy;
- operator versions are set to the ones that define int8. The quantizer leaves the float graph's,
  and a runtime that is too old would accept the file and compute nonsense.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import flatbuffers
import numpy as np

from calibration.ranges import Ranges
from convert.errors import ContractViolationError
from convert.schemes.scheme import Scheme, ToleranceShare
from device_runner.flatbuffer import Graph, read_graph

STATE_MARGIN = 1.1
# The range [-m, m * 127/128] gives the scale m / 128 and the zero point 0.
INT8_TOP = 127 / 128
# Version of each operator's definition that first has int8 (TFLite's op_version.cc).
INT8_OPERATOR_VERSIONS = {
    "ADD": 2,
    "FULLY_CONNECTED": 4,
    "LOGISTIC": 2,
    "MUL": 2,
    "RSQRT": 2,
    "SPLIT": 2,
    "SUB": 2,
    "SUM": 2,
    "TANH": 2,
}


def apply(flatbuffer: bytes, ranges: Ranges | None, bounds: dict[str, float]) -> bytes:
    """Quantize the float step graph with calibrated ranges.

    Raises:
        ContractViolationError: the graph has an operator that is not known in int8.
    """
    if ranges is None:
        raise ContractViolationError("int8 needs calibrated ranges; calibrate first")
    graph = read_graph(flatbuffer)
    for operator in graph.operators:
        if operator.name not in INT8_OPERATOR_VERSIONS:
            raise ContractViolationError(
                f"the step graph contains {operator.name}, which is not known in int8; "
                "add its int8 version to convert/schemes/int8.py after checking its numerics"
            )
    limits = tensor_limits(graph, ranges, bounds)
    calibration = {
        name: {"min": np.full((1, 1), low, np.float32), "max": np.full((1, 1), high, np.float32)}
        for name, (low, high) in limits.items()
    }
    return _set_operator_versions(_quantize(flatbuffer, calibration))


def tensor_limits(
    graph: Graph, ranges: Ranges, bounds: dict[str, float]
) -> dict[str, tuple[float, float]]:
    """The real range that int8 covers for every activation, by tensor name."""
    limits = {
        name: (min(item.minimum, 0.0), max(item.maximum, 0.0))
        for name, item in ranges.tensors.items()
    }
    unbounded: dict[str, tuple[float, float]] = {}
    for state, names in ranges.states.items():
        magnitude = bounds.get(state) or STATE_MARGIN * ranges.state_magnitude(state)
        for name in names:
            limits[name] = (-magnitude, magnitude * INT8_TOP)
            if state not in bounds:
                unbounded[name] = limits[name]
    gates = {index for op in graph.operators if op.name == "LOGISTIC" for index in op.outputs}
    for op in graph.operators:
        if op.name == "MUL" and gates & set(op.inputs):
            for index in op.inputs:
                if (name := graph.tensors[index].name) in unbounded:
                    limits[graph.tensors[op.outputs[0]].name] = unbounded[name]
    return limits


def _quantize(flatbuffer: bytes, calibration: dict[str, dict[str, np.ndarray]]) -> bytes:
    from litert_quantizer import qtyping, quantizer

    worker = quantizer.Quantizer(bytearray(flatbuffer))
    worker.add_static_config(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        activation_num_bits=8,
        weight_num_bits=8,
        weight_granularity=qtyping.QuantGranularity.TENSORWISE,
    )
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = worker.quantize(calibration, enable_progress_report=False)
    if result.quantized_model is None:
        raise ContractViolationError("the quantizer returned no model")
    return bytes(result.quantized_model)


def _set_operator_versions(flatbuffer: bytes) -> bytes:
    from ai_edge_litert import schema_py_generated as schema

    from device_runner.flatbuffer import OPERATOR_NAMES

    model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(flatbuffer, 0))
    for code in model.operatorCodes:
        name = OPERATOR_NAMES[code.builtinCode]
        code.version = max(code.version, INT8_OPERATOR_VERSIONS.get(name, 1))
    builder = flatbuffers.Builder(len(flatbuffer))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


SCHEME = Scheme(
    name="int8",
    apply=apply,
    needs_ranges=True,
    all_dtypes=frozenset({"int8", "int32"}),
    tolerance=ToleranceShare(rms=0.03, max_abs=0.2, argmax_agreement=0.9),
    limit=ToleranceShare(rms=0.2, max_abs=1.0, argmax_agreement=0.5),
)
