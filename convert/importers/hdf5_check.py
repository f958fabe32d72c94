"""Read an HDF5 file whole before a loader sees it.

The HDF5 library can crash on a damaged file, so the file is first read in a process of its own. Run
as ``python -m convert.importers.hdf5_check FILE [MEMBER]`` (MEMBER of a ZIP), it prints what it
found as JSON, or ``refused`` and the reason.
"""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from convert.errors import SourceModelError
from convert.own_process import module_command

TIME_LIMIT_S = 120
OBJECT_LIMIT = 100_000
# The most bytes that all weights together may have.
BYTE_LIMIT = 2 * 1024**3
# They may be so much more than what the file stores of them.
UNPACKED_BYTES, RATIO_LIMIT = 16 * 1024**2, 200


def check_hdf5(path: Path, member: str | None = None) -> dict[str, Any]:
    """Read an HDF5 file and say what it holds.

    Returns:
        ``attributes``: the texts among its root's attributes; ``largest``: the longest axis of its
        weights.

    Raises:
        SourceModelError: it cannot be read, links to other files, or holds something that is not
            a weight.
    """
    command = [*module_command("convert.importers.hdf5_check"), str(path)]
    try:
        process = subprocess.run(
            [*command, member] if member else command,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SourceModelError(f"its weights take longer than {TIME_LIMIT_S} s to read") from None
    try:
        answer = json.loads(process.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise SourceModelError(
            f"its weights are damaged: reading them ended with exit code {process.returncode}"
        ) from None
    if "refused" in answer:
        raise SourceModelError(f"its weights are {answer['refused']}")
    return dict(answer)


def _read(source: Any) -> dict[str, Any]:
    import h5py

    with h5py.File(source, "r") as file:
        attributes = {}
        for key, value in file.attrs.items():
            if isinstance(value, bytes):
                value = value.decode()
            if isinstance(value, str):
                attributes[key] = value
        largest, total, stored = 1, 0, 0
        left, seen = [file], {h5py.h5o.get_info(file.id).addr}
        while left:
            group = left.pop()
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError(f"linked to another place at '{name[:60]}'")
                item = group[name]
                address = h5py.h5o.get_info(item.id).addr
                if address in seen:
                    raise ValueError(f"in a circle at '{name[:60]}'")
                seen.add(address)
                if len(seen) > OBJECT_LIMIT:
                    raise ValueError("too many for a model")
                if isinstance(item, h5py.Group):
                    left.append(item)
                    continue
                total += max(item.size, math.prod(item.chunks or ())) * item.dtype.itemsize
                if item.external or item.is_virtual:
                    raise ValueError(f"kept in other files at '{name[:60]}'")
                if item.dtype.kind not in "fiub":
                    raise ValueError(f"not numbers at '{name[:60]}'")
                stored += item.id.get_storage_size()
                if total > BYTE_LIMIT:
                    raise ValueError(f"more than {BYTE_LIMIT // 1024**3} GiB")
                # A set without storage, or one that is packed, can be any size in a small file.
                if total > UNPACKED_BYTES + RATIO_LIMIT * stored:
                    raise ValueError(f"{total:,} bytes that are made of {stored:,} in the file")
                item[()]
                largest = max(largest, *item.shape) if item.shape else largest
    return {"attributes": attributes, "largest": largest}


def _main(path: str, member: str | None = None) -> dict[str, Any]:
    try:
        if member is None:
            return _read(path)
        with zipfile.ZipFile(path) as archive:
            return _read(io.BytesIO(archive.read(member)))
    except ValueError as error:
        return {"refused": str(error)}
    except Exception as error:  # of any type: the file is at fault
        return {
            "refused": f"damaged ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        }


if __name__ == "__main__":
    print(json.dumps(_main(*sys.argv[1:])))
