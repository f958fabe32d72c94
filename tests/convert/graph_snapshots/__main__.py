"""Write every snapshot anew, and remove those of what is no more."""

from __future__ import annotations

from tests.conftest import VARIANTS
from tests.convert.graph_snapshots import FOLDER, file_of, snapshots


def main() -> None:
    """Write the files."""
    written = set()
    for cell, options in VARIANTS:
        for scheme, text in snapshots(cell, options).items():
            path = file_of(cell, options, scheme)
            path.write_text(text, encoding="utf-8")
            written.add(path)
    for path in set(FOLDER.glob("*.txt")) - written:
        path.unlink()
    print(f"{len(written)} graphs written to {FOLDER}")


if __name__ == "__main__":
    main()
