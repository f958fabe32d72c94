"""A step model as C: the generated state loop compiled and run with a real interpreter behind its
interface, the array read back, the example compiled against a fake of TensorFlow Lite Micro."""

from __future__ import annotations

import ctypes
import importlib.util
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from convert.exporters.c import export_c
from convert.exporters.c_source import C_TYPES, c_literal, c_string, c_texts
from device_runner.model.names import STEP_SIGNATURE
from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream
from pipeline.cli import main
from tests.windowed_steps import frames as random_frames
from tests.windowed_steps import windowed, windowed_model

needs_micro = pytest.mark.skipif(
    importlib.util.find_spec("tflite_micro") is None,
    reason="tflite-micro is not installed (extra 'micro')",
)
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O2")
INVOKE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class Loop:
    """The compiled state loop, with a stepping function behind its interface."""

    def __init__(self, folder: Path, prefix: str, model) -> None:
        library = folder / f"{prefix}.so"
        sources = [folder / f"{prefix}_model.c", folder / f"{prefix}_step.c"]
        command = ["gcc", *STRICT, "-shared", "-fPIC", "-o", library, *sources, "-lm"]
        subprocess.run([str(part) for part in command], check=True)
        self.library = ctypes.CDLL(str(library))
        self.prefix, self.model = prefix, model
        graph, signature = model.graph, model.graph.signature(STEP_SIGNATURE)
        self.inputs = {
            name: np.zeros(graph.tensors[index].shape, graph.tensors[index].dtype)
            for name, index in signature.inputs.items()
        }
        self.outputs = {
            name: np.zeros(graph.tensors[index].shape, graph.tensors[index].dtype)
            for name, index in signature.outputs.items()
        }
        self.fails = False
        memory = Stream(model, "litert").backend.memories[STEP_SIGNATURE]

        def invoke(_) -> int:
            if self.fails:
                return 7
            for name, array in self.inputs.items():
                memory.inputs[name][:] = array.tobytes()
            memory.invoke()
            for name, out in self.outputs.items():
                out[...] = np.frombuffer(memory.outputs[name], out.dtype).reshape(out.shape)
            for array in self.inputs.values():
                array.view(np.uint8)[...] = 0xAA  # an arena may be overwritten while it computes
            return 0

        pointers = ctypes.c_void_p * len(graph.inputs)
        found = {index: self.inputs[name] for name, index in signature.inputs.items()}
        ins = pointers(*(found[index].ctypes.data for index in graph.inputs))
        found = {index: self.outputs[name] for name, index in signature.outputs.items()}
        outs = pointers(*(found[index].ctypes.data for index in graph.outputs))

        class Runtime(ctypes.Structure):
            _fields_ = (
                ("inputs", pointers), ("outputs", pointers), ("invoke", INVOKE),
                ("context", ctypes.c_void_p),
            )  # fmt: skip

        self.runtime = Runtime(ins, outs, INVOKE(invoke), None)
        # Room for a counter of frames, too.
        self.state = ctypes.create_string_buffer(8 + sum(a.nbytes for a in self.inputs.values()))

    def reset(self) -> None:
        self.library[f"{self.prefix}_reset"](self.state)

    def step(self, x: np.ndarray) -> tuple[int, np.ndarray]:
        x = np.ascontiguousarray(x, np.float32)
        y = np.full(math.prod(self.model.contract.answers[0].shape), np.nan, np.float32)
        code = self.library[f"{self.prefix}_step"](
            ctypes.byref(self.runtime), self.state,
            x.ctypes.data_as(ctypes.c_void_p), y.ctypes.data_as(ctypes.c_void_p),
        )  # fmt: skip
        return code, y


@needs_micro
@needs_gcc
@pytest.mark.parametrize(
    ("cell", "scheme"), [("lstm", "int8"), ("gru", "float32"), ("lstm", "int16x8")]
)
def test_the_compiled_loop_steps_as_the_stream(step_models, vowels, tmp_path, cell, scheme):
    model = load_step_model(step_models(cell, scheme))
    written = export_c(model, tmp_path, "net")
    assert [path.name for path in written.files] == [
        "net_model.c", "net_step.h", "net_step.c", "net_tflm.cc"
    ]  # fmt: skip
    loop, stream = Loop(tmp_path, "net", model), Stream(model, "litert")
    frames = np.concatenate(vowels.test.sequences)[:100].astype(np.float32)
    # Beyond the range of x: saturated on both sides.
    frames[50] *= 100
    expected = stream.run(frames)
    for _ in range(2):
        loop.reset()
        found = []
        for number, frame in enumerate(frames):
            if number == 30:
                loop.fails = True
                assert loop.step(frame)[0] == 7, "a failure of the interpreter is handed on"
                loop.fails = False
            code, y = loop.step(frame)
            assert code == 0
            found.append(y)
        assert (np.array(found) == expected).all()
    size = ctypes.c_size_t.in_dll(loop.library, "net_model_bytes").value
    array = (ctypes.c_ubyte * size).in_dll(loop.library, "net_model")
    assert bytes(array) == model.flatbuffer


@needs_gcc
@pytest.mark.parametrize(
    ("scheme", "steps", "hop", "in_lanes"),
    [("int8", 7, 3, True), ("float32", 5, 1, True), ("float32", 4, 2, False)],
)
def test_the_compiled_loop_answers_for_its_last_frames(tmp_path, scheme, steps, hop, in_lanes):
    model = windowed_model(windowed(steps, hop, in_lanes), tmp_path, scheme)
    for name, text in c_texts(model, "net", 20_000, "9").items():
        (tmp_path / name).write_text(text)
    loop, stream = Loop(tmp_path, "net", model), Stream(model, "litert")
    x = random_frames(5 * steps)
    # In C, nothing is given before the first window is full.
    answered = [model.contract.window.answers(frame) for frame in range(len(x))]
    expected = np.where(np.array(answered)[:, np.newaxis], stream.run(x), np.float32(np.nan))
    for count in (steps + 1, len(x)):
        loop.reset()
        found = []
        for number, frame in enumerate(x[:count]):
            code, y = loop.step(frame)
            assert code == 0
            assert loop.library["net_answered"](loop.state) == answered[number]
            found.append(y)
        np.testing.assert_array_equal(np.array(found), expected[:count])
    if in_lanes and shutil.which("g++"):
        compile_example(tmp_path)


@needs_micro
def test_the_example_is_well_formed(step_models, tmp_path):
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    export_c(load_step_model(step_models("gru", "int8")), tmp_path, "net")
    compile_example(tmp_path)


def compile_example(tmp_path: Path) -> None:
    """Compile net_tflm.cc against a fake of TensorFlow Lite Micro."""
    fake = Path(__file__).parent / "fake_tflm.h"
    for header in ("micro_interpreter", "micro_mutable_op_resolver"):
        path = tmp_path / "tensorflow/lite/micro" / f"{header}.h"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#include "{fake}"\n')
    schema = tmp_path / "tensorflow/lite/schema/schema_generated.h"
    schema.parent.mkdir(parents=True)
    schema.write_text("")
    command = ["g++", "-std=c++11", "-Wall", "-Werror", f"-I{tmp_path}", "-c", "-o", "/dev/null"]
    done = subprocess.run([*command, str(tmp_path / "net_tflm.cc")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@needs_micro
def test_the_command(step_models, tmp_path):
    path = step_models("lstm", "int8")
    result = CliRunner().invoke(main, ["export-c", str(path), "--output", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "arena" in result.stdout
    header = (tmp_path / "lstm_int8_step.h").read_text()
    assert "#define LSTM_INT8_ARENA_BYTES" in header


@pytest.mark.parametrize("scheme", ["dynamic", "float16"])
def test_what_micro_does_not_take_is_refused(step_models, tmp_path, scheme):
    path = step_models("gru", scheme)
    result = CliRunner().invoke(main, ["export-c", str(path), "--output", str(tmp_path)])
    assert result.exit_code == 5
    assert "does not fit micro" in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_prefix_that_is_no_name_is_refused(step_models, tmp_path):
    arguments = ["export-c", str(step_models("gru", "int8")), "--prefix", "1; system()"]
    result = CliRunner().invoke(main, [*arguments, "--output", str(tmp_path)])
    assert result.exit_code == 3
    assert "not a valid C name" in result.stderr


@needs_gcc
def test_literals_and_strings_are_exact(tmp_path):
    values = np.random.default_rng(1).normal(0, 1, 200).astype(np.float32) * np.logspace(
        -30, 30, 200
    )
    values = values.astype(np.float32)
    text = 'a "b" \\ ?? é 😀 \n'
    source = tmp_path / "literals.c"
    source.write_text(
        f"float values[] = {{{', '.join(c_literal(float(value)) for value in values)}}};\n"
        f"const char text[] = {c_string(text)};\n"
    )
    library = tmp_path / "literals.so"
    subprocess.run(["gcc", *STRICT, "-shared", "-fPIC", "-o", library, source], check=True)
    loaded = ctypes.CDLL(str(library))
    found = np.array((ctypes.c_float * len(values)).in_dll(loaded, "values"))
    assert (found == values).all()
    raw = (ctypes.c_char * (len(text.encode()) + 1)).in_dll(loaded, "text")
    assert raw.value.decode() == text


def test_every_c_type_has_numpys_size():
    sizes = {"float": 4}
    for dtype, kind in C_TYPES.items():
        bits = sizes.get(kind) or int("".join(filter(str.isdigit, kind))) // 8
        assert np.dtype(dtype).itemsize == bits
