"""litert-quantizer put to use: our ranges in, a flatbuffer with right operator versions out.

The quantizer keeps the float graph's operator versions. A runtime that is too old for a quantized
operator would accept such a file and compute nonsense, so the versions are set here to those that
define what the file contains (TFLite's op_version.cc).
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from convert.errors import ContractViolationError
from convert.schemes.spec import SchemeSpec
from convert.tflite_editor import read_tree, write_tree
from device_runner.model.constants import read_constant
from device_runner.model.flatbuffer import Graph, read_graph
from device_runner.model.tflite_schema import OPERATOR_NAMES

# The first version of each operator with 8-bit or 16-bit integer tensors. An operator that is not
# here is refused: enter it here after its numerics were checked on every runtime.
INTEGER_VERSIONS = {
    8: {
        "ADD": 2,
        "CONCATENATION": 2,
        "FULLY_CONNECTED": 4,
        "GATHER": 2,
        "LOGISTIC": 2,
        "MAXIMUM": 2,
        "MUL": 2,
        "RELU": 2,
        "RESHAPE": 1,
        "RSQRT": 2,
        "SOFTMAX": 2,
        "SPLIT": 2,
        "STRIDED_SLICE": 2,
        "SUB": 2,
        "SUM": 2,
        "TANH": 2,
        "TRANSPOSE": 2,
    },
    16: {
        "ADD": 3,
        "CONCATENATION": 3,
        "FULLY_CONNECTED": 7,
        "GATHER": 4,
        "LOGISTIC": 3,
        "MAXIMUM": 4,
        "MUL": 4,
        "RELU": 3,
        "RESHAPE": 1,
        "SOFTMAX": 3,
        "SPLIT": 4,
        "STRIDED_SLICE": 4,
        "SUB": 5,
        "TANH": 3,
        "TRANSPOSE": 5,
    },
}
# FULLY_CONNECTED with float activations and int8 weights, one scale per matrix or per channel.
HYBRID_PER_TENSOR_VERSION = 9
HYBRID_PER_CHANNEL_VERSION = 12
# DEQUANTIZE of float16.
DEQUANTIZE_FLOAT16_VERSION = 3


def quantize_integers(
    flatbuffer: bytes, limits: dict[str, tuple[float, float]], bits: int, spec: SchemeSpec
) -> bytes:
    """All activations to ``bits``-bit integers, weights to int8.

    Args:
        limits: real range of every activation, by tensor name.

    Raises:
        ContractViolationError: an operator of the graph is not known in these integers.
    """
    versions = INTEGER_VERSIONS[bits]
    graph = read_graph(flatbuffer)
    for operator in graph.operators:
        if operator.name not in versions:
            # The converter joins the names of what it makes one operator of.
            name = graph.tensors[operator.outputs[0]].name.split(";")[0][:80]
            raise ContractViolationError(
                f"the step graph contains {operator.name} ('{name}'), which is not known in {bits}-"
                "bit integers; use the scheme dynamic or float32, or an activation of relu, "
                "leaky_relu, silu, tanh, sigmoid, hard_sigmoid"
            )
    calibration = {
        name: {"min": np.full((1, 1), low, np.float32), "max": np.full((1, 1), high, np.float32)}
        for name, (low, high) in {**limits, **_gathered(graph, flatbuffer)}.items()
    }

    def configure(worker: Any, qtyping: Any) -> None:
        worker.add_static_config(
            regex=".*",
            operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
            activation_num_bits=bits,
            weight_num_bits=8,
            weight_granularity=_granularity(qtyping, spec),
        )

    return _set_versions(_quantize(flatbuffer, configure, calibration), versions)


def _gathered(graph: Graph, flatbuffer: bytes) -> dict[str, tuple[float, float]]:
    """Range of what GATHER takes from a constant table, by tensor name: the table's own, as it has
    one scale with what is taken from it, whichever rows the calibration data has seen."""
    limits = {}
    for operator in graph.operators:
        if (
            operator.name == "GATHER"
            and (table := graph.tensors[operator.inputs[0]]).constant_bytes
        ):
            values = read_constant(flatbuffer, table)
            low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
            limits[graph.tensors[operator.outputs[0]].name] = low, high
    return limits


def quantize_weights(flatbuffer: bytes, spec: SchemeSpec) -> bytes:
    """Matrices to int8, activations and states left in float32 (dynamic range quantization)."""

    def configure(worker: Any, qtyping: Any) -> None:
        worker.add_dynamic_config(
            regex=".*",
            operation_name=qtyping.TFLOperationName.FULLY_CONNECTED,
            num_bits=8,
            granularity=_granularity(qtyping, spec),
        )

    version = HYBRID_PER_CHANNEL_VERSION if spec.per_channel else HYBRID_PER_TENSOR_VERSION
    return _set_versions(_quantize(flatbuffer, configure), {"FULLY_CONNECTED": version})


def cast_weights(flatbuffer: bytes) -> bytes:
    """Matrices to float16, everything else left in float32."""

    def configure(worker: Any, qtyping: Any) -> None:
        from litert_quantizer import algorithm_manager

        worker.add_weight_only_config(
            regex=".*",
            operation_name=qtyping.TFLOperationName.FULLY_CONNECTED,
            num_bits=16,
            granularity=qtyping.QuantGranularity.TENSORWISE,
            algorithm_key=algorithm_manager.AlgorithmName.FLOAT_CASTING,
        )

    cast = _quantize(flatbuffer, configure)
    return _set_versions(cast, {"DEQUANTIZE": DEQUANTIZE_FLOAT16_VERSION})


def _granularity(qtyping: Any, spec: SchemeSpec) -> Any:
    kind = qtyping.QuantGranularity
    return kind.CHANNELWISE if spec.per_channel else kind.TENSORWISE


def _quantize(
    flatbuffer: bytes,
    configure: Callable[[Any, Any], None],
    calibration: dict[str, dict[str, np.ndarray]] | None = None,
) -> bytes:
    from litert_quantizer import qtyping, quantizer

    worker = quantizer.Quantizer(bytearray(flatbuffer))
    configure(worker, qtyping)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = worker.quantize(calibration, enable_progress_report=False)
        except (ValueError, RuntimeError) as error:
            raise ContractViolationError(
                f"the quantizer does not take the step graph ({' '.join(str(error).split())[:200]})"
                "; use the scheme dynamic or float32"
            ) from error
    if result.quantized_model is None:
        raise ContractViolationError("the quantizer returned no model")
    return bytes(result.quantized_model)


def _set_versions(flatbuffer: bytes, versions: dict[str, int]) -> bytes:
    model = read_tree(flatbuffer)
    _drop_idle_requantizations(model)
    for code in model.operatorCodes:
        name = OPERATOR_NAMES[code.builtinCode]
        code.version = max(code.version, versions.get(name, 1))
    # Of a model above a megabyte the quantizer puts the weights behind the flatbuffer; packed
    # again, they must be taken in.
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(flatbuffer, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return write_tree(model)


def _drop_idle_requantizations(model: Any) -> None:
    """Remove each QUANTIZE that leaves dtype, scale and zero point as they are, and the operator
    codes that nothing uses then: the quantizer puts one behind a GATHER from a constant table, and
    in front of a CONCATENATION."""
    graph = model.subgraphs[0]
    outputs = set(graph.outputs)
    replaced: dict[int, int] = {}
    kept = []
    for operator in graph.operators:
        operator.inputs = np.array(
            [replaced.get(int(i), int(i)) for i in operator.inputs], np.int32
        )
        name = OPERATOR_NAMES[model.operatorCodes[operator.opcodeIndex].builtinCode]
        if name == "QUANTIZE" and operator.outputs[0] not in outputs:
            ends = operator.inputs[0], operator.outputs[0]
            source, target = (graph.tensors[index] for index in ends)
            if source.type == target.type and _grid(source) == _grid(target):
                replaced[int(ends[1])] = int(ends[0])
                continue
        kept.append(operator)
    graph.operators = kept
    used = sorted({operator.opcodeIndex for operator in kept})
    model.operatorCodes = [model.operatorCodes[index] for index in used]
    for operator in kept:
        operator.opcodeIndex = used.index(operator.opcodeIndex)


def _grid(tensor: Any) -> tuple[list[float], list[int]]:
    quantization = tensor.quantization
    return list(quantization.scale), list(quantization.zeroPoint)
