"""What a device sends, checked before it is believed: a device may be broken, or not ours."""

from __future__ import annotations

import importlib.resources
import json
import re
from functools import cache
from typing import Any

import jsonschema

from device_runner import strict_json
from device_runner.printable import printable

# A result is some 20 kB; one of a long run with samples kept, a few hundred.
LONGEST_RESULT_BYTES = 8 * 1024**2
SCHEMA_FILE = "result.schema.json"
_EXITED = re.compile(r"exited-(\d{1,3})")


def read_result(line: bytes) -> dict[str, Any]:
    """Read a line of results.jsonl.

    Raises:
        ValueError: it is not a result of ``bench`` in the form of
            ``device_runner/measure/result.schema.json``; the message says in one line why.
    """
    try:
        found = strict_json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
    try:
        problem = next(_validator().iter_errors(found), None)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if problem is not None:
        place = ".".join(map(str, problem.absolute_path))
        raise ValueError(
            printable(f"{place}: {problem.message}" if place else problem.message, 200)
        )
    result: dict[str, Any] = found
    return result


def exit_code(names: dict[str, int]) -> int | None:
    """Return the exit code that a run's folder tells by a file's name; None if it still runs."""
    found = (_EXITED.fullmatch(name) for name in names)
    return next((int(match[1]) for match in found if match), None)


def process_number(content: bytes) -> str:
    """Return the number in the file "pid", or "" if it holds none."""
    text = content.strip()
    return text.decode() if re.fullmatch(rb"\d{1,10}", text) else ""


@cache
def _validator() -> jsonschema.Draft202012Validator:
    folder = importlib.resources.files("device_runner.measure")
    return jsonschema.Draft202012Validator(json.loads((folder / SCHEMA_FILE).read_text()))
