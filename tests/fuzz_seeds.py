"""Write what libFuzzer starts from: small step models, whole and in parts.

native/tests/fuzz_loader.c reads them.

    python -m tests.fuzz_seeds FOLDER [--operators]

``--operators`` adds a graph for each operator, in float32 and, where it can be, in int8; it needs
TensorFlow.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from device_runner.model.contract import CONTRACT_FILE
from device_runner.model.step_file import split_step_file
from tests.conftest import KEPT_STEP_MODELS

# Inputs that libFuzzer found, and that were mended.
FOUND = Path(__file__).parent / "fuzz_inputs"


def in_parts(flatbuffer: bytes, contract: bytes) -> bytes:
    """Join a model's parts as the fuzzer reads them."""
    return b"PART" + struct.pack("<I", len(flatbuffer)) + flatbuffer + contract


def kept() -> Iterator[tuple[str, bytes]]:
    """The step models that are kept in the repository, by name."""
    for path in sorted(KEPT_STEP_MODELS.glob("*.tflite")):
        whole = path.read_bytes()
        flatbuffer, members = split_step_file(whole)
        yield path.stem, whole
        yield f"{path.stem}-parts", in_parts(flatbuffer, members[CONTRACT_FILE])
    for path in sorted(FOUND.iterdir()):
        yield path.name, path.read_bytes()


def of_operators(folder: Path) -> Iterator[tuple[str, bytes]]:
    """A small graph for each operator, by name."""
    import click

    from convert.schemes import apply_scheme, parse_scheme
    from convert.schemes.scheme import FloatStep
    from tests.operator_graphs import GRAPHS, operator_flatbuffer, operator_model, random_frames

    for number, name in enumerate(GRAPHS):
        step = FloatStep(operator_flatbuffer(name), {"h": 1.0})
        forms = {"float32": step.flatbuffer}
        for scheme in ("int8", "int16x8"):
            try:
                forms[scheme] = apply_scheme(
                    parse_scheme(scheme), step, step.calibrate([random_frames(60)])
                )
            except click.ClickException as error:
                print(f"{name}: not in {scheme} ({error.message[:80]})", file=sys.stderr)
        for scheme, flatbuffer in forms.items():
            contract = operator_model(name, folder, flatbuffer).contract
            yield f"operator-{number}-{scheme}", in_parts(flatbuffer, contract.to_json().encode())


def main(folder: str, *options: str) -> None:
    """Write the seeds, one file each."""
    into = Path(folder)
    into.mkdir(parents=True, exist_ok=True)
    seeds = list(kept())
    if "--operators" in options:
        seeds += of_operators(into)
    for name, content in seeds:
        (into / name).write_bytes(content)
    print(f"{len(seeds)} seeds in {into}")


if __name__ == "__main__":
    main(*sys.argv[1:])
