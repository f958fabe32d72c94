"""Export a float32 step model as ONNX, for runtimes other than TFLite's.

ONNX has no separate names for inputs and outputs. So inputs and outputs (``x``, ``y``) and incoming
states (``h``) keep their names, and outgoing states get the suffix ``_out`` (``h_out``).
Shapes and dtypes are the step model's. The metadata property ``model_sha256`` says which step
model the file was made from. If the model has a window, ``window_steps``, ``window_hop`` and
``window_lanes`` say when a row of the states begins anew and which row of the outputs is the answer
(:class:`device_runner.model.window.Window`): that is the caller's part.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from convert.errors import NotExportableError
from convert.exporters.onnx_graph import OnnxGraph, onnx_package
from convert.operators.in_onnx import LOWERINGS, WITHOUT_FORM
from device_runner.atomic_write import write_atomically
from device_runner.backends.onnxruntime import HASH_PROPERTY, NAME
from device_runner.model.step_file import StepModel
from device_runner.stream import Stream
from device_runner.verify import Verification, verify

# ONNX 1.12 (2022): what TensorRT 8.5 of JetPack 5 reads, and new enough for all that is needed.
OPSET = 17
IR_VERSION = 8


def export_onnx(model: StepModel, path: Path) -> Verification:
    """Step a model through its golden sequences in ONNX Runtime, then write it as ONNX.

    Args:
        model: a float32 step model.
        path: the file to write; for the onnxruntime backend it must be the model's own path with
            the suffix .onnx.

    Returns:
        The error against the float model.

    Raises:
        NotExportableError: it is not float32, or has an operator without an entry in LOWERINGS.
        BadModelError: its graph is damaged or has an operator that is not known.
        MissingRuntimeError: onnx or onnxruntime is not installed.
        VerificationError: ONNX Runtime does not compute what the float model does.
    """
    data = to_onnx(model)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder, "draft.onnx")
        draft.write_bytes(data)
        verification = verify(Stream(replace(model, path=draft.with_suffix(".tflite")), NAME))
    if verification.failure:
        raise verification.error(path)
    write_atomically(path, data)
    return verification


def to_onnx(model: StepModel) -> bytes:
    """Return the bytes of the ONNX model; errors as :func:`export_onnx`."""
    onnx = onnx_package()
    graph = model.graph
    used = {index for op in graph.operators for index in (*op.inputs, *op.outputs) if index >= 0}
    others = {graph.tensors[index].dtype for index in used} - {"float32", "int32", "int64"}
    if others or any(graph.tensors[index].scales for index in used):
        raise NotExportableError(
            f"{model.path} has the scheme {model.contract.scheme}; "
            "ONNX is made of float32 step models: export the network as float32"
        )
    target = OnnxGraph(onnx, model)
    for operator in graph.operators:
        if operator.name not in LOWERINGS:
            raise NotExportableError(
                f"{model.path}: operator {operator.name} has no ONNX form here; "
                + WITHOUT_FORM.get(operator.name, "add it to convert/operators/in_onnx.py")
            )
        LOWERINGS[operator.name](target, operator)
    made = onnx.helper.make_model(
        target.graph(),
        producer_name="edgestep",
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    window = {} if model.contract.window is None else asdict(model.contract.window)
    properties = {f"window_{name}": str(number) for name, number in window.items()}
    onnx.helper.set_model_props(made, {HASH_PROPERTY: model.sha256, **properties})
    onnx.checker.check_model(made, full_check=True)
    return bytes(made.SerializeToString(deterministic=True))
