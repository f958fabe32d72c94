"""Check .npy and .npz files before NumPy makes arrays of them.

A small file can claim, or unpack to, arrays of gigabytes. What its headers say is counted first.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import numpy as np

# What all arrays of a packed file may take: zeros pack a thousandfold, real data a few times.
UNPACKED_BYTES = 1024**3
UNPACKED_TIMES = 32
# Others need memory of their own to unpack, up to 4 GB, and NumPy writes none of them.
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def check_array_file(path: str | Path) -> None:
    """Check the .npy or .npz file of a user's data; other files are not looked at.

    Raises:
        ValueError: an array is larger than its bytes, or all of them are too large.
    """
    size = os.stat(path).st_size
    with open(path, "rb") as file:
        head = file.read(6)
        file.seek(0)
        if head.startswith(b"PK"):
            check_npz(file, max(UNPACKED_BYTES, UNPACKED_TIMES * size))
        elif head == b"\x93NUMPY":
            _check_array(file, size, str(path))


def check_npz(data: bytes | IO[bytes], limit: int, wanted: Collection[str] | None = None) -> None:
    """Check the arrays of a .npz file from their headers.

    Args:
        limit: the most bytes that all arrays together may take.
        wanted: names of the arrays that will be read; None for all.

    Raises:
        ValueError, zipfile.BadZipFile: they take more, or it is damaged.
    """
    total = 0
    with zipfile.ZipFile(io.BytesIO(data) if isinstance(data, bytes) else data) as archive:
        for info in archive.infolist():
            if wanted is not None and info.filename.removesuffix(".npy") not in wanted:
                continue
            if info.compress_type not in PACKINGS:
                raise ValueError(f"'{info.filename[:60]}' is packed in a way that NumPy never uses")
            total += info.file_size
            if total > limit:
                raise ValueError(f"its arrays would unpack to {total:,} bytes, {limit:,} at most")
            if info.filename.endswith(".npy"):
                with archive.open(info) as member:
                    _check_array(member, info.file_size, info.filename)


def _check_array(file: IO[bytes], size: int, name: str) -> None:
    """Check that an array's shape and dtype fit the bytes that there are."""
    formats: Any = np.lib.format
    version = formats.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"'{name[:60]}' has the unknown format {version}")
    read = formats.read_array_header_1_0 if version == (1, 0) else formats.read_array_header_2_0
    shape, _, dtype = read(file)
    needed = math.prod(shape) * dtype.itemsize
    if any(length < 0 for length in shape) or (needed > size and not dtype.hasobject):
        raise ValueError(
            f"'{name[-60:]}' claims {needed:,} bytes (shape {shape[:8]}), its file has {size:,}"
        )
