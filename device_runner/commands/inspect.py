"""``inspect``: what is in a step model, or in any other TFLite file."""

from __future__ import annotations

import json
from pathlib import Path

import click

from device_runner.atomic_write import write_atomically
from device_runner.commands.options import force_option, json_option
from device_runner.errors import BadModelError, DeviceRunnerError
from device_runner.model import inspection
from device_runner.model.flatbuffer import read_graph
from device_runner.model.step_file import StepModel, has_contract, load_step_model, read_bytes
from device_runner.output_file import OutputKind, check_replaceable
from device_runner.printable import echo


@click.command("inspect")
@click.argument("file")
@click.option("--graph", metavar="FILE.dot|text",
              help="Draw the graph of any TFLite file, for Graphviz or as text.")  # fmt: skip
@click.option("--auto", is_flag=True,
              help="Load it, too: say which backend 'auto' takes here, and why.")  # fmt: skip
@json_option
@force_option
def inspect(file: str, graph: str | None, auto: bool, as_json: bool, force: bool) -> None:
    """Show a step model's signature, states, operators, sizes and metrics.

    Of any other TFLite file: its inputs, outputs and operators, the states that can be recognised,
    and what it keeps inside from step to step.
    """
    if graph is not None:
        _draw(file, graph, force)
        return
    if not has_contract(read_bytes(file)):
        if auto:
            raise click.BadParameter(f"--auto is for step models; {file} has no contract")
        from device_runner.model.foreign_inspection import format_foreign, inspect_foreign

        found = inspect_foreign(file)
        echo(json.dumps(found, indent=1) if as_json else format_foreign(found))
        return
    model = load_step_model(file)
    facts = inspection.inspect_model(model)
    if auto:
        facts["auto"] = _chosen(model)
    echo(json.dumps(facts, indent=1) if as_json else inspection.format_inspection(facts, model))


def _chosen(model: StepModel) -> dict[str, str | None]:
    """Return the backend that 'auto' takes for a model, its version, and why, in words."""
    from device_runner.backends import load_backend

    try:
        backend = load_backend(model)
    except DeviceRunnerError as error:
        return {"backend": None, "version": None, "why": error.message}
    return {"backend": backend.name, "version": backend.version, "why": backend.choice}


def _draw(file: str, form: str, force: bool) -> None:
    from device_runner.model.graph_drawing import draw_dot, draw_text, states_of

    if form != "text" and not form.endswith(".dot"):
        raise click.BadParameter(f"'{form}' is neither 'text' nor the name of a .dot file")
    if form != "text":
        check_replaceable(Path(form), OutputKind.DRAWING, force)
    data = read_bytes(file)
    try:
        graph = read_graph(data)
        drawing = draw_text(graph) if form == "text" else draw_dot(graph)
    except BadModelError as error:
        raise BadModelError(f"{file}: {error.message}") from error
    if form == "text":
        echo(drawing)
        return
    write_atomically(Path(form), drawing.encode(errors="replace"))
    echo(
        f"{form}: {len(graph.operators)} operators, {len(states_of(graph))} states; "
        f"draw it with Graphviz: dot -Tsvg -O {form}"
    )
