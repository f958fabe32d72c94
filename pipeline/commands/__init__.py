"""The commands of ``edgestep``, the on-device ones included: one file each, listed here.

The list holds names of functions, so that the general help loads none of them.
"""

from __future__ import annotations

from device_runner.commands import COMMANDS as DEVICE_COMMANDS
from device_runner.commands import CommandEntry

EXPERIMENT, MODEL, DEVICE = "Experiments", "Models", "On a device, this machine included"

COMMANDS: dict[str, CommandEntry] = {
    "run": CommandEntry(
        "pipeline.commands.run.run", EXPERIMENT, "Train, convert, verify, measure: a recipe."
    ),
    "data": CommandEntry(
        "pipeline.commands.data.data_command", EXPERIMENT, "Look at data, or draft a recipe for it."
    ),
    "sweep": CommandEntry(
        "pipeline.commands.sweep.sweep_command",
        EXPERIMENT,
        "Search for the network that suits a device.",
    ),
    "results": CommandEntry(
        "pipeline.commands.results.results_command",
        EXPERIMENT,
        "Ask the results of many machines, or compare two runs.",
    ),
    "zoo": CommandEntry(
        "pipeline.commands.zoo.zoo_command", EXPERIMENT, "List cells, stacks and tasks."
    ),
    "techniques": CommandEntry(
        "pipeline.commands.techniques.techniques_command",
        EXPERIMENT,
        "Write the table of all techniques.",
    ),
    "convert": CommandEntry(
        "pipeline.convert_command.convert_command", MODEL, "Make a step model of a trained model."
    ),
    "adopt": CommandEntry(
        "pipeline.commands.adopt.adopt_command", MODEL, "Make a step model of another TFLite file."
    ),
    "rows": CommandEntry(
        "pipeline.commands.rows.rows_command", MODEL, "Step several streams a call of one model."
    ),
    "check": CommandEntry(
        "pipeline.target_commands.check", MODEL, "Tell whether a model fits a target."
    ),
    "export-c": CommandEntry(
        "pipeline.target_commands.export_c_command", MODEL, "Write C code for a microcontroller."
    ),
    "export-onnx": CommandEntry(
        "pipeline.commands.export_onnx.export_onnx_command",
        MODEL,
        "Write a float32 step model as ONNX.",
    ),
    "export-web": CommandEntry(
        "pipeline.commands.export_web.export_web_command",
        MODEL,
        "Write a page that steps a model in a browser.",
    ),
    "compile-edgetpu": CommandEntry(
        "pipeline.target_commands.compile_edgetpu", MODEL, "Compile an int8 step model for a Coral."
    ),
    "restore-contract": CommandEntry(
        "pipeline.commands.restore_contract.restore_contract_command",
        MODEL,
        "Repair what edgetpu_compiler wrote.",
    ),
    "robustness": CommandEntry(
        "pipeline.commands.robustness.robustness_command",
        MODEL,
        "Judge models on disturbed data.",
    ),
    "saliency": CommandEntry(
        "pipeline.commands.saliency.saliency_command", MODEL, "Show which inputs decide."
    ),
    **{name: entry._replace(section=DEVICE) for name, entry in DEVICE_COMMANDS.items()},
    "bench": CommandEntry(
        "pipeline.remote.command.bench", DEVICE, "Measure what one step costs, here or over ssh."
    ),
    "device": CommandEntry(
        "pipeline.commands.device.device_group", DEVICE, "The program that goes onto a device."
    ),
}
