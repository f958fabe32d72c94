"""Where the C files of a model lie: alone, as an Arduino library, as an ESP-IDF component."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from convert.exporters.firmware.source import FirmwareSource, firmware_environment, firmware_source
from device_runner.atomic_write import write_atomically
from device_runner.model.step_file import StepModel
from device_runner.output_file import OutputKind, check_replaceable

KERNELS = Path(__file__).with_name("kernels")
_COPIED = "/* Copied from libedgestep. Written by 'edgestep export-c' (--runtime none). */\n"


@dataclass(frozen=True)
class Layout:
    """Where files go, as paths in the output folder with {name} for the model's.

    Attributes:
        folder: what all others lie in.
        header, sources: folders of NAME.h and of NAME.c with its kernels.
        templates: other files by their template.
    """

    folder: str
    header: str
    sources: str
    templates: dict[str, str]


LAYOUTS = {
    "plain": Layout("", "", "", {}),
    "arduino": Layout(
        "{name}", "src", "src",
        {"library.properties.jinja": "library.properties", "example.ino.jinja":
         "examples/step_serial/step_serial.ino"},
    ),
    "esp-idf": Layout(
        "{name}", "include", "src",
        {"CMakeLists.txt.jinja": "CMakeLists.txt", "idf_component.yml.jinja": "idf_component.yml"},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class FirmwareExport:
    """What was written.

    Attributes:
        files: all files.
        source: the texts and sizes of the model's own.
    """

    files: tuple[Path, ...]
    source: FirmwareSource


def export_firmware(
    model: StepModel,
    folder: Path,
    layout: str = "plain",
    prefix: str | None = None,
    force: bool = False,
) -> FirmwareExport:
    """Write a step model as C that needs no runtime.

    Args:
        model: a step model that libedgestep steps.
        folder: where the files are written; other layouts than "plain" make a folder in it.
        layout: a name of :data:`LAYOUTS`.
        prefix: what follows "edgestep_" in all names in C; by default the model's file name.
        force: whether to replace files of these names that are not ours.

    Raises:
        OptionError: such a file is there.
        NotExportableError: as :func:`convert.exporters.firmware.source.firmware_source`.
        MissingRuntimeError: libedgestep is not compiled.
    """
    source = firmware_source(model, prefix)
    texts = layout_texts(source, LAYOUTS[layout], model)
    for name in texts:
        check_replaceable(folder / name, OutputKind.C_SOURCE, force)
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / name, text.encode())
    return FirmwareExport(tuple(folder / name for name in texts), source)


def layout_texts(source: FirmwareSource, layout: Layout, model: StepModel) -> dict[str, str]:
    """Return the texts of all files by their paths in the output folder."""
    name = source.name
    home = Path(layout.folder.format(name=name))
    texts = {
        home / layout.header / f"{name}.h": source.header,
        home / layout.sources / f"{name}.c": source.source,
        home / layout.sources / f"{name}_self_test.c": source.self_test,
    }
    for kernel in source.kernels:
        texts[home / layout.sources / "kernels" / kernel] = _COPIED + (KERNELS / kernel).read_text()
    contract = model.contract
    values = {
        "name": name,
        "NAME": name.upper(),
        "cell": "-".join([contract.cell, *map(str, contract.units)]),
        "scheme": contract.scheme,
        "version": "1.0.0",
    }
    environment = firmware_environment()
    for template, path in layout.templates.items():
        texts[home / path] = environment.get_template(template).render(values)
    return {str(path): text for path, text in texts.items()}
