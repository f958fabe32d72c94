"""A TFLite file held against a target: operator by operator, what maps and what does not.

Works on any TFLite file, also one without a step contract; nothing is run. The reader has checked
every offset and index by then, so that a damaged file is refused before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from convert.errors import TargetMismatchError
from convert.targets import TARGETS
from convert.targets.operator_rules import RULES
from convert.targets.profile import OperatorProfile, Profile, get_profile
from convert.targets.runtimes import (
    LITERT,
    Runtime,
    get_runtime,
    oldest_runtimes,
    release_of,
    version_key,
)
from device_runner.backends.known_failures import known_failure
from device_runner.errors import BadModelError
from device_runner.model.flatbuffer import Graph, Operator, Tensor, read_graph
from device_runner.model.names import STEP_SIGNATURE
from device_runner.model.step_file import read_bytes

MAPS, REFUSED, AFTER = "maps", "does not map", "after"
# What the Edge TPU compiler leaves of the operators that it took.
COMPILED_OPERATOR = "CUSTOM:edgetpu-custom-op"
# Names of backends by distribution, for what is known against them.
_BACKENDS = {"tflite-runtime": "tflite-runtime", LITERT: "litert"}


@dataclass(frozen=True)
class OperatorFinding:
    """What becomes of one operator. ``status`` is MAPS, REFUSED, or AFTER where it would map but
    stands behind one that does not, on a target that stops there. ``reasons`` say why it does not
    map, ``notes`` what else is to be known; ``multiplications`` is its work in a step."""

    index: int
    name: str
    version: int
    output: str
    status: str
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    multiplications: int


@dataclass(frozen=True)
class TargetReport:
    """A file held against a target. ``problems`` concern the graph as a whole, ``cost`` is what the
    first operator that does not map costs, ``oldest_runtimes`` is as
    :func:`convert.targets.runtimes.oldest_runtimes` gives it, ``advice`` what to do where the file
    does not fit."""

    file: str
    target: str
    title: str
    runtime: str | None
    operators: tuple[OperatorFinding, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    cost: str | None
    oldest_runtimes: dict[str, Any]
    advice: str

    @property
    def fits(self) -> bool:
        """Whether the whole graph maps."""
        return not self.problems and all(one.status == MAPS for one in self.operators)

    @property
    def first_refused(self) -> OperatorFinding | None:
        """The first operator that does not map."""
        return next((one for one in self.operators if one.status == REFUSED), None)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON takes it."""
        return {"fits": self.fits, **asdict(self)}

    def error(self) -> TargetMismatchError:
        """The error to raise for a file that does not fit."""
        first = self.first_refused
        why = (
            f"operator {first.index}, {first.name}: {'; '.join(first.reasons)}"
            if first
            else "; ".join(self.problems)
        )
        return TargetMismatchError(f"{self.file} does not fit {self.target}: {why}; {self.advice}")


def check_file(path: str | Path, target: str, runtime: str | None = None) -> TargetReport:
    """Hold a TFLite file against a target.

    Args:
        path: any TFLite file.
        target: one of :data:`convert.targets.TARGETS`.
        runtime: "NAME==VERSION" or "NAME" of the runtime that is to load it; None for the newest
            known one where the target is the CPU or a GPU.

    Raises:
        BadModelError: the file is missing or damaged.
        UnknownTargetError, UnknownRuntimeError: there is no such target, or no such runtime known.
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
    """Hold a graph that was read from ``data`` against a profile; see :func:`check_file`."""
    if runtime is None and profile.operators is None:
        runtime = get_runtime(LITERT)
    findings = []
    stopped = False
    for index, operator in enumerate(graph.operators):
        reasons = tuple(_reasons(operator, graph, data, profile, runtime))
        stopped |= bool(reasons)
        status = REFUSED if reasons else AFTER if stopped and profile.rest_on_cpu else MAPS
        findings.append(
            OperatorFinding(
                index=index,
                name=printable(operator.name),
                version=operator.version,
                output=_shape(operator, graph),
                status=status,
                reasons=reasons,
                notes=tuple(_notes(operator, profile)),
                multiplications=multiplications(operator, graph),
            )
        )
    problems = tuple(_problems(graph, profile, runtime))
    return TargetReport(
        file=name,
        target=profile.name,
        title=profile.title,
        runtime=str(runtime) if runtime else None,
        operators=tuple(findings),
        problems=problems,
        notes=tuple(_graph_notes(graph, profile, runtime)),
        cost=_cost(findings, profile),
        oldest_runtimes=oldest_runtimes(
            (printable(code), version)
            for code, version in graph.operator_codes
            if not code.startswith("CUSTOM:")
        ),
        advice=_advice(graph, findings, problems, profile, runtime),
    )


def _advice(
    graph: Graph,
    findings: list[OperatorFinding],
    problems: tuple[str, ...],
    profile: Profile,
    runtime: Runtime | None,
) -> str:
    """What to do where the file does not fit; empty where it does."""
    if not problems and all(one.status == MAPS for one in findings):
        return ""
    schemes = ", ".join(profile.schemes)
    if runtime:
        return f"take a newer runtime, or another scheme: {schemes}"
    used = {index for op in graph.operators for index in (*op.inputs, *op.outputs) if index >= 0}
    if all(_dtype_fits(graph.tensors[index], profile) for index in used):
        # It is in such a scheme already.
        return f"leave out what is named, or take a target that has it ({', '.join(TARGETS)})"
    return f"schemes made for it: {schemes}"


def _reasons(
    operator: Operator, graph: Graph, data: bytes, profile: Profile, runtime: Runtime | None
) -> Iterator[str]:
    """Why an operator does not map."""
    name, version = operator.name, operator.version
    if profile.operators is not None and name not in profile.operators:
        if name != COMPILED_OPERATOR or profile.name != "edgetpu":
            yield f"{profile.name} has no {printable(name)}"
        return
    if name.startswith("CUSTOM:"):
        yield "an operator that is no part of TFLite; export the model with built-in operators"
        return
    if runtime and (refusal := runtime.refusal(name, version)):
        yield refusal
    if profile.tensorflow_lite:
        release = release_of(name, version)
        if release is None or version_key(release) > version_key(profile.tensorflow_lite):
            came = f"came with TensorFlow Lite {release}" if release else "is in no known release"
            yield f"version {version} {came}; {profile.name} knows {profile.tensorflow_lite}"
    for index in dict.fromkeys((*operator.inputs, *operator.outputs)):
        if index >= 0:
            yield from _tensor_reasons(graph.tensors[index], profile)
    entry = (profile.operators or {}).get(name, OperatorProfile())
    for rule in (*profile.all_rules, *entry.rules):
        if reason := RULES[rule](operator, graph, data):
            yield reason


def _tensor_reasons(tensor: Tensor, profile: Profile) -> Iterator[str]:
    what = f"'{printable(tensor.name)}'"
    if not _dtype_fits(tensor, profile):
        yield f"{what} is {tensor.dtype}"
    if not tensor.static_shape:
        yield f"{what} has no fixed shape"
    if profile.inner_axes is not None:
        outer = tensor.shape[: -profile.inner_axes]
        if any(n > 1 for n in outer):
            yield (
                f"{what} {list(tensor.shape)} has more than {profile.inner_axes} axes longer than 1"
            )


def _dtype_fits(tensor: Tensor, profile: Profile) -> bool:
    constant = profile.constant_dtypes if tensor.constant_bytes else frozenset()
    return tensor.dtype in profile.dtypes | constant


def _notes(operator: Operator, profile: Profile) -> Iterator[str]:
    entry = (profile.operators or {}).get(operator.name)
    if entry is None:
        return
    if entry.limits:
        yield f"not checked here: {entry.limits}"
    if entry.runtime:
        yield f"from runtime {entry.runtime} on"
    if entry.documented:
        yield "documented, not tried"


def _problems(graph: Graph, profile: Profile, runtime: Runtime | None) -> Iterator[str]:
    """What stands against the graph as a whole."""
    for index in graph.inputs:
        tensor = graph.tensors[index]
        if not tensor.static_shape or 0 in tensor.shape:
            yield (
                f"input '{printable(tensor.name)}' has the shape {list(tensor.shape)}; "
                "export it with a fixed one"
            )
    if profile.own_output_tensors and len(set(graph.outputs)) < len(graph.outputs):
        yield "two outputs are one tensor; give each its own, or leave one out"
    if profile.operators is not None and graph.subgraph_count > 1:
        yield (
            f"{graph.subgraph_count} subgraphs (control flow, or phases of a hierarchical stack); "
            f"{profile.name} takes one"
        )
    elif runtime:
        # The first subgraph's operators are looked at one by one; here those of the others.
        here = {(operator.name, operator.version) for operator in graph.operators}
        for name, version in dict.fromkeys(graph.operator_codes):
            if (name, version) in here or name.startswith("CUSTOM:"):
                continue
            if refusal := runtime.refusal(name, version):
                yield f"the file names it besides: {printable(refusal)}"
    backend = _BACKENDS.get(runtime.distribution) if runtime else None
    if backend and (failure := known_failure(graph, backend)):
        yield f"{runtime} computes it wrongly: {failure}"


def _graph_notes(graph: Graph, profile: Profile, runtime: Runtime | None) -> Iterator[str]:
    if runtime and (other := runtime.judged_by):
        yield f"{runtime} is not known here; held against {other}, the newest before it that is"
    used = {index for op in graph.operators for index in (*op.inputs, *op.outputs) if index >= 0}
    dtypes = {
        graph.tensors[index].dtype for index in used if not graph.tensors[index].constant_bytes
    }
    if slow := sorted(dtypes & profile.slow_dtypes):
        yield f"{', '.join(slow)}: {profile.slow_reason}"
    if any(signature.key == STEP_SIGNATURE for signature in graph.signatures):
        return
    yield "no signature 'step': this is no step model of edgestep, the check holds all the same"


def _cost(findings: list[OperatorFinding], profile: Profile) -> str | None:
    """What the first operator that does not map costs."""
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


def multiplications(operator: Operator, graph: Graph) -> int:
    """The multiplications of an operator that multiplies by a matrix or a kernel; 0 for the others,
    whose work is small beside."""
    indices = (*operator.outputs[:1], *operator.inputs)
    if not operator.outputs or any(index < 0 for index in indices[:3]):
        return 0
    shapes = [graph.tensors[index].shape for index in indices if index >= 0]
    if len(shapes) < 3 or not all(shapes[:3]) or any(n < 0 for shape in shapes for n in shape):
        return 0
    out, data, weights = shapes[:3]
    if operator.name == "FULLY_CONNECTED":
        return math.prod(out[:-1]) * math.prod(weights)
    if operator.name == "BATCH_MATMUL":
        return math.prod(out) * data[-1]
    if operator.name == "CONV_2D":
        return math.prod(out) * math.prod(weights[1:])
    if operator.name == "DEPTHWISE_CONV_2D":
        return math.prod(out) * math.prod(weights[1:-1])
    if operator.name == "UNIDIRECTIONAL_SEQUENCE_LSTM":
        return sum(math.prod(shape) for shape in shapes[2:] if len(shape) == 2)
    return 0


def _shape(operator: Operator, graph: Graph) -> str:
    if not operator.outputs or operator.outputs[0] < 0:
        return ""
    tensor = graph.tensors[operator.outputs[0]]
    return f"{tensor.dtype} [{', '.join(map(str, tensor.shape))}]"


def printable(text: str) -> str:
    """Text from a file, without characters that a terminal would act on."""
    return "".join(c if c.isprintable() else "?" for c in text)


def format_report(report: TargetReport) -> str:
    """The report for a person to read."""
    runtime = f", {report.runtime}" if report.runtime else ""
    lines = [f"{report.file}: {report.title}{runtime}"]
    rows = [
        (
            str(one.index),
            f"{one.name} v{one.version}",
            one.output,
            {MAPS: "maps", REFUSED: "DOES NOT MAP", AFTER: "on the CPU"}[one.status],
            "; ".join((*one.reasons, *one.notes)),
        )
        for one in report.operators
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    lines += [
        "  ".join(
            cell.rjust(width) if column == 0 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, (*widths, 0), strict=True))
        ).rstrip()
        for row in rows
    ]
    mapped = sum(one.status == MAPS for one in report.operators)
    lines.append(f"{mapped} of {len(report.operators)} operators map")
    first = report.first_refused
    if first and report.cost:
        lines.append(f"first that does not: {first.index}, {first.name}; {report.cost}")
    lines += [f"problem: {problem}" for problem in report.problems]
    lines += [f"note: {note}" for note in report.notes]
    lines.append(f"oldest runtime: {format_oldest(report.oldest_runtimes)}")
    return "\n".join(lines)


def format_oldest(oldest: dict[str, Any]) -> str:
    """The oldest runtimes in words."""
    release = oldest["tensorflow_lite"]
    because = ", ".join(oldest["because"])
    if release:
        first = f"TensorFlow Lite {release} ({because})"
    else:
        first = f"in no known release ({because})" if because else "any"
    found = [
        f"{name} {version}" if version else f"no {name} that was measured"
        for name, version in oldest.items()
        if name not in ("tensorflow_lite", "because")
    ]
    return "; ".join([first, *found])
