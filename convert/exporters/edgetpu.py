"""Turn a compiled Edge TPU model back into a step model.

``edgetpu_compiler`` writes the flatbuffer alone: the contract is lost, and perhaps the signature
too. Both are taken from the model that was compiled. The graph's input and output tensors, which
the compiler must not change, tell which is which.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from convert.errors import ContractViolationError
from convert.tflite_editor import TfliteEditor
from device_runner.atomic_write import write_atomically
from device_runner.errors import BadModelError
from device_runner.model.flatbuffer import read_graph
from device_runner.model.graph_checks import check_contract
from device_runner.model.names import STEP_SIGNATURE
from device_runner.model.step_file import StepModel, load_step_model, pack, split_step_file


def restore_contract(compiled: Path, original: StepModel, output: Path) -> StepModel:
    """Write a compiled model as a step model, with the contract of its original.

    Args:
        compiled: what ``edgetpu_compiler`` made from ``original``.
        output: the file to write; may be ``compiled`` itself.

    Raises:
        BadModelError: ``compiled`` is not a TFLite file, or was compiled from another model.
        ContractViolationError: the compiler changed an input, output or state of the step.
    """
    original.require_one_phase("the Edge TPU")
    original.require_one_row("the Edge TPU")
    try:
        data = compiled.read_bytes()
    except OSError as error:
        raise BadModelError(f"cannot read {compiled}: {error.strerror}") from error
    # A file that was restored before already has a contract; it is replaced.
    flatbuffer = data[: _flatbuffer_end(data)]
    try:
        flatbuffer = _with_signature(flatbuffer, original)
        graph = read_graph(flatbuffer)
    except BadModelError as error:
        raise BadModelError(f"{compiled}: {error.message}") from error
    contract = replace(
        original.contract,
        model_sha256=hashlib.sha256(flatbuffer).hexdigest(),
        versions={**original.contract.versions, "compiled from": original.contract.model_sha256},
    )
    try:
        check_contract(graph, contract)
    except BadModelError as error:
        raise ContractViolationError(
            f"{compiled}: the compiler changed the step's inputs or outputs: {error.message}"
        ) from error
    packed = pack(flatbuffer, contract, original.labels, original.golden, original.recorded)
    write_atomically(output, packed)
    return load_step_model(output)


def _flatbuffer_end(data: bytes) -> int:
    """Find where an appended ZIP begins, or else the end of the data."""
    try:
        return len(split_step_file(data)[0])
    except BadModelError:
        return len(data)


def _with_signature(flatbuffer: bytes, original: StepModel) -> bytes:
    """Give the flatbuffer the original's signature if it has none."""
    graph = read_graph(flatbuffer)
    if any(found.key == STEP_SIGNATURE for found in graph.signatures):
        return flatbuffer
    signature = original.graph.signature(STEP_SIGNATURE)

    def found(side: str, indices: Sequence[int], wanted: Mapping[str, int]) -> dict[str, int]:
        """Find the tensors of one side of the step by their names in the original."""
        by_name = {graph.tensors[index].name: index for index in indices}
        tensors = {}
        for key, index in wanted.items():
            name = original.graph.tensors[index].name
            if name not in by_name:
                raise BadModelError(
                    f"none of its {side} is called '{name}', which is the step's '{key}'; it was "
                    "compiled from another model, or the compiler renames: name the right original"
                )
            tensors[key] = by_name[name]
        return tensors

    editor = TfliteEditor(flatbuffer)
    editor.set_signature(
        STEP_SIGNATURE,
        found("inputs", graph.inputs, signature.inputs),
        found("outputs", graph.outputs, signature.outputs),
    )
    return editor.flatbuffer()
