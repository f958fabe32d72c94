"""From a compiled Edge TPU model back to a step model.

``edgetpu_compiler`` writes the flatbuffer alone: the contract behind it is lost, and perhaps the
signature too. Both are taken from the model that was compiled; the border tensors of the graph,
which the compiler must leave as they are, say what belongs where.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from convert.errors import ContractViolationError
from convert.tflite_editor import read_tree, write_tree
from device_runner.atomic_write import write_atomically
from device_runner.errors import BadModelError
from device_runner.model.flatbuffer import read_graph
from device_runner.model.graph_checks import check_contract
from device_runner.model.names import STEP_SIGNATURE
from device_runner.model.step_file import StepModel, load_step_model, pack, split_step_file


def restore_contract(compiled: Path, original: StepModel, output: Path) -> StepModel:
    """Write a compiled model as a step model with the contract of the one it was compiled from.

    Args:
        compiled: what ``edgetpu_compiler`` made of ``original``.
        output: the file to write; may be ``compiled`` itself.

    Raises:
        BadModelError: ``compiled`` is no TFLite file, or was compiled from another model.
        ContractViolationError: the compiler changed a tensor at the step's border.
    """
    original.require_one_phase("the Edge TPU")
    try:
        data = compiled.read_bytes()
    except OSError as error:
        raise BadModelError(f"cannot read {compiled}: {error.strerror}") from error
    # A file that was restored before has a contract behind it already; it is made anew.
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
            f"{compiled}: the compiler changed the step's border: {error.message}"
        ) from error
    write_atomically(output, pack(flatbuffer, contract, original.labels, original.golden))
    return load_step_model(output)


def _flatbuffer_end(data: bytes) -> int:
    """Where an appended ZIP begins, or the end of the data."""
    try:
        return len(split_step_file(data)[0])
    except BadModelError:
        return len(data)


def _with_signature(flatbuffer: bytes, original: StepModel) -> bytes:
    """The flatbuffer, with the original's signature if it has none."""
    from ai_edge_litert import schema_py_generated as schema

    if any(found.key == STEP_SIGNATURE for found in read_graph(flatbuffer).signatures):
        return flatbuffer
    signature = original.graph.signature(STEP_SIGNATURE)
    model = read_tree(flatbuffer)
    graph = model.subgraphs[0]
    restored = schema.SignatureDefT()
    restored.signatureKey = STEP_SIGNATURE.encode()
    restored.subgraphIndex = 0
    for side, border, wanted in (
        ("inputs", list(graph.inputs), signature.inputs),
        ("outputs", list(graph.outputs), signature.outputs),
    ):
        by_name = {graph.tensors[index].name.decode(): int(index) for index in border}
        maps = []
        for key, index in wanted.items():
            name = original.graph.tensors[index].name
            if name not in by_name:
                raise BadModelError(
                    f"none of its {side} is called '{name}', which is the step's '{key}'; it was "
                    "compiled from another model, or the compiler renames: name the right original"
                )
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = key.encode(), by_name[name]
            maps.append(entry)
        setattr(restored, side, maps)
    model.signatureDefs = [restored]
    return write_tree(model)
