"""Read TOML that may be damaged or made to take long."""

from __future__ import annotations

import re
import sys
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST_TOML_BYTES = 4 * 1024**2
# The reader takes a time that grows with the square of a key's parts.
_PART = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')"""
_LONG_KEY = re.compile(rf"(?<![\w-]){_PART}(?:[ \t]*\.[ \t]*{_PART}){{64}}")


def parse_toml(content: bytes) -> dict[str, Any]:
    """Parse the content of a file of settings.

    Raises:
        ValueError: it is too large, is no TOML, or is made to take long; the message says which.
    """
    if len(content) > LARGEST_TOML_BYTES:
        raise ValueError("is larger than any file of settings")
    try:
        text = content.decode()
        if _LONG_KEY.search(text):
            raise ValueError("a key has more than 64 parts")
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("cannot be read as TOML (it is nested too deeply)") from error
    # Besides its own error, which is one, the reader passes on int()'s for thousands of digits.
    except ValueError as error:
        raise ValueError(f"cannot be read as TOML ({error})") from error
