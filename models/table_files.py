"""Check files of tables before they become tables."""

from __future__ import annotations

from pathlib import Path

from models.errors import ModelsError

# What a packed table may take: a column of one number takes no bytes in its file.
UNPACKED_BYTES = 256 * 1024**2
UNPACKED_TIMES = 100


def check_parquet(path: Path) -> list[str]:
    """Count what a table would take before it is made.

    Returns:
        The names of its columns of text.

    Raises:
        ImportError: pyarrow is not installed.
        ModelsError: it would take far more than its file, or a column holds lists.
        pyarrow.ArrowException, OSError: it is damaged, or cannot be read.
    """
    import pyarrow.parquet

    facts = pyarrow.parquet.read_metadata(path)
    columns = [facts.schema.column(number) for number in range(facts.num_columns)]
    if nested := next((one.path for one in columns if one.max_repetition_level), None):
        raise ModelsError(f"{path}: the column '{nested[:50]}' holds lists, not numbers")
    widest = max((one.length or 0 for one in columns), default=0)
    size = facts.num_rows * facts.num_columns * max(8, widest)
    groups = map(facts.row_group, range(facts.num_row_groups))
    size += sum(max(0, group.total_byte_size) for group in groups)
    limit = max(UNPACKED_BYTES, UNPACKED_TIMES * path.stat().st_size)
    if size > limit:
        raise ModelsError(
            f"{path}: its table would take {size:,} bytes, {limit:,} at most; cut it into files"
        )
    return [one.path for one in columns if one.physical_type == "BYTE_ARRAY"]


def is_number(text: str) -> bool:
    """Tell whether a text reads as a number, as the first line of a table must not."""
    try:
        float(text)
    except ValueError:
        return False
    return True
