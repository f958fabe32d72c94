"""Write the contract of an adopted TFLite file, with the file's own outputs as its golden ones."""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from calibration.data import Sequences
from convert.adoption.explicit import ExplicitStep
from convert.errors import SourceModelError
from convert.recording import record_run
from convert.schemes import load_scheme, needs_ranges
from convert.schemes.scheme import FloatStep, ToleranceShare
from convert.schemes.spec import SchemeSpec
from convert.step.contract_fields import contract_fields
from convert.tolerance import held_to, tolerance_of
from device_runner.atomic_write import write_atomically
from device_runner.errors import VerificationError
from device_runner.model.contract import Contract, Tolerance
from device_runner.model.flatbuffer import Graph, read_graph
from device_runner.model.foreign_model import scheme_of
from device_runner.model.golden import Golden
from device_runner.model.graph_checks import check_contract
from device_runner.model.names import STEP_SIGNATURE
from device_runner.model.step_file import StepModel, pack
from device_runner.model.tensor_spec import TOKEN_DTYPE, TOKEN_SHAPE, TensorSpec
from device_runner.operators import OPERATORS
from device_runner.operators.multiply_adds import mean_multiply_adds
from device_runner.stream import Stream
from device_runner.verify import verify
from models.tensorflow_log import quiet

RUNTIME = "ai-edge-litert"
VERSIONED = ("edgestep", RUNTIME, "litert-quantizer")
# A float graph whose states were taken out computes the same but for the order of its sums.
FLOAT_TOLERANCE = 1e-4
RANDOM_WARNING = (
    "the golden inputs are random numbers, not data: they say nothing of real use; adopt the file "
    "again with --data"
)
CALIBRATION_STEPS, CALIBRATION_SEED = 4000, 20


@dataclass(frozen=True)
class AdoptedFacts:
    """What is known of an adopted file.

    Attributes:
        path: of the file.
        step: what was made of it.
        golden: inputs with the file's own outputs.
        data: where the inputs are from; None for random numbers.
        frame_period_s: seconds between two frames; None if unknown.
        labels: what each value of the first output stands for; () if unknown.
        sequences: all sequences, for calibration.
    """

    path: Path
    step: ExplicitStep
    golden: Golden
    data: str | None
    frame_period_s: float | None
    labels: tuple[str, ...]
    sequences: Sequences

    @property
    def spread(self) -> float:
        """Largest minus smallest of the first output."""
        return float(np.ptp(self.golden.y)) or 1.0

    def label_names(self) -> tuple[str, ...]:
        """Return the labels, or numbers in their place.

        Raises:
            SourceModelError: there are more or fewer than outputs.
        """
        count = self.golden.y.shape[-1]
        if self.labels and len(self.labels) != count:
            raise SourceModelError(f"{len(self.labels)} labels are given, the model has {count}")
        return self.labels or tuple(map(str, range(count)))

    def metrics(self) -> dict[str, Any]:
        """Return what the contract says of the file's origin."""
        version = importlib.metadata.version(RUNTIME)
        states = {pair.name: f"{pair.taken} <- {pair.given}, by {pair.how}"
                  for pair in self.step.ports.states}  # fmt: skip
        return {
            "adopted_from": self.path.name,
            "reference": f"as the file itself computes on litert {version}; "
            "not verified against a trained model",
            "names": self.step.names,
            "states": {**states, **dict.fromkeys(self.step.inner, "was kept inside")},
            **({} if self.data else {"calibration_warning": RANDOM_WARNING}),
        }


def checked_specs(
    graph: Graph,
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...], dict[str, int]]:
    """Return the step's inputs and outputs, and the vocabularies of token inputs.

    Raises:
        SourceModelError: an input or output cannot be in a contract.
    """
    signature = graph.signature(STEP_SIGNATURE)
    vocabularies = {}
    for name, index in signature.inputs.items():
        tensor = graph.tensors[index]
        if name in signature.outputs or tensor.dtype in ("float32", "float16") or tensor.scales:
            continue
        rows = _table_rows(graph, index)
        if (tensor.dtype, tensor.shape) != (TOKEN_DTYPE, TOKEN_SHAPE) or rows is None:
            raise SourceModelError(
                f"its input '{tensor.name}' is {tensor.dtype} of shape {list(tensor.shape)}, which "
                "is neither real values nor one token id ([1, 1] int32 that chooses from a table); "
                "convert the model again without it, or with its value fixed"
            )
        vocabularies[name] = rows
    for name, index in (*signature.inputs.items(), *signature.outputs.items()):
        tensor = graph.tensors[index]
        if tensor.dtype not in ("float32", "float16", "int8", "uint8", "int16", "int32", "int64"):
            raise SourceModelError(
                f"its '{tensor.name}' is {tensor.dtype}, which a step cannot take or give; convert "
                "the model again with float32"
            )
        if not tensor.shape:
            raise SourceModelError(
                f"its '{tensor.name}' ({name}) is a single number without an axis; convert the "
                "model again with the shape [1]"
            )
    step = FloatStep(b"", {}, vocabularies=vocabularies)
    fields = contract_fields(graph, step)
    return fields["inputs"], fields["outputs"], vocabularies


def _table_rows(graph: Graph, index: int) -> int | None:
    """Return how many rows the table has that token ids choose from; None if there is none."""
    ids, sizes = {index}, []
    for operator in graph.operators:
        row = OPERATORS.get(operator.name)
        if row is not None and row.passes_ids and operator.inputs[0] in ids:
            ids.update(operator.outputs)
        if operator.name in ("GATHER", "EMBEDDING_LOOKUP"):
            table, chosen = operator.inputs[:2]
            if operator.name == "EMBEDDING_LOOKUP":
                table, chosen = chosen, table
            if chosen in ids and graph.tensors[table].shape:
                sizes.append(graph.tensors[table].shape[0])
    return min(sizes, default=None)


def write_as_it_is(step: FloatStep, facts: AdoptedFacts, path: Path) -> StepModel:
    """Write the step in the numbers that the file has.

    Raises:
        VerificationError: it does not compute what the file does.
    """
    graph = read_graph(step.flatbuffer)
    scheme = scheme_of(graph)
    share = load_scheme("int8" if scheme == "mixed" else scheme)
    exact = scheme in ("float32", "float16", "dynamic")
    limit = ToleranceShare(FLOAT_TOLERANCE, FLOAT_TOLERANCE, 0.0) if exact else share.limit
    draft = _draft(step, facts, scheme, path, tolerance_of(limit, facts.spread, False))
    with quiet():
        stream = Stream(draft, "litert")
    verification = verify(stream)
    if verification.failure:
        raise VerificationError(
            f"{facts.path}: with its states taken out it does not compute what it did "
            f"({verification.failure}), as happens where its recurrent operator rounds to narrow "
            "weights at each step; adopt the float32 file, or bench it as it is"
        )
    least = tolerance_of(share.tolerance, facts.spread, False)
    most = tolerance_of(share.limit, facts.spread, False)
    metrics = {
        **facts.metrics(),
        "error_against_the_file": verification.max_abs / facts.spread,
        "multiply_adds": mean_multiply_adds(draft),
    }
    contract = replace(
        draft.contract, metrics=metrics, tolerance=held_to(least, verification, most)
    )
    recorded = record_run(stream)
    packed = pack(step.flatbuffer, contract, draft.labels, facts.golden, recorded)
    write_atomically(path, packed)
    return replace(draft, contract=contract, file_bytes=len(packed), recorded=recorded)


def write_quantized(
    step: FloatStep, facts: AdoptedFacts, spec: SchemeSpec, path: Path
) -> StepModel:
    """Quantize the float step as our own models, and write it."""
    with quiet():
        from calibration.rollout import long_streams
        from convert.export import export_step
        from convert.step_model_facts import StepModelFacts

        draft = _draft(step, facts, "float32", path, Tolerance(0.0, 0.0, 0.0))
        stream = Stream(draft, "litert")
        found = verify(stream)
    if not found.max_abs <= FLOAT_TOLERANCE * facts.spread:
        raise VerificationError(
            f"{facts.path}: with its states taken out it is off by "
            f"{found.max_abs / facts.spread:.2g} of its output's range from what it did; a file of "
            "narrow weights rounds its inputs at each step, so adopt the float32 file"
        )
    contract = draft.contract
    description = StepModelFacts(
        **{
            name: getattr(contract, name)
            for name in ("task", "cell", "units", "parameters", "channels", "input_units",
                         "frame_period_s", "frame_period_source", "output_meaning",
                         "normalization")
        },
        labels=draft.labels, golden=facts.golden, spread=facts.spread, classifies=False,
        streams=facts.sequences,
        evaluate=lambda stream: {
            **facts.metrics(), "multiply_adds": mean_multiply_adds(stream.model)
        },
    )  # fmt: skip
    ranges = None
    if needs_ranges(spec):
        with quiet():
            streams = long_streams(facts.sequences, CALIBRATION_STEPS, CALIBRATION_SEED)
            ranges = step.calibrate(streams)
    return export_step(step, description, spec, path, ranges)


def _draft(
    step: FloatStep, facts: AdoptedFacts, scheme: str, path: Path, tolerance: Tolerance
) -> StepModel:
    """Make the step model that has no metrics and no file yet."""
    graph = read_graph(step.flatbuffer)
    fields = contract_fields(graph, step)
    first = fields["inputs"][0]
    channels = math.prod(first.frame_shape)
    installed = {one for one in VERSIONED if _is_installed(one)}
    contract = Contract(
        **fields,
        task=facts.path.stem,
        cell="adopted",
        units=tuple(state.shape[-1] for state in fields["states"] if state.shape),
        scheme=scheme,
        frame_period_s=facts.frame_period_s or 1.0,
        frame_period_source="given at adoption"
        if facts.frame_period_s
        else "not given; 1 s stands for it",
        channels=("token",) if first.vocabulary else tuple(map(str, range(channels))),
        input_units="",
        output_meaning="values",
        normalization={},
        metrics={},
        parameters=_parameters(graph),
        tolerance=tolerance,
        model_sha256=hashlib.sha256(step.flatbuffer).hexdigest(),
        versions={name: importlib.metadata.version(name) for name in sorted(installed)},
    )
    contract.validate()
    check_contract(graph, contract)
    labels = facts.label_names()
    return StepModel(path, step.flatbuffer, 0, graph, contract, labels, facts.golden)


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _parameters(graph: Graph) -> int:
    """Count the values of all constants that hold real values."""
    return sum(
        math.prod(tensor.shape)
        for tensor in graph.tensors
        if tensor.constant_bytes and (tensor.scales or tensor.dtype in ("float32", "float16"))
    )
