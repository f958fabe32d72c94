"""Tell whether a target takes an operator, a tensor and a graph, and why not.

A file may hold anything, so characters that a terminal would act on are removed before printing.
"""

from __future__ import annotations

from collections.abc import Iterator

from convert.targets.operator_rules import OPERATOR_RULES
from convert.targets.profile import OperatorProfile, Profile
from convert.targets.runtimes import LITERT, Runtime, release_of, version_key
from device_runner.backends.known_failures import known_failure
from device_runner.errors import BadModelError
from device_runner.model.flatbuffer import Graph, Operator, Tensor
from device_runner.model.foreign_model import check_variables
from device_runner.model.names import STEP_SIGNATURE
from device_runner.operators import OPERATORS
from device_runner.printable import printable

# Backends by distribution, to look up their known failures.
_BACKENDS = {"tflite-runtime": "tflite-runtime", LITERT: "litert"}


def operator_reasons(
    operator: Operator, graph: Graph, data: bytes, profile: Profile, runtime: Runtime | None
) -> Iterator[str]:
    """Give the reasons why an operator does not map; none if it does."""
    name, version = operator.name, operator.version
    if profile.operators is not None and name not in profile.operators:
        if name != profile.compiled_operator:
            yield f"{profile.name} has no {printable(name)}"
        return
    if name.startswith("CUSTOM:"):
        yield "an operator that is not part of TFLite; export the model with built-in operators"
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
            kernel = index == _kernel(operator)
            yield from _tensor_reasons(graph.tensors[index], profile, kernel)
    entry = (profile.operators or {}).get(name, OperatorProfile())
    for rule in (*profile.all_rules, *entry.rules):
        if reason := OPERATOR_RULES[rule](operator, graph, data):
            yield reason


def _kernel(operator: Operator) -> int | None:
    """Return the tensor of an operator's weights, if it has some."""
    row = OPERATORS.get(operator.name)
    if row is None or row.matrix is None or row.matrix >= len(operator.inputs):
        return None
    return operator.inputs[row.matrix]


def _tensor_reasons(tensor: Tensor, profile: Profile, kernel: bool) -> Iterator[str]:
    what = f"'{printable(tensor.name)}'"
    if not dtype_fits(tensor, profile):
        yield f"{what} is {tensor.dtype}"
    if not tensor.static_shape and not profile.open_shapes:
        yield f"{what} has no fixed shape"
    # A convolution's weights have four axes wherever there are convolutions.
    if profile.inner_axes is not None and not kernel:
        outer = tensor.shape[: -profile.inner_axes]
        if any(n > 1 for n in outer):
            yield (
                f"{what} {list(tensor.shape)} has more than {profile.inner_axes} axes longer than 1"
            )


def dtype_fits(tensor: Tensor, profile: Profile) -> bool:
    """Tell whether a target takes a tensor's dtype, in a constant or in a computed tensor."""
    constant = profile.constant_dtypes if tensor.constant_bytes else frozenset()
    return tensor.dtype in profile.dtypes | constant


def operator_notes(operator: Operator, profile: Profile) -> Iterator[str]:
    """Say what else a user should know about an operator."""
    entry = (profile.operators or {}).get(operator.name)
    if entry is None:
        return
    if entry.limits:
        yield f"not checked here: {entry.limits}"
    if entry.runtime:
        yield f"from runtime {entry.runtime} on"
    if entry.documented:
        yield "documented, not tried"


def graph_problems(graph: Graph, profile: Profile, runtime: Runtime | None) -> Iterator[str]:
    """Give the problems of the graph as a whole."""
    for index in graph.inputs:
        tensor = graph.tensors[index]
        if (not tensor.static_shape and not profile.open_shapes) or 0 in tensor.shape:
            yield (
                f"input '{printable(tensor.name)}' has the shape {list(tensor.shape)}; "
                "export it with a fixed one"
            )
    dtypes = {tensor.dtype for tensor in used_tensors(graph) if not tensor.constant_bytes}
    if "float32" in dtypes - profile.dtypes and dtypes & {"int8", "int16"} & profile.dtypes:
        yield f"a mixed graph: parts stay in float32, {profile.name} takes whole integer graphs"
    if profile.own_output_tensors and len(set(graph.outputs)) < len(graph.outputs):
        yield "two outputs are one tensor; give each its own, or leave one out"
    try:
        check_variables(graph)
    except BadModelError as error:
        yield error.message
    stepped = {signature.subgraph for signature in graph.signatures}
    if profile.operators is not None and (
        len(stepped) > 1 or (graph.subgraph_count > 1 and not profile.control_flow)
    ):
        yield (
            f"{graph.subgraph_count} subgraphs (control flow, or phases of slow layers); "
            f"{profile.name} takes one"
        )
    elif profile.operators is not None and graph.subgraph_count > 1:
        # The first subgraph's operators are checked one by one; these are the others'.
        used = {operator.name for operator in graph.operators}
        for name in dict.fromkeys(name for name, _ in graph.operator_codes):
            if name not in used and name not in profile.operators:
                yield f"{profile.name} has no {printable(name)}, which a further subgraph uses"
    elif runtime:
        # The first subgraph's operators are checked one by one; these are the others'.
        here = {(operator.name, operator.version) for operator in graph.operators}
        for name, version in dict.fromkeys(graph.operator_codes):
            if (name, version) in here or name.startswith("CUSTOM:"):
                continue
            if refusal := runtime.refusal(name, version):
                yield f"the file names it besides: {printable(refusal)}"
    backend = _BACKENDS.get(runtime.distribution) if runtime else None
    if backend and (failure := known_failure(graph, backend)):
        yield f"{runtime} computes it wrongly: {failure}"


def graph_notes(graph: Graph, profile: Profile, runtime: Runtime | None) -> Iterator[str]:
    """Say what else a user should know about a graph."""
    if runtime and (other := runtime.judged_by):
        yield f"{runtime} is not known here; held against {other}, the newest before it that is"
    dtypes = {tensor.dtype for tensor in used_tensors(graph) if not tensor.constant_bytes}
    if slow := sorted(dtypes & profile.slow_dtypes):
        yield f"{', '.join(slow)}: {profile.slow_reason}"
    if any(signature.key == STEP_SIGNATURE for signature in graph.signatures):
        return
    yield "no signature 'step': this is not a step model of edgestep; the check holds all the same"


def used_tensors(graph: Graph) -> list[Tensor]:
    """List the tensors that an operator reads or writes."""
    used = {index for op in graph.operators for index in (*op.inputs, *op.outputs) if index >= 0}
    return [graph.tensors[index] for index in sorted(used)]
