"""The backend for ONNX Runtime on the CPU (distribution ``onnxruntime``), for comparison.

It runs the ONNX form of a float32 step model, which ``edgestep export-onnx`` writes beside the
model: ``gru.onnx`` beside ``gru.tflite``. Input, output and states lie in memory that is allocated
once and bound to the session.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from device_runner.backends.backend import HostMemoryBackend, LoadOptions, refused
from device_runner.backends.host_step import HostMemory
from device_runner.errors import BadModelError, MissingRuntimeError, one_line
from device_runner.model.names import STEP_SIGNATURE
from device_runner.model.step_file import StepModel
from device_runner.model.tensor_spec import TensorSpec

NAME = "onnxruntime"
# The property of the ONNX file that names the step model it was made from.
HASH_PROPERTY = "model_sha256"
# ONNX Runtime's names of tensors, by dtype.
ELEMENTS = {
    "float32": "tensor(float)",
    "int32": "tensor(int32)",
    "int64": "tensor(int64)",
}
_FATAL = 4


def load(model: StepModel, options: LoadOptions) -> OnnxruntimeBackend:
    """Load the ONNX file beside a step model.

    Raises:
        BadModelError: it is missing, is another model's, or ONNX Runtime refuses it.
    """
    onnxruntime = _onnxruntime()
    path = model.path.with_suffix(".onnx")
    if not path.is_file():
        raise BadModelError(
            f"{path} is not there, which the backend {NAME} runs; write it with "
            f"'edgestep export-onnx {model.path}' (float32 models)"
        )
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = _FATAL
    try:
        session = onnxruntime.InferenceSession(
            str(path), settings, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its errors have no common base class
        raise refused(NAME, onnxruntime.__version__, replace(model, path=path), error) from error
    return OnnxruntimeBackend(onnxruntime.__version__, session, path, model)


def probe() -> str:
    """Return ONNX Runtime's version."""
    version: str = _onnxruntime().__version__
    return version


def state_output_name(state: str) -> str:
    """Return the ONNX name of the outgoing state, given the incoming one's."""
    return f"{state}_out"


class OnnxruntimeBackend(HostMemoryBackend):
    """The ONNX form of a step model in a session of ONNX Runtime.

    Raises:
        BadModelError: the ONNX file is not this model's, or its inputs and outputs are not.
    """

    def __init__(self, version: str, session: Any, path: Path, model: StepModel) -> None:
        found = session.get_modelmeta().custom_metadata_map.get(HASH_PROPERTY)
        if found != model.sha256:
            raise BadModelError(
                f"{path} was made from another model than {model.path.name}; "
                f"write it anew with 'edgestep export-onnx {model.path}'"
            )
        contract = model.contract
        inputs: dict[str, TensorSpec] = {spec.name: spec for spec in contract.inputs}
        outputs: dict[str, TensorSpec] = {spec.name: spec for spec in contract.outputs}
        for state in contract.states:
            inputs[state.name] = outputs[state_output_name(state.name)] = state
        for side, nodes, specs in (
            ("inputs", session.get_inputs(), inputs),
            ("outputs", session.get_outputs(), outputs),
        ):
            declared = {node.name: (node.type, tuple(node.shape)) for node in nodes}
            wanted = {name: (ELEMENTS.get(s.dtype), s.shape) for name, s in specs.items()}
            if declared != wanted:
                raise BadModelError(
                    f"{path} has the {side} {', '.join(declared)}, which are not the step model's; "
                    f"write it anew with 'edgestep export-onnx {model.path}'"
                )
        arrays_in = {name: np.zeros(spec.shape, spec.dtype) for name, spec in inputs.items()}
        arrays_out = {name: np.zeros(spec.shape, spec.dtype) for name, spec in outputs.items()}
        self.arrays = (arrays_in, arrays_out)
        self.session = session
        binding = session.io_binding()
        for bind, arrays in ((binding.bind_input, arrays_in), (binding.bind_output, arrays_out)):
            for name, array in arrays.items():
                bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        invoke = functools.partial(session.run_with_iobinding, binding)
        # The binding only holds addresses, so the step must keep the arrays alive.
        invoke.owner = self.arrays  # type: ignore[attr-defined]
        views_out = {name: array.data.cast("B") for name, array in arrays_out.items()}
        memory = HostMemory(
            inputs={name: array.data.cast("B") for name, array in arrays_in.items()},
            outputs={
                **{spec.name: views_out[spec.name] for spec in contract.outputs},
                **{s.name: views_out[state_output_name(s.name)] for s in contract.states},
            },
            invoke=invoke,
        )
        super().__init__(NAME, version, model, {STEP_SIGNATURE: memory})


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingRuntimeError(
            f"ONNX Runtime is not usable ({one_line(error)}); "
            "install it with 'pip install onnxruntime'"
        ) from error
    return onnxruntime
