"""Damage of bytes, of JSON, of ZIP archives and of text, by a seeded generator."""

from __future__ import annotations

import copy
import io
import json
import math
import random
import sys
import zipfile
from collections.abc import Callable
from typing import Any

from tests.faults.judgement import FORBIDDEN

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEXTS = (
    "", " ", "x", "../../x", "../../../../x", str(FORBIDDEN), "/etc/passwd", "..", ".", "a/b",
    "a\\b", "CON", "x" * 300, "x" * 70_000, "\x1b[2J\x1b]0;owned\x07", "a\nError: b", "\x00", "\r",
    "ü", "\u202eabc", "$(id)", "`id`", "%s%n", "{0.__class__}", "nan", "-1", "--help", "-",
    "[red]x", "<b>",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2, 7, 127, 128, 255, 256, 65_535, 2**31 - 1, 2**31, -(2**31), 2**32, 2**63 - 1, 2**63,
    -(2**63), 10**30, 10**400, 0.5, -0.0, 1e-300, 1e38, 1e308, float("nan"), float("inf"),
    float("-inf"),
)  # fmt: skip
BYTES = (0, 1, 2, 4, 8, 0x7F, 0x80, 0xFE, 0xFF)


def text_of(rng: random.Random) -> str:
    """Any text."""
    if rng.random() < 0.2:
        return "".join(
            chr(rng.choice((rng.randrange(128), rng.randrange(0xD7FF)))) for _ in range(9)
        )
    return rng.choice(TEXTS)


def value_of(rng: random.Random) -> Any:
    """Any value that JSON or a TOML file can hold."""
    kind = rng.randrange(7)
    if kind < 2:
        return text_of(rng)
    if kind < 4:
        return rng.choice(NUMBERS)
    return (None, True, False, [], {}, [[]], {"a": 1}, [1, 2], ["x"], [None], {"": {}})[
        rng.randrange(11)
    ]


def damaged(data: bytes, rng: random.Random, low: int = 0, high: int | None = None) -> bytes:
    """Change bytes between two positions, or cut, lengthen or double the data."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        end = min(len(result), len(result) if high is None else high)
        if end <= low:
            break
        at, size = rng.randrange(low, end), rng.choice((1, 2, 4, 4, 8, 100))
        kind = rng.randrange(10)
        if kind < 3:
            result[at] ^= 1 << rng.randrange(8)
        elif kind < 5:
            result[at] = rng.choice(BYTES)
        elif kind == 5:
            number = rng.choice((0, 1, -1, 2**31 - 1, -(2**31), rng.randrange(-(2**31), 2**31)))
            result[at : at + 4] = (number & 0xFFFFFFFF).to_bytes(4, "little")
        elif kind == 6:
            del result[at : at + size]
        elif kind == 7:
            result[at:at] = rng.randbytes(size)
        elif kind == 8:
            result[at : at + size] = bytes([rng.choice(BYTES)]) * size
        else:
            other = rng.randrange(low, end)
            result[at : at + size] = result[other : other + size]
    if rng.random() < 0.15:
        return bytes(result[: rng.randrange(len(result) + 1)])
    return bytes(result)


def damaged_json(facts: Any, rng: random.Random) -> str:
    """Change, take away or add values of a JSON document, or damage its text."""
    facts = copy.deepcopy(facts)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        _change(facts, rng)
    text = json.dumps(facts, ensure_ascii=rng.random() < 0.8)
    kind = rng.randrange(20)
    if kind == 0:
        place = rng.randrange(len(text))
        text = text[:place] + rng.choice(("[", '{"a":')) * rng.choice((100, 20_000)) + text[place:]
    elif kind == 1:
        text = text[: rng.randrange(len(text))]
    elif kind == 2:
        text = rng.choice(("", "null", "[]", "{}", "5", '"x"', "NaN", "9" * 5000, "[" * 100_000))
    return text


def _change(facts: Any, rng: random.Random) -> None:
    if not facts:
        return
    container, key = facts, _key(facts, rng)
    while isinstance(container[key], dict | list) and container[key] and rng.random() < 0.8:
        container = container[key]
        key = _key(container, rng)
    kind = rng.randrange(6)
    if kind < 3:
        container[key] = value_of(rng)
    elif kind == 3:
        del container[key]
    elif kind == 4 and isinstance(container, dict):
        container[text_of(rng)] = container[key] if rng.random() < 0.5 else value_of(rng)
    elif isinstance(container, list):
        container *= rng.choice((2, 50))
    elif isinstance(container[key], str):
        container[key] += text_of(rng)
    elif isinstance(container[key], int | float):
        container[key] = container[key] * rng.choice((-1, 2, 1000)) + rng.choice((0, 1, -1))


def _key(container: Any, rng: random.Random) -> Any:
    return rng.choice(list(container) if isinstance(container, dict) else range(len(container)))


def damaged_zip(data: bytes, rng: random.Random, inner: Callable[[str, bytes], bytes]) -> bytes:
    """Pack an archive's members again, one of them changed by ``inner`` or the archive itself."""
    if rng.random() < 0.25:
        return damaged(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        start = min(info.header_offset for info in archive.infolist())
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    name = rng.choice(list(members))
    kind = rng.randrange(8)
    if kind < 4:
        members[name] = inner(name, members[name])
    elif kind == 4:
        members[text_of(rng).replace("\0", "0")[:60_000]] = members.pop(name)
    elif kind == 5:
        del members[name]
    elif kind == 6:
        members[rng.choice(("../../x", str(FORBIDDEN), "x"))] = rng.randbytes(50)
    else:
        members[name] = b"\0" * rng.choice((0, 10**6, 10**8))
    way = rng.choice((zipfile.ZIP_DEFLATED,) * 5 + (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2))
    packed = io.BytesIO()
    packed.write(data[:start])
    with zipfile.ZipFile(packed, "a", way, compresslevel=1) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return packed.getvalue()


def damaged_text(text: str, rng: random.Random) -> bytes:
    """Change words, numbers and lines of a TOML file or a table, or its bytes."""
    lines = text.split("\n")
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, kind = rng.randrange(len(lines)), rng.randrange(9)
        line = lines[at]
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(at, rng.choice(lines))
        elif kind < 5 and "=" in line:
            lines[at] = f"{line.partition('=')[0]}= {_toml(value_of(rng))}"
        elif kind < 7:
            cells = line.split(",")
            cells[rng.randrange(len(cells))] = str(value_of(rng))
            lines[at] = ",".join(cells)
        elif kind == 7:
            lines[at] = text_of(rng)
        else:
            lines[at] = line.replace("=", text_of(rng), 1) if "=" in line else line + "," * 9
        lines = lines or [""]
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    if rng.random() < 0.02:
        data = b"a = " + rng.choice((b"[", b"{a=")) * rng.choice((500, 100_000))
    return damaged(data, rng) if rng.random() < 0.2 else data


def damaged_toml(text: str, rng: random.Random) -> bytes:
    """Change, take away or add values of a TOML file, or damage its text."""
    if rng.random() < 0.3:
        return damaged_text(text, rng)
    tables = tomllib.loads(text)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        _change(tables, rng)
    lines = [f"{json.dumps(key)} = {_toml(value)}" for key, value in tables.items()]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _toml(value: Any) -> str:
    """Write a value; TOML has no null."""
    if isinstance(value, dict):
        items = (f"{json.dumps(key)} = {_toml(one)}" for key, one in value.items())
        return "{" + ", ".join(items) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return json.dumps("" if value is None else value)
