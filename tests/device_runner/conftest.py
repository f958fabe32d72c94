"""Real step models of this package's tests, and a workshop that makes bad files out of them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from convert.tflite_editor import TfliteEditor
from device_runner.cli import main
from device_runner.errors import BadModelError
from device_runner.model.golden import GOLDEN_FILE
from device_runner.model.step_file import StepModel, load_step_model, split_step_file


@dataclass(frozen=True)
class Workshop:
    """Makes files out of one real step model, with one thing changed."""

    model: StepModel = field(repr=False)
    data: bytes = field(repr=False)
    members: dict[str, bytes] = field(repr=False)
    folder: Path

    def write(self, data: bytes, name: str = "made.tflite") -> Path:
        """Make a file with these bytes."""
        path = self.folder / name
        path.write_bytes(data)
        return path

    def packed(self, **changes: Any) -> bytes:
        """Return the model packed again, as ``convert.export`` does; ``changes`` are flatbuffer,
        contract, labels, golden or recorded."""
        from device_runner.model.step_file import pack

        model = replace(self.model, **changes)
        return pack(model.flatbuffer, model.contract, model.labels, model.golden, model.recorded)

    def zipped(self, **members: bytes) -> bytes:
        """The model with members of its ZIP replaced; a name is written with _ for the dot."""
        changed = {name.replace("_", "."): content for name, content in members.items()}
        buffer = io.BytesIO()
        buffer.write(self.model.flatbuffer)
        with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, content in {**self.members, **changed}.items():
                archive.writestr(name, content)
        return buffer.getvalue()

    def with_contract(self, **fields: Any) -> bytes:
        """The model with fields of contract.json replaced, whatever their type."""
        raw = json.loads(self.members["contract.json"])
        return self.zipped(contract_json=json.dumps({**raw, **fields}).encode())

    def with_golden(self, **arrays: np.ndarray) -> bytes:
        """The model with arrays of golden.npz replaced, pickled where NumPy must."""
        with np.load(io.BytesIO(self.members[GOLDEN_FILE])) as saved:
            changed = {**saved, **arrays}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **changed)
        return self.zipped(golden_npz=buffer.getvalue())

    def edited_graph(self, edit: Callable[[Any], None]) -> bytes:
        """The flatbuffer after ``edit`` changed the schema's object tree in place."""
        editor = TfliteEditor(self.model.flatbuffer)
        edit(editor.tree)
        return editor.flatbuffer()

    def with_graph(self, edit: Callable[[Any], None]) -> bytes:
        """Return the model packed with an edited graph and the hash that belongs to it."""
        flatbuffer = self.edited_graph(edit)
        digest = hashlib.sha256(flatbuffer).hexdigest()
        contract = replace(self.model.contract, model_sha256=digest)
        return self.packed(flatbuffer=flatbuffer, contract=contract)


@pytest.fixture(scope="session")
def int8_file(step_models) -> Path:
    """A GRU's int8 step model file."""
    return step_models("gru", "int8")


@pytest.fixture(scope="session")
def float32_file(step_models) -> Path:
    """The same GRU's float32 step model file."""
    return step_models("gru", "float32")


@pytest.fixture(scope="session")
def frames(vowels) -> np.ndarray:
    """200 real frames, float32 [steps, inputs]."""
    return np.concatenate(vowels.test.sequences)[:200].astype(np.float32)


@pytest.fixture
def workshop(int8_file, tmp_path) -> Workshop:
    """The int8 model's workshop; it writes into the test's own folder."""
    data = int8_file.read_bytes()
    return Workshop(load_step_model(int8_file), data, split_step_file(data)[1], tmp_path)


@pytest.fixture(scope="session")
def refusal() -> Callable[[Path], str]:
    """The message with which a file is refused: one line that begins with the path."""

    def get(path: Path) -> str:
        with pytest.raises(BadModelError) as caught:
            load_step_model(path)
        message = caught.value.message
        assert message.startswith(str(path))
        assert len(message.splitlines()) == 1
        return message

    return get


@pytest.fixture
def invoke(monkeypatch) -> Callable[..., Result]:
    """Runs a command in this process; Result.stdout and .stderr are apart."""
    # The stream command gives the whole process the pipe behaviour of a shell tool.
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def run(*arguments: object, **options: Any) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments], **options)

    return run


@pytest.fixture(scope="session")
def error_line() -> Callable[[Result], str]:
    """The one "Error: ..." line of a command that failed without a traceback."""

    def get(result: Result) -> str:
        assert isinstance(result.exception, SystemExit), f"a traceback: {result.exception!r}"
        assert result.exit_code != 0
        assert "Traceback" not in result.output
        errors = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
        assert len(errors) == 1, result.stderr
        assert result.stderr.splitlines()[-1] == errors[0], "the message has more than one line"
        return errors[0]

    return get


@pytest.fixture(scope="session")
def run_python() -> Callable[..., subprocess.CompletedProcess]:
    """Runs a Python of its own, which sees neither our PYTHONPATH nor TensorFlow's log."""

    def run(*arguments: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
        removed = ("PYTHONPATH", "PYTHONSAFEPATH")
        environment = {name: value for name, value in os.environ.items() if name not in removed}
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=cwd,
            env={**environment, **variables},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


ADVICE = re.compile(
    r"\b(export (it|the model) again|export or copy|copy (it|them)|check the|check its|name a|"
    r"make (step models|a step model)|use the edgestep)\b"
)


@pytest.fixture(scope="session")
def says_what_to_do() -> Callable[[str], bool]:
    """Whether a message about a model file tells the user what to do."""
    return lambda message: ADVICE.search(message) is not None
