"""The folders that Arduino's and Espressif's tools want: their form, and that their code compiles.

The forms are those of Arduino's library specification (format 1.5, revision 2.2) and of ESP-IDF's
build system and component manager; neither tool is here.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from convert.exporters.firmware.layouts import LAYOUTS, export_firmware
from device_runner.backends import backend_module
from device_runner.errors import MissingRuntimeError
from device_runner.model.step_file import load_step_model
from tests.conftest import KEPT_STEP_MODELS

MODEL = KEPT_STEP_MODELS / "gru-int8.tflite"
NAME = "edgestep_gru_int8"
ARM = "arm-none-eabi-g++"
FAKE = Path(__file__).parent / "fake_arduino.h"


@pytest.fixture(autouse=True)
def needs_library():
    try:
        backend_module("native").probe()
    except MissingRuntimeError as error:
        pytest.skip(error.message)


def exported(folder: Path, layout: str) -> Path:
    export_firmware(load_step_model(MODEL), folder, layout)
    return folder / LAYOUTS[layout].folder.format(name=NAME)


def run(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def properties(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def test_an_arduino_library_has_the_specified_form(tmp_path):
    library = exported(tmp_path, "arduino")
    found = properties(library / "library.properties")
    wanted = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url",
              "architectures"}  # fmt: skip
    assert wanted <= set(found)
    assert all(found.values())
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.\-]{0,62}", found["name"])
    assert not found["name"].lower().startswith("arduino")
    assert re.fullmatch(r"\d+\.\d+\.\d+", found["version"])
    assert found["category"] == "Data Processing"
    assert (library / "src" / found["includes"]).is_file()
    # A sketch lies in a folder of its own name; only src is compiled into the library.
    (sketch,) = library.glob("examples/*/*.ino")
    assert sketch.stem == sketch.parent.name
    assert {path.name for path in library.iterdir()} == {"library.properties", "src", "examples"}


@pytest.mark.parametrize("compiler", ["g++", ARM])
def test_the_sketch_compiles(compiler, tmp_path):
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    library = exported(tmp_path, "arduino")
    flags = ["-mcpu=cortex-m4", "-mthumb"] if compiler == ARM else []
    sketch = next(library.glob("examples/*/*.ino"))
    run(compiler, *flags, "-std=gnu++17", "-Wall", "-Werror", "-x", "c++", "-include", FAKE,
        f"-I{library / 'src'}", "-c", sketch, "-o", tmp_path / "sketch.o")  # fmt: skip
    # As Arduino's cores compile a library's C: every file below src, each alone.
    for source in library.glob("src/**/*.c"):
        run(compiler.replace("g++", "gcc"), *flags, "-std=gnu11", "-Os", "-Wall", "-Werror",
            f"-I{library / 'src'}", "-c", source, "-o", tmp_path / "source.o")  # fmt: skip


def test_an_esp_idf_component_has_the_wanted_form(tmp_path):
    component = exported(tmp_path, "esp-idf")
    text = (component / "CMakeLists.txt").read_text()
    (call,) = re.findall(r"^idf_component_register\((.*?)\)$", text, re.MULTILINE | re.DOTALL)
    words = re.findall(r'"([^"]+)"|([A-Z_]+)', call)
    arguments: dict[str, list[str]] = {}
    for value, keyword in words:
        if keyword:
            arguments[keyword] = []
        else:
            arguments[list(arguments)[-1]].append(value)
    assert set(arguments) == {"SRCS", "INCLUDE_DIRS", "PRIV_INCLUDE_DIRS"}
    assert {component / source for source in arguments["SRCS"]} == set(component.rglob("*.c"))
    assert (component / arguments["INCLUDE_DIRS"][0] / f"{NAME}.h").is_file()
    manifest = (component / "idf_component.yml").read_text()
    assert re.search(r'^version: "\d+\.\d+\.\d+"$', manifest, re.MULTILINE)
    assert re.search(r'^dependencies:\n  idf: ">=\d+\.\d+"$', manifest, re.MULTILINE)
    if shutil.which("cmake"):
        configured_by_cmake(component, tmp_path / "project")


def configured_by_cmake(component: Path, project: Path) -> None:
    """Build the component with a stand-in for ESP-IDF's function."""
    project.mkdir()
    (project / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(stand_in C)\n"
        "function(idf_component_register)\n"
        '  cmake_parse_arguments(ARG "" "" "SRCS;INCLUDE_DIRS;PRIV_INCLUDE_DIRS" ${ARGN})\n'
        "  add_library(component ${ARG_SRCS})\n"
        "  target_include_directories(component PUBLIC ${ARG_INCLUDE_DIRS}\n"
        "                             PRIVATE ${ARG_PRIV_INCLUDE_DIRS})\nendfunction()\n"
        f"add_subdirectory({component} component)\n"
    )
    run("cmake", "-S", project, "-B", project / "build")
    run("cmake", "--build", project / "build")


def test_two_models_live_in_one_program(tmp_path):
    """Nothing that they have in common is defined twice."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    names = ["gru-int8", "lstm-float32"]
    for name in names:
        export_firmware(load_step_model(KEPT_STEP_MODELS / f"{name}.tflite"), tmp_path)
    calls = [f"edgestep_{name.replace('-', '_')}" for name in names]
    (tmp_path / "main.c").write_text(
        "".join(f'#include "{call}.h"\nstatic {call}_stream s_{call};\n' for call in calls)
        + "int main(void) { return "
        + " + ".join(f"{call}_self_test(&s_{call})" for call in calls)
        + "; }\n"
    )
    run(
        "gcc",
        "-std=c99",
        "-Wall",
        "-Wextra",
        "-Werror",
        *tmp_path.glob("*.c"),
        "-o",
        tmp_path / "main",
    )
    run(tmp_path / "main")
