"""Read and write a step model's file: a TFLite flatbuffer with a ZIP appended.

The ZIP (the TFLite Metadata convention for associated files; interpreters ignore it) holds

- ``contract.json``: the fields of :class:`device_runner.model.contract.Contract`;
- ``labels.txt``: what each value of the first output stands for, one per line;
- ``golden.npz``: real sequences with the float model's outputs
  (:class:`device_runner.model.golden.Golden`);
- ``recorded.bin``, if its numbers are integers: what the exporting runtime computed on seeded steps
  (:class:`device_runner.model.recorded_run.RecordedRun`). Older files have none.

Everything is checked before a runtime sees the file.
"""

from __future__ import annotations

import functools
import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

from device_runner.errors import BadModelError
from device_runner.model.array_files import PACKINGS
from device_runner.model.contract import CONTRACT_FILE, Contract
from device_runner.model.file_kinds import TFLITE, kind_of_bytes, other_kind
from device_runner.model.flatbuffer import Graph, read_graph
from device_runner.model.golden import GOLDEN_FILE, Golden, golden_bytes, read_golden
from device_runner.model.graph_checks import check_contract, check_phases, phase_graphs
from device_runner.model.recorded_run import RECORDED_FILE, RecordedRun, can_be_recorded

LABELS_FILE = "labels.txt"
MEMBERS = (CONTRACT_FILE, LABELS_FILE, GOLDEN_FILE, RECORDED_FILE)
# No step model has larger members; the limit keeps a hostile ZIP from filling the memory.
MEMBER_LIMIT_BYTES = 64 * 1024 * 1024
# With a fixed date, equal models give equal files.
ZIP_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class StepModel:
    """A step model file, read and checked.

    Args:
        path: where it was read from, or will be written.
        flatbuffer: what a runtime loads.
        file_bytes: size of the whole file.
        graph: the subgraph of the signature "step".
        contract: what the model promises.
        labels: what each value of the first output stands for.
        golden: sequences to verify a device with.
        recorded: what the exporting runtime computed on seeded steps; None if it was not recorded.
        unverified: why there is nothing to verify it with, in words; None for a step model. Then
            the contract is made up from the graph, and ``golden`` holds inputs alone.

    Example::

        model = load_step_model("gru-64-s1-int8.tflite")
        print(model.contract.frame_period_s, model.labels)
    """

    path: Path
    flatbuffer: bytes
    file_bytes: int
    graph: Graph
    contract: Contract
    labels: tuple[str, ...]
    golden: Golden
    unverified: str | None = None
    recorded: RecordedRun | None = None

    @property
    def sha256(self) -> str:
        """Hash of the flatbuffer, by which results name the model."""
        return self.contract.model_sha256

    def require_one_phase(self, reader: str) -> None:
        """Raise BadModelError for a reader that only knows "step", if there are other phases."""
        if len(self.contract.phases) > 1:
            raise BadModelError(
                f"{self.path} has a signature for each phase of its slow layers, which "
                f"{reader} cannot choose from; step it with litert, tflite-runtime, tensorflow "
                "or reference, or train it with periods and strides in time of 1"
            )

    def require_no_window(self, reader: str) -> None:
        """Raise BadModelError for a reader that cannot begin a row of a state anew."""
        if self.contract.window is not None:
            raise BadModelError(
                f"{self.path} answers for its last frames, which {reader} does not keep count of; "
                "step it with litert, tflite-runtime, tensorflow or reference, or convert the "
                "model with --carry"
            )

    def require_one_row(self, reader: str) -> None:
        """Raise BadModelError for a reader that steps one stream, if a call steps several."""
        if self.contract.rows > 1:
            raise BadModelError(
                f"{self.path} steps {self.contract.rows} streams a call, and {reader} takes one; "
                "use the file of one row that it was made of"
            )

    @functools.cached_property
    def phase_graphs(self) -> dict[str, Graph]:
        """The graph of each signature that steps, by its name."""
        return phase_graphs(self.flatbuffer, self.graph, self.contract)


def read_bytes(path: str | Path) -> bytes:
    """Read a model file's bytes.

    Raises:
        BadModelError: the file cannot be read, or is empty.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise BadModelError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise BadModelError(f"{path} is a folder; name a .tflite file in it") from None
    except OSError as error:
        raise BadModelError(
            f"{path}: cannot be read ({error.strerror}); check its permissions"
        ) from None
    if not data:
        raise BadModelError(f"{path} is empty; export or copy it again")
    kind = kind_of_bytes(data, Path(path).suffix)
    if kind is not None and kind is not TFLITE:
        raise BadModelError(other_kind(path, "a TFLite file", kind))
    return data


def load_step_model(path: str | Path) -> StepModel:
    """Read a step model file and check it against its contract.

    Raises:
        BadModelError: the file is missing, damaged or without a contract, or its tensors are not
            what the contract says. The message begins with the path.
    """
    data = read_bytes(path)
    try:
        read_graph(data)
        flatbuffer, members = split_step_file(data)
        graph = read_graph(flatbuffer)
        contract = Contract.from_json(_text(members, CONTRACT_FILE))
        digest = hashlib.sha256(flatbuffer).hexdigest()
        if digest != contract.model_sha256:
            raise BadModelError(
                "the model's bytes are not those that the contract was made for "
                "(SHA-256 differs); export or copy it again"
            )
        check_contract(graph, contract)
        check_phases(phase_graphs(flatbuffer, graph, contract), contract)
        # Not splitlines(): a label may hold what that takes for a line end.
        text = _text(members, LABELS_FILE).removesuffix("\n")
        # Counted before there is a string for each.
        if (count := text.count("\n") + 1) != (outputs := contract.answers[0].shape[-1]):
            raise BadModelError(f"{count} labels for {outputs} outputs; export the model again")
        labels = tuple(text.split("\n"))
        golden = read_golden(_member(members, GOLDEN_FILE), contract)
        recorded = _recorded(members, contract)
    except BadModelError as error:
        raise BadModelError(f"{path}: {error.message}") from error
    return StepModel(
        Path(path), flatbuffer, len(data), graph, contract, labels, golden, recorded=recorded
    )


def has_contract(data: bytes) -> bool:
    """Tell whether a file is, or once was, a step model; another TFLite file has no contract.

    A file whose ZIP was cut off or changed still holds the name of a member."""
    return any(name.encode() in data for name in (CONTRACT_FILE, GOLDEN_FILE))


def split_step_file(data: bytes) -> tuple[bytes, dict[str, bytes]]:
    """Cut a step model file into the flatbuffer and the members of the appended ZIP, by name.

    Raises:
        BadModelError: there is no ZIP, or it is damaged or hostile.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            start = min((info.header_offset for info in infos), default=len(data))
            members = {
                info.filename: _unpacked(archive, info)
                for info in infos
                if info.filename in MEMBERS
            }
    except BadModelError:
        raise
    except (
        zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError
    ) as error:  # fmt: skip
        if not has_contract(data):
            raise BadModelError(
                "no step contract in the file: edgestep did not make it; make a step model of it "
                "with 'edgestep adopt', or take it as it is with bench and inspect"
            ) from error
        raise BadModelError(
            f"no step contract in the file ({error}); "
            "make step models with 'edgestep run', and copy them whole"
        ) from error
    except Exception as error:  # zlib.error and LZMAError have no public base class
        if type(error).__module__ not in ("zlib", "_lzma"):
            raise
        raise BadModelError(f"the step contract is damaged ({error}); copy it again") from error
    return data[:start], members


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.file_size > MEMBER_LIMIT_BYTES:
        raise BadModelError(
            f"the contract's {info.filename} would unpack to {info.file_size} bytes; "
            "this is not a step model; make step models with 'edgestep run'"
        )
    if info.compress_type not in PACKINGS:
        raise BadModelError(
            f"the contract's {info.filename} is packed in a way that step models are not; "
            "make step models with 'edgestep run'"
        )
    with archive.open(info) as member:
        # Reads no more than declared, whatever the compressed data says.
        return member.read(info.file_size)


def _recorded(members: dict[str, bytes], contract: Contract) -> RecordedRun | None:
    if RECORDED_FILE not in members:
        return None
    if not can_be_recorded(contract):
        raise BadModelError(
            f"{RECORDED_FILE} is for integers, the contract has others; export the model again"
        )
    return RecordedRun.from_bytes(members[RECORDED_FILE])


def _member(members: dict[str, bytes], name: str) -> bytes:
    if name not in members:
        raise BadModelError(f"no {name} in the file; make step models with 'edgestep run'")
    return members[name]


def _text(members: dict[str, bytes], name: str) -> str:
    try:
        return _member(members, name).decode()
    except UnicodeDecodeError as error:
        raise BadModelError(f"{name} is not text ({error}); export the model again") from error


def pack(
    flatbuffer: bytes,
    contract: Contract,
    labels: tuple[str, ...],
    golden: Golden,
    recorded: RecordedRun | None = None,
) -> bytes:
    """Make the bytes of a step model file, which :func:`load_step_model` reads.

    Args:
        flatbuffer: the TFLite model whose hash the contract has.
        contract, labels, golden, recorded: as in :class:`StepModel`.
    """
    members = {
        CONTRACT_FILE: contract.to_json().encode(),
        LABELS_FILE: "\n".join(labels).encode(),
        GOLDEN_FILE: golden_bytes(golden, contract.tolerance),
    }
    if recorded is not None:
        members[RECORDED_FILE] = recorded.to_bytes()
    packed = io.BytesIO()
    packed.write(flatbuffer)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, ZIP_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return packed.getvalue()
