"""Keras is spared its extras, and nobody else is."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_keras_does_without_and_others_do_not(run_python, tmp_path):
    (tmp_path / "keras").mkdir()
    (tmp_path / "keras" / "__init__.py").write_text(
        "try:\n    import sklearn\nexcept ImportError:\n    sklearn = None\n"
    )
    (tmp_path / "sklearn.py").write_text("name = 'the real one'\n")
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from device_runner.keras_imports import leave_out_extras\n"
        "leave_out_extras(); leave_out_extras()\n"
        "import keras, sklearn\n"
        "print(keras.sklearn, sklearn.name, len([f for f in sys.meta_path if 'Keras' in repr(f)]))"
    )
    process = run_python("-c", script, cwd=ROOT)
    assert process.stdout.strip() == "None the real one 1", process.stderr
