"""What a small network gains from a large teacher, against the same network trained alone.

For every seed a teacher is trained, and every student twice from the same random weights, with the
same training settings: alone and by its teacher. Settings are to be chosen with ``--data
validation --first-seed 101``, where every seed holds out another fifth of the training and
validation data; the test data are for the final figures alone.

With the default arguments the student alone is, by the median, already within a point of its
teacher, and distillation does not make it more accurate.

    python benchmarks/distillation.py [--student CELL-UNITS]... [--json]
"""

from __future__ import annotations

import json
import logging
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any, Literal

import click
import numpy as np

import models  # noqa: F401  (sets Keras 2 before TensorFlow is imported)
from models.tensorflow_log import load_tensorflow

load_tensorflow()

import tensorflow as tf  # noqa: E402
import tf_keras as keras  # noqa: E402

from models.attention import AttentionArchitecture  # noqa: E402
from models.augmentation import Augmentation  # noqa: E402
from models.compress.distillation import distil  # noqa: E402
from models.losses import sequence_loss  # noqa: E402
from models.metrics import accuracy  # noqa: E402
from models.network import Architecture, count_parameters  # noqa: E402
from models.prediction import predict  # noqa: E402
from models.tasks import TASKS, load_task  # noqa: E402
from models.tasks.sequence_set import SequenceSet  # noqa: E402
from models.tasks.task import Task, split_by_label  # noqa: E402
from models.training import fit  # noqa: E402
from models.training_settings import DistillationSettings, TrainingSettings  # noqa: E402

NOISE, OFFSET = 0.7, 0.5
# Channels of x, y and z of each sensor, for the rotation.
VECTORS = {"watch-exercises": ((0, 1, 2), (3, 4, 5))}
# Members of one seed's ensemble have seeds of their own, which no other seed's members share.
MEMBER_SEEDS = 1000


def new_network(kind: str, task: Task, seed: int) -> keras.Model:
    """An untrained network from "CELL-UNITS", such as "lstm-128", or from "attention-WIDTH"."""
    cell, _, units = kind.rpartition("-")
    if not cell or not units.isdigit():
        raise click.UsageError(f"'{kind}' is no CELL-UNITS such as lstm-128")
    keras.utils.set_random_seed(seed)
    shape: dict[str, Any] = {"inputs": len(task.channels), "outputs": len(task.labels)}
    noise: dict[str, Any] = {"input_noise": NOISE, "input_offset": OFFSET}
    if cell == "attention":
        network = AttentionArchitecture(int(units), **shape, **noise).build()
    else:
        network = Architecture(cell, (int(units),), **shape, **noise).build()
    network.get_layer("normalization").adapt(*task.normalization)
    return network


def recut(task: Task, seed: int) -> Task:
    """The task with its training and validation data divided anew: its own validation data are
    too few to choose settings by."""
    known = SequenceSet(
        task.train.sequences + task.validation.sequences,
        np.concatenate([task.train.labels, task.validation.labels]),
        np.concatenate([task.train.groups, task.validation.groups]),
    )
    share = len(task.validation) / len(known)
    kept, held_out = split_by_label(known.labels, share, seed)
    return replace(task, train=known.select(kept), validation=known.select(held_out))


def score(networks: list[keras.Model], data: SequenceSet) -> float:
    """Accuracy in % of the networks' mean probabilities."""
    outputs = np.mean([tf.nn.softmax(predict(network, data)) for network in networks], axis=0)
    return 100 * accuracy(outputs, data)


def cross_entropy(networks: list[keras.Model], data: SequenceSet) -> float:
    """Mean over all steps, in nats, of the networks' mean probabilities."""
    outputs = np.mean([tf.nn.softmax(predict(network, data)) for network in networks], axis=0)
    return float(sequence_loss(tf.math.log(outputs), data.labels, data.lengths))


def spread(values: list[float]) -> str:
    return f"{np.median(values):.2f} ({min(values):.2f} ... {max(values):.2f})"


@click.command()
@click.option("--task", "task_name", type=click.Choice(sorted(TASKS)), default="japanese-vowels")
@click.option("--teacher", "teacher_kind", default="lstm-128", show_default=True)
@click.option("--ensemble", default=1, show_default=True, help="Networks in a teacher.")
@click.option("--student", "students", multiple=True, default=("gru-16",), show_default=True)
@click.option("--seeds", default=5, show_default=True, help="How many.")
@click.option("--first-seed", default=1, show_default=True)
@click.option("--epochs", default=200, show_default=True, help="Of teacher and students.")
@click.option("--teacher-epochs", type=int, help="Of the teacher alone.")
@click.option("--patience", default=60, show_default=True, help="Of both, in epochs.")
@click.option(
    "--keep",
    type=click.Choice(["best", "last"]),
    default="best",
    show_default=True,
    help="The epoch whose weights stay, in all networks.",
)
@click.option("--stretch", default=0.0, show_default=True, help="Augmentation, for all networks.")
@click.option("--gain", default=0.0, show_default=True, help="Likewise.")
@click.option("--rotation", default=0.0, show_default=True, help="Likewise, in degrees.")
@click.option("--learning-rate", default=5e-3, show_default=True, help="Of the students.")
@click.option("--teacher-learning-rate", default=2e-3, show_default=True)
@click.option("--temperature", default=DistillationSettings.temperature, show_default=True)
@click.option("--soft-weight", default=DistillationSettings.soft_weight, show_default=True)
@click.option("--hint-weight", default=DistillationSettings.hint_weight, show_default=True)
@click.option(
    "--data",
    type=click.Choice(["test", "validation"]),
    default="test",
    show_default=True,
    help="What the accuracy is measured on; validation to choose settings by.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per student.")
def main(
    task_name: str,
    teacher_kind: str,
    ensemble: int,
    students: tuple[str, ...],
    seeds: int,
    first_seed: int,
    epochs: int,
    teacher_epochs: int | None,
    patience: int,
    keep: Literal["best", "last"],
    stretch: float,
    gain: float,
    rotation: float,
    learning_rate: float,
    teacher_learning_rate: float,
    temperature: float,
    soft_weight: float,
    hint_weight: float,
    data: str,
    as_json: bool,
) -> None:
    """Compare distilled students with the same students trained alone."""
    # It warns of retracing where many networks are trained in one process, as is meant here.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    whole = load_task(task_name)
    distillation = DistillationSettings(temperature, soft_weight, hint_weight)
    augmentation = Augmentation(stretch, gain, rotation, VECTORS.get(task_name, ()))
    settings = TrainingSettings(
        epochs=epochs,
        learning_rate=learning_rate,
        patience=patience,
        augmentation=augmentation,
        keep=keep,
    )
    own = replace(settings, epochs=teacher_epochs or epochs, learning_rate=teacher_learning_rate)
    plan = Plan(teacher_kind, ensemble, students, settings, own, distillation)
    results: dict[str, dict[str, Any]] = {kind: defaultdict(list) for kind in students}
    start = time.monotonic()
    for seed in range(first_seed, first_seed + seeds):
        task = whole if data == "test" else recut(whole, seed)
        measured = task.test if data == "test" else task.validation
        run_seed(plan, task, measured, seed, results)
    for kind, entry in results.items():
        entry["gain"] = list(np.subtract(entry["distilled"], entry["alone"]))
        entry["behind_teacher"] = list(np.subtract(entry["teacher"], entry["distilled"]))
        entry["ratio"] = entry["teacher_parameters"] / entry["parameters"]
        if as_json:
            options = {"task": task_name, "data": data, "first_seed": first_seed}
            click.echo(json.dumps({**options, **plan.facts(kind), **entry}))
    if not as_json:
        print_table(results, teacher_kind, ensemble, len(measured), data)
        click.echo(f"{time.monotonic() - start:.0f} s")


@dataclass(frozen=True)
class Plan:
    """What is trained, and how; both kinds of settings with any seed."""

    teacher: str
    ensemble: int
    students: tuple[str, ...]
    settings: TrainingSettings
    teacher_settings: TrainingSettings
    distillation: DistillationSettings

    def facts(self, student: str) -> dict[str, Any]:
        """As JSON, for one of the students."""
        settings, augmentation = self.settings, self.settings.augmentation or Augmentation()
        return {
            "teacher_network": self.teacher,
            "ensemble": self.ensemble,
            "student_network": student,
            "epochs": settings.epochs,
            "teacher_epochs": self.teacher_settings.epochs,
            "patience": settings.patience,
            "keep": settings.keep,
            "stretch": augmentation.stretch,
            "gain": augmentation.gain,
            "rotation": augmentation.rotation,
            "learning_rate": settings.learning_rate,
            "teacher_learning_rate": self.teacher_settings.learning_rate,
            **vars(self.distillation),
        }


def run_seed(
    plan: Plan, task: Task, measured: SequenceSet, seed: int, results: dict[str, dict[str, Any]]
) -> None:
    """Train the teacher and all students with one seed, alone and distilled, into ``results``."""
    settings = replace(plan.settings, seed=seed)
    keras.backend.clear_session()
    teacher = []
    for member in range(plan.ensemble):
        member_seed = seed + MEMBER_SEEDS * member
        teacher.append(new_network(plan.teacher, task, member_seed))
        fit(teacher[-1], task, replace(plan.teacher_settings, seed=member_seed))
    for kind in plan.students:
        alone, distilled = (new_network(kind, task, seed) for _ in range(2))
        keras.utils.set_random_seed(seed)
        fit(alone, task, settings)
        keras.utils.set_random_seed(seed)
        distil(teacher, distilled, task, settings, plan.distillation)
        entry = results[kind]
        ways = {"teacher": teacher, "alone": [alone], "distilled": [distilled]}
        for name, networks in ways.items():
            entry[name].append(score(networks, measured))
            entry[f"{name}_cross_entropy"].append(cross_entropy(networks, measured))
        entry["parameters"] = count_parameters(distilled)
        entry["teacher_parameters"] = sum(map(count_parameters, teacher))
        figures = ", ".join(f"{name} {entry[name][-1]:.2f}" for name in ways)
        click.echo(f"seed {seed}, {kind}: {figures}", err=True)


def print_table(
    results: dict[str, dict[str, Any]], teacher_kind: str, ensemble: int, count: int, data: str
) -> None:
    """Medians with the range over the seeds, and every seed's paired difference."""
    first = next(iter(results.values()))
    name = teacher_kind if ensemble == 1 else f"{ensemble} x {teacher_kind}"
    click.echo(
        f"accuracy in % on {count} {data} sequences, median (least ... most) of "
        f"{len(first['teacher'])} seeds"
    )
    click.echo(f"{'network':24}{'parameters':>11}{'ratio':>7}  {'accuracy':24}cross entropy")
    click.echo(
        f"{name + ', teacher':24}{first['teacher_parameters']:11}{1:7.1f}  "
        f"{spread(first['teacher']):24}{spread(first['teacher_cross_entropy'])}"
    )
    for kind, entry in results.items():
        for way in ("alone", "distilled"):
            click.echo(
                f"{kind + ', ' + way:24}{entry['parameters']:11}{entry['ratio']:7.1f}  "
                f"{spread(entry[way]):24}{spread(entry[f'{way}_cross_entropy'])}"
            )
    for kind, entry in results.items():
        gain = np.array(entry["gain"])
        click.echo(
            f"{kind}: distilled - alone per seed: "
            f"{', '.join(f'{value:+.2f}' for value in gain)} points; mean {gain.mean():+.2f}, "
            f"better with {(gain > 0).sum()}, equal with {(gain == 0).sum()}, "
            f"worse with {(gain < 0).sum()} seeds"
        )
        behind = np.array(entry["behind_teacher"])
        click.echo(
            f"{kind}: teacher - distilled per seed: "
            f"{', '.join(f'{value:+.2f}' for value in behind)} points; median of teacher - median "
            f"of student {np.median(entry['teacher']) - np.median(entry['distilled']):+.2f}"
        )


if __name__ == "__main__":
    main()
