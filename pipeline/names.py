"""The one rule for names that become files or folders."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

# No separator, no leading dot or dash, nothing that a shell or another file system rejects.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
# Seeds, schemes and suffixes follow it, and file systems stop at 255 bytes.
LONGEST_NAME = 100

FileName = Annotated[str, Field(pattern=NAME_PATTERN, max_length=LONGEST_NAME)]


def as_file_name(text: str) -> str:
    """Make a name of any text: what it must not have becomes a dash."""
    kept = re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[:LONGEST_NAME].lstrip("_.-")
    return kept or "recordings"
