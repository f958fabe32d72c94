"""Show what is in a step model file, as data and as text."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import Any

from device_runner.model.names import STEP_SIGNATURE
from device_runner.model.step_file import StepModel
from device_runner.model.tensor_spec import StateSpec, TensorSpec
from device_runner.model.window import Window
from device_runner.printable import printable

# Longer lists of channels or labels are shortened in the text.
NAMES_SHOWN = 7
# Longer fields of the front end are not shown in full.
FIELD_SHOWN = 60


def inspect_model(model: StepModel) -> dict[str, Any]:
    """Collect what is in a step model: signature, states, operators, sizes and metrics.

    Returns:
        JSON-ready facts, with the states' quantization and the operators' versions.
    """
    graph, contract = model.graph, model.contract
    used = {index for op in graph.operators for index in (*op.inputs, *op.outputs) if index >= 0}
    return {
        "path": str(model.path),
        "file_bytes": model.file_bytes,
        "model_bytes": len(model.flatbuffer),
        "weight_bytes": sum(tensor.constant_bytes for tensor in graph.tensors),
        "signatures": [signature.key for signature in graph.signatures],
        "operators": [
            {"name": name, "version": version, "count": count}
            for (name, version), count in Counter(
                (op.name, op.version) for op in graph.operators
            ).items()
        ],
        "tensor_dtypes": dict(Counter(graph.tensors[index].dtype for index in sorted(used))),
        "step_tensors": asdict(graph.signature(STEP_SIGNATURE)),
        "labels": list(model.labels),
        "golden": {"sequences": len(model.golden.lengths), "steps": model.golden.steps},
        "contract": asdict(contract),
    }


def format_inspection(facts: dict[str, Any], model: StepModel) -> str:
    """Word the facts of :func:`inspect_model` for a person to read."""
    contract = model.contract
    known = {state.name for state in contract.states}
    lines = [
        f"{facts['path']}: {contract.cell} {'-'.join(map(str, contract.units))}, "
        f"{contract.scheme}, task {contract.task}",
        f"  file {facts['file_bytes']:,} bytes (model {facts['model_bytes']:,}, "
        f"weights {facts['weight_bytes']:,}), {contract.parameters:,} parameters",
        f"  frame period {contract.frame_period_s * 1e3:g} ms "
        f"({printable(contract.frame_period_source)})",
        f"signature {STEP_SIGNATURE}",
        f"  in   {_spec(contract.input)}  {printable(contract.input_units)}: "
        f"{_some(contract.channels)}",
        *(f"  in   {_spec(spec)}" for spec in contract.inputs[1:]),
        f"  out  {_spec(contract.output)}  {printable(contract.output_meaning)}: "
        f"{_some(model.labels)}",
        *(f"  out  {_spec(spec)}" for spec in contract.outputs[1:]),
    ]
    if contract.window is not None:
        lines.insert(3, f"  window: {window_in_words(contract.window)}")
    if contract.rows > 1:
        lines.insert(3, f"  rows: {contract.rows}, independent streams that one call steps")
    lines += [
        f"  state {_spec(state)}  initial {_initial(state)}; in and out identical"
        + (f"; updated every {state.period} steps" if state.period > 1 else "")
        for state in contract.states
    ]
    for name, graph in model.phase_graphs.items():
        if name != STEP_SIGNATURE:
            updated = sorted(known & set(graph.signature(name).outputs))
            lines.append(
                f"signature {name}, at {contract.phases.count(name)} of {len(contract.phases)} "
                f"steps: {len(graph.operators)} of {len(model.graph.operators)} operators, "
                f"updates {', '.join(updated) or 'no state'}"
            )
    if contract.front_end is not None:
        lines.append(f"front end {_front_end(contract.front_end)}")
    lines.append("operators")
    lines += [
        f"  {op['count']:3d} x {printable(op['name'])} (version {op['version']})"
        for op in facts["operators"]
    ]
    lines.append(
        "tensors "
        + ", ".join(f"{count} {dtype}" for dtype, count in facts["tensor_dtypes"].items())
    )
    lines.append("metrics")
    lines += [
        f"  {printable(name)}: {printable(value)}" for name, value in contract.metrics.items()
    ]
    tolerance = contract.tolerance
    decided = tolerance.argmax_agreement
    lines.append(
        f"golden {facts['golden']['sequences']} sequences, {facts['golden']['steps']} steps; "
        f"tolerance rms {tolerance.rms:.3g}, largest {tolerance.max_abs:.3g}, "
        + (f"same decision at {decided:.0%}" if decided else "decisions are not compared")
    )
    return "\n".join([*lines, *_automatic(facts)])


def _automatic(facts: dict[str, Any]) -> list[str]:
    """Word which backend is chosen automatically, if that was asked for."""
    chosen = facts.get("auto")
    if chosen is None:
        return []
    name = f"{chosen['backend']} ({chosen['version']})" if chosen["backend"] else "no backend"
    return [f"auto takes {printable(name)}: {printable(chosen['why'] or 'the first here')}"]


def window_in_words(window: Window) -> str:
    """Say which frames have an answer, and how it is computed.

    Example:
        >>> window_in_words(Window(steps=50, hop=1, lanes=50))
        'answers for the last 50 frames, every frame, 50 lanes'
        >>> window_in_words(Window(steps=50, hop=25, lanes=0))
        'answers for the last 50 frames, every 25 frames, the whole window at once'
    """
    hop = "frame" if window.hop == 1 else f"{window.hop} frames"
    steps = "frame alone" if window.steps == 1 else f"{window.steps} frames"
    lanes = f"{window.lanes} lane{'' if window.lanes == 1 else 's'}"
    how = lanes if window.lanes else "the whole window at once"
    return f"answers for the last {steps}, every {hop}, {how}"


def _some(names: tuple[str, ...]) -> str:
    if len(names) <= NAMES_SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[: NAMES_SHOWN - 1])}, ... {names[-1]} ({len(names)})"


def _initial(state: StateSpec) -> str:
    if isinstance(state.initial, str):
        return state.initial
    return _some(tuple(f"{value:g}" for value in state.initial))


def _front_end(description: dict[str, Any]) -> str:
    """Write the description's fields; only the length of long ones, such as a vocabulary."""
    parts = []
    for name, value in description.items():
        text = json.dumps(value, ensure_ascii=False)
        if len(text) > FIELD_SHOWN:
            count = f"{len(value)} entries" if isinstance(value, list | dict) else "..."
            text = f"({count})"
        parts.append(f"{printable(name)}: {printable(text)}")
    return ", ".join(parts)


def _spec(spec: TensorSpec) -> str:
    if spec.vocabulary is not None:
        ids = f", token ids 0 to {spec.vocabulary - 1}"
        return f"{spec.name} [{', '.join(map(str, spec.shape))}] {spec.dtype}{ids}"
    quantization = (
        "" if spec.scale is None else f", scale {spec.scale:.6g}, zero point {spec.zero_point}"
    )
    return f"{spec.name} [{', '.join(map(str, spec.shape))}] {spec.dtype}{quantization}"
