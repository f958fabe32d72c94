"""Export a step model as one HTML file that steps it in a browser with libedgestep.

The file holds the library as WebAssembly, the model, its contract and its golden sequences. It
loads nothing from elsewhere, which a content security policy enforces, and needs no network.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.exporters.web_library import FOLDER, web_library
from device_runner.atomic_write import write_atomically
from device_runner.backends import load_backend
from device_runner.errors import MissingRuntimeError
from device_runner.model.step_file import StepModel

SCRIPTS = ("engine.js", "log_mel.js", "sources.js", "page.js")


def export_web(model: StepModel, path: Path) -> int:
    """Write the page.

    Args:
        model: a step model that libedgestep knows.
        path: the HTML file to write.

    Returns:
        The file's size in bytes.

    Raises:
        BadModelError: libedgestep does not know something in the model.
        MissingRuntimeError: libedgestep is not compiled for browsers, and cannot be.
        NotExportableError: its compiler fails.
    """
    # Without the library here, the page says what it thinks of the model when it loads it.
    with contextlib.suppress(MissingRuntimeError):
        load_backend(model, "native")
    page = web_page(model).encode()
    write_atomically(path, page)
    return len(page)


def web_page(model: StepModel) -> str:
    """Return the page's text; errors as :func:`export_web`."""
    style = _asset("page.css")
    script = "\n".join(_asset(name) for name in SCRIPTS)
    parts = {
        "POLICY": _policy(style, script),
        "TITLE": html.escape(model.path.stem),
        "STYLE": style,
        "LIBRARY": _packed(web_library()),
        "MODEL": _packed(model.flatbuffer),
        "FACTS": _packed(json.dumps(page_facts(model), allow_nan=False).encode()),
        "SCRIPT": script,
    }
    # Cut first, so that a part which looks like a place for another one stays as it is.
    return "".join(parts.get(piece, piece) for piece in _asset("page.html").split("@"))


def page_facts(model: StepModel) -> dict[str, Any]:
    """Return what the page knows beside the model: contract, labels, goldens, a summary."""
    contract, golden = model.contract, model.golden
    steps = golden.steps
    outputs = [golden.outputs[spec.name].reshape(steps, -1) for spec in contract.answers]
    names = [
        label if len(contract.answers) == 1 else f"{contract.answers[0].name}: {label}"
        for label in model.labels
    ]
    for spec, values in zip(contract.answers[1:], outputs[1:], strict=True):
        names += [f"{spec.name} {number}" for number in range(values.shape[1])]
    units = "-".join(map(str, contract.units))
    return {
        "contract": contract.to_json(),
        "labels": names,
        "summary": (
            f"{contract.cell} of {units} units, {contract.scheme}, task {contract.task}; "
            f"a step every {1000 * contract.frame_period_s:g} ms; SHA-256 {model.sha256[:16]}"
        ),
        "golden": {
            "lengths": list(golden.lengths),
            "widths": [values.shape[1] for values in outputs],
            "inputs": _floats([golden.inputs[s.name].reshape(steps, -1) for s in contract.inputs]),
            "outputs": _floats(outputs),
        },
    }


def _policy(style: str, script: str) -> str:
    """Allow this style, this script and WebAssembly; no network."""
    hashes = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (style, script)
    ]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; "
        f"script-src 'sha256-{hashes[1]}' 'wasm-unsafe-eval'; "
        "base-uri 'none'; form-action 'none'"
    )


def _floats(arrays: list[NDArray[Any]]) -> str:
    whole = np.concatenate(arrays, axis=1).astype("<f4")
    return base64.b64encode(whole.tobytes()).decode()


def _packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 9)).decode()


def _asset(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
