"""Check a TFLite file against a target: operator by operator, what maps and what does not.

Any TFLite file will do, even one without a step contract; nothing is run. The reader checks every
offset and index, so a damaged file is refused before it gets here.
"""

from __future__ import annotations

from pathlib import Path

from convert.targets import TARGETS
from convert.targets.mapping import (
    dtype_fits,
    graph_notes,
    graph_problems,
    operator_notes,
    operator_reasons,
    used_tensors,
)
from convert.targets.multiplications import multiplications
from convert.targets.profile import Profile, get_profile
from convert.targets.report import AFTER, MAPS, REFUSED, OperatorFinding, TargetReport
from convert.targets.runtimes import LITERT, Runtime, get_runtime, oldest_runtimes
from device_runner.errors import BadModelError
from device_runner.model.flatbuffer import Graph, Operator, read_graph
from device_runner.model.step_file import read_bytes
from device_runner.printable import printable


def check_file(path: str | Path, target: str, runtime: str | None = None) -> TargetReport:
    """Check a TFLite file against a target.

    Args:
        path: any TFLite file.
        target: one of :data:`convert.targets.TARGETS`.
        runtime: "NAME==VERSION" or "NAME" of the runtime that is to load it; None for the newest
            known one if the target is the CPU or a GPU.

    Raises:
        BadModelError: the file is missing or damaged.
        UnknownTargetError, UnknownRuntimeError: the target or runtime is unknown.
    """
    profile = get_profile(target)
    chosen = get_runtime(runtime) if runtime else None
    data = read_bytes(path)
    try:
        graph = read_graph(data)
    except BadModelError as error:
        raise BadModelError(f"{path}: {error.message}") from error
    return check_graph(graph, data, profile, chosen, str(path))


def check_graph(
    graph: Graph, data: bytes, profile: Profile, runtime: Runtime | None, name: str
) -> TargetReport:
    """Check a graph that was read from ``data`` against a profile; see :func:`check_file`."""
    if runtime is None and profile.operators is None:
        runtime = get_runtime(LITERT)
    findings = _findings(graph, data, profile, runtime)
    problems = tuple(graph_problems(graph, profile, runtime))
    return TargetReport(
        file=name,
        target=profile.name,
        title=profile.title,
        runtime=str(runtime) if runtime else None,
        operators=tuple(findings),
        problems=problems,
        notes=tuple(graph_notes(graph, profile, runtime)),
        cost=_cost(findings, profile),
        oldest_runtimes=oldest_runtimes(
            (printable(code), version)
            for code, version in graph.operator_codes
            if not code.startswith("CUSTOM:")
        ),
        advice=_advice(graph, findings, problems, profile, runtime),
    )


def _findings(
    graph: Graph, data: bytes, profile: Profile, runtime: Runtime | None
) -> list[OperatorFinding]:
    """Find what becomes of each operator, in the graph's order."""
    findings = []
    stopped = False
    for index, operator in enumerate(graph.operators):
        reasons = tuple(operator_reasons(operator, graph, data, profile, runtime))
        stopped |= bool(reasons)
        status = REFUSED if reasons else AFTER if stopped and profile.rest_on_cpu else MAPS
        findings.append(
            OperatorFinding(
                index=index,
                name=printable(operator.name),
                version=operator.version,
                output=_output_shape(operator, graph),
                status=status,
                reasons=reasons,
                notes=tuple(operator_notes(operator, profile)),
                multiplications=multiplications(operator, graph),
            )
        )
    return findings


def _advice(
    graph: Graph,
    findings: list[OperatorFinding],
    problems: tuple[str, ...],
    profile: Profile,
    runtime: Runtime | None,
) -> str:
    """Say what to do if the file does not fit; empty if it does."""
    if not problems and all(one.status == MAPS for one in findings):
        return ""
    schemes = ", ".join(profile.schemes)
    if runtime:
        return f"take a newer runtime, or another scheme: {schemes}"
    if all(dtype_fits(tensor, profile) for tensor in used_tensors(graph)):
        # It already is in such a scheme.
        return f"leave out what is named, or take a target that has it ({', '.join(TARGETS)})"
    return f"schemes made for it: {schemes}"


def _cost(findings: list[OperatorFinding], profile: Profile) -> str | None:
    """Say what the first operator that does not map costs; None if all map."""
    first = next((one for one in findings if one.status == REFUSED), None)
    if first is None:
        return None
    if not profile.rest_on_cpu:
        return profile.rest
    behind = findings[first.index :]
    work, all_work = (sum(one.multiplications for one in part) for part in (behind, findings))
    share = f", {work / all_work:.0%} of the multiplications" if all_work else ""
    return (
        f"{profile.rest}: {len(behind)} of {len(findings)} operators{share} "
        f"({work:,} of {all_work:,} a step)"
    )


def _output_shape(operator: Operator, graph: Graph) -> str:
    if not operator.outputs or operator.outputs[0] < 0:
        return ""
    tensor = graph.tensors[operator.outputs[0]]
    return f"{tensor.dtype} [{', '.join(map(str, tensor.shape))}]"
