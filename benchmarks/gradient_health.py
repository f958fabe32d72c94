"""How much of a loss reaches the states of long before, and whether a cell solves long memory.

Two synthetic tasks, as they must be, since only there it is known how far back the answer lies:

- ``adding``: two values in a sequence of N are marked, one in each half; their sum is wanted at the
  end. Error of the constant 1: 0.167 (S. Hochreiter and J. Schmidhuber, 1997);
- ``copy``: ten symbols of eight are shown, then N blanks, then they are to be repeated. Loss of a
  guess without memory: ln 8 = 2.08 nats per symbol (M. Arjovsky et al., 2016).

For every cell, one recurrence and a head are trained on ever new sequences for a number of
seconds; with the usual initial weights, and where a cell's gates can be opened beforehand, with
biases that keep a state for 1 to N steps, one unit longer than another (C. Tallec and Y. Ollivier,
"Can recurrent neural networks warp time?", ICLR 2018).
The gradient is the norm of d loss / d state(t), averaged over a batch; its ratio tells what is left
of it ten steps from the start against ten steps from the end, before and after training.
Each result is a JSON line; what is in the file already is not done again.

    python benchmarks/gradient_health.py [--cell CELL]... [--start START]... [--task TASK]...
        [--length N]... [--seconds S] [--units N] [--results FILE] [--picture FILE.svg]
"""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from models.cells import CELLS
from models.tensorflow_log import load_tensorflow

BATCH = 32
SYMBOLS, SHOWN = 8, 10
# Losses below these count as solved.
SOLVED = {"adding": 0.02, "copy": 0.1}
CUSTOMARY_DISTANCE = 10
KEY = ("cell", "start", "task", "length", "units", "seconds")
USUAL, OPEN = "usual", "open"
# Of each cell whose gates can be opened: the blocks of its bias, and the sign with which one keeps
# the state.
KEEPING_BLOCKS = {
    "lstm": {1: 1, 0: -1},
    "gru": {0: 1},
    "min-gru": {0: -1},
    "min-lstm": {0: 1, 1: -1},
}


def sequences(
    task: str, length: int, random: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any]]:
    """A batch: inputs [batch, steps, channels] and what is wanted, the sum [batch] or the symbols
    [batch, SHOWN] of the last steps."""
    if task == "adding":
        values = random.uniform(0, 1, (BATCH, length))
        marks = np.zeros_like(values)
        rows, half = np.arange(BATCH), length // 2
        marks[rows, random.integers(0, half, BATCH)] = 1
        marks[rows, random.integers(half, length, BATCH)] = 1
        return np.stack([values, marks], -1).astype(np.float32), (values * marks).sum(1)
    symbols = random.integers(0, SYMBOLS, (BATCH, SHOWN))
    # Two further codes: blank, and the one that asks for the symbols.
    codes = np.full((BATCH, length + 2 * SHOWN), SYMBOLS)
    codes[:, :SHOWN] = symbols
    codes[:, length + SHOWN] = SYMBOLS + 1
    return np.eye(SYMBOLS + 2, dtype=np.float32)[codes], symbols


def task_loss(task: str, outputs: Any, wanted: Any) -> Any:
    """Outputs [batch, steps, outputs] -> the scalar loss."""
    import tensorflow as tf

    if task == "adding":
        return tf.reduce_mean((outputs[:, -1, 0] - tf.cast(wanted, tf.float32)) ** 2)
    return tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, outputs[:, -SHOWN:])
    )


def state_gradients(network: Any, task: str, x: NDArray[Any], wanted: NDArray[Any]) -> list[float]:
    """The norm of d loss / d state after each step, averaged over the batch."""
    import tensorflow as tf
    import tf_keras as keras

    _, recurrence, head = network.layers
    cell = recurrence.cell
    # Zeros added to a state have the state's derivative, without a tape entry for every step.
    nudges = [tf.zeros((*x.shape[:2], *shape)) for shape in cell.state_shapes]

    @tf.function
    def gradients(x: tf.Tensor, wanted: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(nudges)
            constants = cell.begin()

            def step(
                given: tuple[tf.Tensor, tf.Tensor], states: list[tf.Tensor]
            ) -> tuple[tf.Tensor, list[tf.Tensor]]:
                product, *added = given
                output, new = cell.step(product, tuple(states), constants)
                return output, [state + nudge for state, nudge in zip(new, added, strict=True)]

            given = (cell.input_product(network.layers[0](x)), *nudges)
            _, outputs, _ = keras.backend.rnn(step, given, recurrence.initial_states(len(x)))
            loss = task_loss(task, head(outputs), wanted)
        found: list[Any] = tape.gradient(loss, nudges)
        return found

    found = [g.numpy().reshape(*x.shape[:2], -1) for g in gradients(tf.constant(x), wanted)]
    norms = np.linalg.norm(np.concatenate(found, -1), axis=-1).mean(0)
    return [float(norm) for norm in norms]


def left_over(norms: list[float]) -> float:
    """The gradient near the start as a share of that near the end."""
    return norms[CUSTOMARY_DISTANCE] / max(norms[-CUSTOMARY_DISTANCE - SHOWN], 1e-300)


def open_gates(cell: Any, name: str, length: int, random: np.random.Generator) -> None:
    """Set the gates' biases such that the units keep a state for 1 to ``length`` steps."""
    bias = cell.bias.numpy().reshape(cell.gates, -1)
    steps = np.log(random.uniform(1, length - 1, cell.units))
    for block, sign in KEEPING_BLOCKS[name].items():
        bias[block] = sign * steps
    cell.bias.assign(bias.ravel())


def examine(
    cell: str, start: str, task: str, length: int, units: int, seconds: float
) -> dict[str, Any]:
    """Train one cell on one task; what became of it and of its gradients."""
    import tensorflow as tf
    import tf_keras as keras

    from models.cells.cell import RecurrentCell
    from models.network import Architecture, count_parameters

    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    random = np.random.default_rng(1)
    held_out = sequences(task, length, np.random.default_rng(2))
    inputs, outputs = (2, 1) if task == "adding" else (SYMBOLS + 2, SYMBOLS)
    network = Architecture(cell, (units,), inputs, outputs).build()
    recurrent = network.layers[1].cell
    if start == OPEN:
        open_gates(recurrent, cell, length, random)
    before = state_gradients(network, task, *held_out)
    optimizer = keras.optimizers.Adam(5e-3)
    variables = network.trainable_variables
    optimizer.build(variables)

    # Compiled, a loop over time is slower and a scan much faster.
    @tf.function(jit_compile=type(recurrent).parallel is not RecurrentCell.parallel)
    def train_step(x: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = task_loss(task, network(x, training=True), wanted)
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, variables), 1.0)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    # What compiling takes is not the cell's.
    train_step(*(tf.constant(item) for item in sequences(task, length, random)))
    steps, began = 1, time.monotonic()
    while time.monotonic() - began < seconds:
        train_step(*(tf.constant(item) for item in sequences(task, length, random)))
        steps += 1
    loss = float(task_loss(task, network(held_out[0]), held_out[1]))
    after = state_gradients(network, task, *held_out)
    return {
        "cell": cell, "start": start, "task": task, "length": length, "units": units,
        "seconds": seconds,
        "parameters": count_parameters(network), "steps": steps, "loss": loss,
        "solved": loss < SOLVED[task], "before": before, "after": after,
    }  # fmt: skip


def _title(item: dict[str, Any]) -> str:
    return str(item["cell"]) + (", open" if item["start"] == OPEN else "")


def draw(results: list[dict[str, Any]], picture: Path) -> None:
    """Gradients over time, a field for each task and length, dashed before the training."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    colors = colormaps["tab20"]
    fields = sorted({(item["task"], item["length"]) for item in results})
    figure = Figure((6 * len(fields), 4), layout="constrained")
    axes = figure.subplots(1, len(fields), squeeze=False)[0]
    for axis, field in zip(axes, fields, strict=True):
        chosen = [item for item in results if (item["task"], item["length"]) == field]
        for number, item in enumerate(chosen):
            for when, style in (("before", "--"), ("after", "-")):
                label = _title(item) if when == "after" else None
                axis.semilogy(item[when], style, color=colors(number), label=label, lw=1)
        axis.set(title=f"{field[0]}, {field[1]} steps", xlabel="step", ylabel="|d loss / d state|")
        axis.set_ylim(bottom=1e-12)
        axis.legend(fontsize=7)
    figure.savefig(picture)


@click.command()
@click.option("--cell", "cells", multiple=True, type=click.Choice(list(CELLS)),
              default=[name for name in CELLS if not name.startswith("grouped")])  # fmt: skip
@click.option("--start", "starts", multiple=True, type=click.Choice([USUAL, OPEN]),
              default=[USUAL, OPEN], help="Initial weights.")  # fmt: skip
@click.option("--task", "tasks", multiple=True, type=click.Choice(list(SOLVED)), default=["adding"])
@click.option("--length", "lengths", multiple=True, type=click.IntRange(40), default=[200])
@click.option("--seconds", default=90.0, show_default=True, type=click.FloatRange(1))
@click.option("--units", default=64, show_default=True, type=click.IntRange(1))
@click.option("--results", default="runs/gradient-health.jsonl", show_default=True,
              type=click.Path(path_type=Path, dir_okay=False))  # fmt: skip
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False))
def main(
    cells: tuple[str, ...], starts: tuple[str, ...], tasks: tuple[str, ...],
    lengths: tuple[int, ...], seconds: float,
    units: int, results: Path, picture: Path | None,
) -> None:  # fmt: skip
    """Train every cell on long memory and follow its gradients."""
    load_tensorflow()
    results.parent.mkdir(parents=True, exist_ok=True)
    lines = results.read_text().splitlines() if results.exists() else []
    # A file may be from before a network's start was part of a result.
    done = [item for item in map(json.loads, lines) if item.keys() >= set(KEY)]

    def key(item: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(item[name] for name in KEY)

    head = f"{'task':<8}{'length':>7}  {'cell':<18}{'steps':>7}{'loss':>9}  solved  gradient left"
    click.echo(head)
    for task, length, cell, start in itertools.product(tasks, lengths, cells, starts):
        if start == OPEN and cell not in KEEPING_BLOCKS:
            continue
        wanted = cell, start, task, length, units, seconds
        item = next((item for item in done if key(item) == wanted), None)
        if item is None:
            item = examine(*wanted)
            done.append(item)
            with results.open("a") as stream:
                stream.write(json.dumps(item) + "\n")
        click.echo(
            f"{task:<8}{length:7}  {_title(item):<18}{item['steps']:7}{item['loss']:9.4f}  "
            f"{'yes' if item['solved'] else 'no':<6}  "
            f"{left_over(item['before']):.0e}, {left_over(item['after']):.0e}"
        )
    if picture is not None:
        draw(done, picture)


if __name__ == "__main__":
    main()
