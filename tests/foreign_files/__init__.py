"""TFLite files as others make them, with TensorFlow's own converter; random weights.

``python -m tests.foreign_files`` writes them anew.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def foreign_file(name: str) -> Path:
    """Return the path of a file by its name without the ending."""
    return FOLDER / f"{name}.tflite"
