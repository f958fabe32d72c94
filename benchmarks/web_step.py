"""What a step costs in WebAssembly, with and without vectors, beside the same C on this machine.

Nanoseconds of one step of stored bytes, one thread: the least of the means of interleaved rounds,
which a busy machine disturbs least. Node runs the code of 'edgestep export-web' in the engine that
Chromium has, too.

    python benchmarks/web_step.py FILE... [--rounds 101]
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import click
import numpy as np
from native_library import Steps

from convert.exporters.web_library import FOLDER, compile_library, web_library
from device_runner.model.step_file import StepModel, load_step_model

ROUND_MS, WARM_MS, FRAMES = 2, 1500, 64
SCRIPT = Path(__file__).with_suffix(".mjs")


def in_browser(model: StepModel, plain: bytes, rounds: int, folder: Path) -> dict[str, float]:
    """Return the least times of both libraries, by name."""
    node = shutil.which("node")
    if node is None:
        raise click.ClickException("this benchmark needs node (apt install nodejs)")
    libraries = {"vectors": folder / "vectors.wasm", "plain": folder / "plain.wasm"}
    libraries["vectors"].write_bytes(web_library())
    libraries["plain"].write_bytes(plain)
    (folder / "model").write_bytes(model.flatbuffer)
    requests = {
        "flatbuffer": str(folder / "model"), "contract": model.contract.to_json(),
        "libraries": {name: str(path) for name, path in libraries.items()},
        "rounds": rounds, "round_ms": ROUND_MS, "warm_ms": WARM_MS,
    }  # fmt: skip
    (folder / "requests").write_text(json.dumps(requests))
    done = subprocess.run(
        [node, SCRIPT, FOLDER / "engine.js", folder / "requests"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return {name: min(times) for name, times in json.loads(done.stdout).items()}


def native(path: Path, model: StepModel, rounds: int) -> float:
    """Return the least time of the library on this machine."""
    spec, generator = model.contract.input, np.random.default_rng(8)
    values = np.round(generator.normal(0, 40, (FRAMES, *spec.shape)))
    steps = Steps(path, values.astype(spec.dtype).tobytes())
    return min(steps.nanoseconds() for _ in range(20 * rounds))


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--rounds", default=101, show_default=True)
def main(files: tuple[Path, ...], rounds: int) -> None:
    """Print a table."""
    plain = compile_library("-DES_NO_WASM")
    click.echo("| model | plain | vectors | native | times faster by vectors | of native |")
    click.echo("|---|---|---|---|---|---|")
    for path in files:
        model = load_step_model(path)
        with tempfile.TemporaryDirectory(prefix="edgestep-web-") as folder:
            found = in_browser(model, plain, rounds, Path(folder))
        here = native(path, model, rounds)
        click.echo(
            f"| {path.stem} | {found['plain']:,.0f} | {found['vectors']:,.0f} | {here:,.0f} | "
            f"{found['plain'] / found['vectors']:.1f} | {found['vectors'] / here:.1f} |"
        )


if __name__ == "__main__":
    main()
