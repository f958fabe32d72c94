"""The on-device commands: one file each, listed here.

The list holds names of functions, so that the general help loads none of them.
"""

from __future__ import annotations

from typing import NamedTuple


class CommandEntry(NamedTuple):
    """A command in the list.

    Attributes:
        implementation: "package.module.function", the click command.
        section: its heading in the help.
        purpose: what it does, in one line of the help.
    """

    implementation: str
    section: str
    purpose: str


EXAMINE, MEASURE, USE = "Examine", "Check and measure", "Use"

COMMANDS: dict[str, CommandEntry] = {
    "doctor": CommandEntry(
        "device_runner.commands.doctor.doctor", EXAMINE, "Show which backends are usable here."
    ),
    "inspect": CommandEntry(
        "device_runner.commands.inspect.inspect", EXAMINE, "Show what is in a step model."
    ),
    "verify": CommandEntry(
        "device_runner.commands.verify.verify_models",
        MEASURE,
        "Compare models with their golden outputs here.",
    ),
    "bench": CommandEntry(
        "device_runner.commands.bench.bench", MEASURE, "Measure what one step of a model costs."
    ),
    "stream": CommandEntry(
        "device_runner.commands.stream.stream_frames", USE, "Step a model through frames, live."
    ),
    "sample": CommandEntry(
        "device_runner.commands.sample.sample", USE, "Let a language model write text."
    ),
    "translate": CommandEntry(
        "device_runner.commands.translate.translate_lines", USE, "Translate line by line."
    ),
}
