"""``edgestep zoo``: what there is to train."""

from __future__ import annotations

import json

import click

from device_runner.printable import echo


@click.command("zoo")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def zoo_command(as_json: bool) -> None:
    """List every cell, every way to stack them and every task, with source and purpose."""
    from models.tensorflow_log import load_tensorflow
    from pipeline import zoo

    load_tensorflow()
    cells, stacks, tasks = zoo.cells(), zoo.stacks(), zoo.tasks()
    if as_json:
        echo(json.dumps({"cells": cells, "stacks": stacks, "tasks": tasks}))
        return
    echo(f"cells (parameters of {zoo.UNITS} units on {zoo.INPUTS} inputs)")
    for cell in cells:
        echo(f"  {cell['cell']:20}{cell['parameters']:>8,}  {cell['source']}: {cell['purpose']}")
    echo(f"stacks (parameters of GRUs on {zoo.INPUTS} inputs)")
    for stack in stacks:
        echo(
            f"  {stack['stack']:20}{stack['parameters']:>8,}  {stack['source']}: "
            f"{stack['purpose']} ({stack['recipe']})"
        )
    echo("tasks")
    width = max(len(task["task"]) for task in tasks)
    for task in tasks:
        echo(f"  {task['task']:{width}}  {task['purpose']}")
