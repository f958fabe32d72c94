"""Quantize with litert-quantizer: our ranges in, correct operator versions out.

The quantizer keeps the float graph's operator versions. A runtime too old for a quantized operator
would accept such a file and compute nonsense. So the versions are set here to those that define
what the file contains (TFLite's op_version.cc).
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.errors import ContractViolationError
from convert.schemes.mixed import FORMS, FloatParts, repaired
from convert.schemes.spec import SchemeSpec
from convert.tflite_editor import TfliteEditor
from device_runner.model.constants import read_constant
from device_runner.model.flatbuffer import Graph, Tensor, read_graph
from device_runner.model.names import STEP_SIGNATURE
from device_runner.operators import OPERATORS
from device_runner.operators.row import Form

# Versions of the operators at the borders of what stays in float32.
CONVERSIONS = {8: {"DEQUANTIZE": 2, "QUANTIZE": 1}, 16: {"DEQUANTIZE": 3, "QUANTIZE": 2}}


def quantize_integers(
    flatbuffer: bytes,
    limits: dict[str, tuple[float, float]],
    bits: int,
    spec: SchemeSpec,
    parts: FloatParts,
) -> bytes:
    """Quantize all activations to ``bits``-bit integers and weights to int8.

    Args:
        limits: real range of every activation, by tensor name.
        parts: what stays in float32.

    Raises:
        ContractViolationError: an operator of the graph has no known form in these integers.
    """
    versions = _versions(FORMS[bits]) | CONVERSIONS[bits]
    graph = read_graph(flatbuffer)
    for place, operator in enumerate(graph.operators):
        if operator.name not in versions and place not in parts.operators:
            # The converter joins the names of what it fuses into one operator.
            name = graph.tensors[operator.outputs[0]].name.split(";")[0][:80]
            raise ContractViolationError(
                f"the step graph contains {operator.name} ('{name}'), which is not known in {bits}-"
                "bit integers; use the scheme dynamic or float32, or an activation of relu, "
                "leaky_relu, silu, tanh, sigmoid, hard_sigmoid"
            )
    # With as many axes as the tensor: a constant that is joined with it takes its scale over.
    sizes = {tensor.name: (1,) * max(len(tensor.shape), 1) for tensor in graph.tensors}
    calibration = {
        name: {
            "min": np.full(sizes.get(name, (1,)), low, np.float32),
            "max": np.full(sizes.get(name, (1,)), high, np.float32),
        }
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
        for place in sorted(parts.operators):
            # An operator is named by its outputs.
            names = [graph.tensors[index].name for index in graph.operators[place].outputs]
            worker.update_quantization_recipe(
                regex=f"^{re.escape(''.join(f'{name};' for name in names))}$",
                operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
                algorithm_key="no_quantize",
            )

    quantized = _with_versions(_quantize(flatbuffer, configure, calibration), versions)
    return repaired(quantized, parts.states) if parts.operators else quantized


def _gathered(graph: Graph, flatbuffer: bytes) -> dict[str, tuple[float, float]]:
    """Return the ranges of what GATHER takes from constant tables, by tensor name.

    A result has one scale with its table. So its range is the table's, whichever rows the
    calibration data has seen."""
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
    """Quantize matrices to int8; leave activations and states in float32 (dynamic range)."""

    def configure(worker: Any, qtyping: Any) -> None:
        worker.add_dynamic_config(
            regex=".*",
            operation_name=qtyping.TFLOperationName.FULLY_CONNECTED,
            num_bits=8,
            granularity=_granularity(qtyping, spec),
        )

    form = Form.HYBRID_PER_CHANNEL if spec.per_channel else Form.HYBRID
    return _with_versions(_quantize(flatbuffer, configure), _versions(form))


def cast_weights(flatbuffer: bytes) -> bytes:
    """Cast matrices to float16; leave everything else in float32."""

    def configure(worker: Any, qtyping: Any) -> None:
        from litert_quantizer import algorithm_manager

        worker.add_weight_only_config(
            regex=".*",
            operation_name=qtyping.TFLOperationName.FULLY_CONNECTED,
            num_bits=16,
            granularity=qtyping.QuantGranularity.TENSORWISE,
            algorithm_key=algorithm_manager.AlgorithmName.FLOAT_CASTING,
        )

    return _with_versions(_quantize(flatbuffer, configure), _versions(Form.FLOAT16))


def _versions(form: Form) -> dict[str, int]:
    """Return each operator's version in a form, by name."""
    return {name: row.versions[form] for name, row in OPERATORS.items() if form in row.versions}


def _granularity(qtyping: Any, spec: SchemeSpec) -> Any:
    kind = qtyping.QuantGranularity
    return kind.CHANNELWISE if spec.per_channel else kind.TENSORWISE


def _quantize(
    flatbuffer: bytes,
    configure: Callable[[Any, Any], None],
    calibration: dict[str, dict[str, NDArray[Any]]] | None = None,
) -> bytes:
    from litert_quantizer import qtyping, quantizer

    worker = quantizer.Quantizer(bytearray(flatbuffer))
    configure(worker, qtyping)
    told = io.StringIO()  # progress bars on large graphs, too
    with (
        contextlib.redirect_stdout(told),
        contextlib.redirect_stderr(told),
        warnings.catch_warnings(),
    ):
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


def _with_versions(flatbuffer: bytes, versions: dict[str, int]) -> bytes:
    """Set the right versions in the quantizer's result and remove its idle operators."""
    editor = TfliteEditor(flatbuffer)
    graph = read_graph(flatbuffer)
    editor.drop_operators(*_idle_requantizations(graph))
    for target, source in (*_unread_parts(graph), *_unread_states(graph)):
        editor.store_alike(target, source)
    editor.raise_versions(versions)
    return editor.flatbuffer()


def _unread_parts(graph: Graph) -> Iterator[tuple[int, int]]:
    """Find the parts of a SPLIT that nobody reads, which the quantizer leaves in float32.

    The first step of an unrolled LSTM has one: its forget gate multiplies zeros. All parts of a
    SPLIT must have the dtype of the whole.

    Returns:
        Each part with the whole.
    """
    for operator in graph.operators:
        if operator.name == "SPLIT":
            whole = operator.inputs[OPERATORS["SPLIT"].source]
            for part in operator.outputs:
                if graph.tensors[part].dtype != graph.tensors[whole].dtype:
                    yield part, whole


def _unread_states(graph: Graph) -> Iterator[tuple[int, int]]:
    """Find the states that no operator reads, which the quantizer leaves in float32.

    The output that a step with strides holds is one: only the steps in between read it.

    Returns:
        Each with the output that is its new value.
    """
    signature = graph.signature(STEP_SIGNATURE)
    read = {index for operator in graph.operators for index in operator.inputs}
    for name in signature.inputs.keys() & signature.outputs.keys():
        taken, given = signature.inputs[name], signature.outputs[name]
        if taken not in read and graph.tensors[taken].dtype != graph.tensors[given].dtype:
            yield taken, given


def _idle_requantizations(graph: Graph) -> tuple[set[int], dict[int, int]]:
    """Find each QUANTIZE that leaves dtype, scale and zero point as they are.

    The quantizer puts one after a GATHER from a constant table, and before a CONCATENATION.

    Returns:
        Their places, and the tensor to read instead of each one's output.
    """
    places: set[int] = set()
    replaced: dict[int, int] = {}
    for place, operator in enumerate(graph.operators):
        if operator.name != "QUANTIZE" or operator.outputs[0] in graph.outputs:
            continue
        given, (target,) = operator.inputs[0], operator.outputs
        source = replaced.get(given, given)
        if _stored(graph.tensors[source]) == _stored(graph.tensors[target]):
            places.add(place)
            replaced[target] = source
    return places, replaced


def _stored(tensor: Tensor) -> tuple[str, tuple[float, ...], tuple[int, ...]]:
    return tensor.dtype, tensor.scales, tensor.zero_points
