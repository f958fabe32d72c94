"""Training on several devices and machines: the same as on one, killed and gone on with."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from models.distribution import CLUSTER_VARIABLE, check_batch, group_named, group_of
from models.errors import ModelsError
from pipeline.recipe import load_recipe

ROOT = Path(__file__).parents[2]
RECIPE = """
name = "together"
task = "japanese-vowels"
[training]
epochs = EPOCHS
DISTRIBUTE
[[models]]
cell = "gru"
units = 8
"""


@pytest.fixture(autouse=True)
def _found_anew():
    group_named.cache_clear()
    yield
    group_named.cache_clear()


def test_several_devices_are_asked_for():
    with pytest.raises(ModelsError, match="this machine has one"):
        group_named("mirrored")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (None, "needs TF_CONFIG in the environment, such as"),
        ("{", "it is {"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}}', "needs TF_CONFIG"),
        (
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
            "needs TF_CONFIG",
        ),
        (
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}',
            "lists one machine",
        ),
    ],
)
def test_the_machines_are_asked_for(monkeypatch, told, said):
    monkeypatch.delenv(CLUSTER_VARIABLE, raising=False)
    if told is not None:
        monkeypatch.setenv(CLUSTER_VARIABLE, told)
    with pytest.raises(ModelsError, match=said):
        group_named("multi-worker")


def test_a_batch_must_have_equal_parts():
    import tensorflow as tf

    group = group_of(tf.distribute.get_strategy())
    assert (group.replicas, group.processes, group.is_first) == (1, 1, True)
    check_batch(group, 33)
    pair = type(group)(group.strategy, 2, 1, True)
    with pytest.raises(ModelsError, match="33 sequences cannot be shared by 2 replicas"):
        check_batch(pair, 33)


# Two logical devices must be made before TensorFlow begins, so in a process of their own.
MIRRORED = """
import json, sys
import numpy as np, tensorflow as tf, tf_keras as keras
if sys.argv[1] == "mirrored":
    processors = tf.config.list_physical_devices("CPU")
    parts = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(processors[0], parts)
from models.distribution import group_named
from models.network import Architecture
from models.tasks.sequence_set import SequenceSet
from models.tasks.task import Task
from models.training import fit
from models.training_settings import TrainingSettings
from pathlib import Path

chance = np.random.default_rng(1)
def some(count):
    lengths = chance.integers(3, 9, count)
    x = [chance.normal(size=(length, 2)).astype("f4") for length in lengths]
    y = [np.where(chance.random(len(one)) < 0.5, (one[:, 0] > 0) * 1, -1) for one in x]
    labels = [int(one.sum() > 0) for one in x]
    steps = y if sys.argv[2] == "steps" else None
    return SequenceSet(x, np.array(labels), np.zeros(count, int), None, steps)
task = Task("made", some(40), some(20), some(20), ("a", "b"), ("x", "y"), "", 0.01, "", "", "")
history = None
with group_named(sys.argv[1]).strategy.scope():
    for epochs in (2, 4):  # once more from the checkpoint
        keras.utils.set_random_seed(1)
        network = Architecture("gru", (4,), 2, 2).build()
        settings = TrainingSettings(epochs=epochs, batch_size=16, learning_rate=0.01)
        import models.training
        models.training.CHECKPOINT_INTERVAL_S = 0
        history = fit(network, task, settings, Path(sys.argv[3]))
print(json.dumps([history.loss, history.validation_loss, history.gradient_norm]))
"""


def two_devices_or_one(tmp_path, name, kind):
    script = tmp_path / "train.py"
    script.write_text(MIRRORED)
    command = [sys.executable, str(script), name, kind, str(tmp_path / f"{name}.npz")]
    found = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-2000:]
    return np.array(json.loads(found.stdout.splitlines()[-1]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["labels", "steps"])
def test_two_devices_compute_what_one_does(tmp_path, kind):
    """Loss, validation loss and gradients' norm of each epoch, with a resumed training; with labels
    at steps the parts of a batch weigh differently."""
    one = two_devices_or_one(tmp_path, "none", kind)
    two = two_devices_or_one(tmp_path, "mirrored", kind)
    assert one.shape == two.shape == (3, 4)
    np.testing.assert_allclose(two, one, rtol=2e-4)


def ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return found


def machines(tmp_path, recipe, count=2):
    """Start the machines of a recipe, as processes here with folders of their own."""
    addresses = [f"127.0.0.1:{port}" for port in ports(count)]
    started = []
    for index in range(count):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "edgestep", "run", str(recipe), "--until", "train",
                 "--runs-dir", str(tmp_path / f"machine{index}")],
                cwd=ROOT,
                env={**os.environ, CLUSTER_VARIABLE: json.dumps(task)},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
        )  # fmt: skip
    return started


def finish(process, seconds=400):
    output, _ = process.communicate(timeout=seconds)
    return process.returncode, output


def losses(folder):
    (path,) = folder.glob("together/**/history.json")
    found = json.loads(path.read_text())
    training = found.get("training", found)
    return np.array([training["loss"], training["validation_loss"]])


@pytest.mark.slow
def test_two_machines_compute_what_one_does_and_go_on_after_a_kill(tmp_path):
    alone = tmp_path / "alone.toml"
    alone.write_text(RECIPE.replace("EPOCHS", "400").replace("DISTRIBUTE", "patience = 400"))
    together = tmp_path / "together.toml"
    distribute = 'patience = 400\ndistribute = "multi-worker"'
    together.write_text(RECIPE.replace("EPOCHS", "400").replace("DISTRIBUTE", distribute))
    assert load_recipe(together).training.distribute == "multi-worker"

    first, second = machines(tmp_path, together)
    deadline = time.monotonic() + 300
    while not list((tmp_path / "machine0").glob("**/checkpoint.npz")):
        assert time.monotonic() < deadline
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.2)
    second.kill()
    second.wait()
    code, output = finish(first)
    assert code == 3, output
    assert "another machine of TF_CONFIG was lost; start the same command" in output
    assert "Traceback" not in output

    first, second = machines(tmp_path, together)
    outcomes = [finish(first), finish(second)]
    assert [code for code, _ in outcomes] == [0, 0], outcomes
    assert "helped with 1 trainings" in outcomes[1][1]
    assert not (tmp_path / "machine1").exists()

    command = [sys.executable, "-m", "edgestep", "run", str(alone), "--until", "train"]
    subprocess.run([*command, "--runs-dir", str(tmp_path / "one")], cwd=ROOT, check=True)
    one, two = losses(tmp_path / "one"), losses(tmp_path / "machine0")
    assert one.shape == two.shape == (2, 400)
    # Rounding grows from step to step; the first epochs tell whether it is the same computation.
    np.testing.assert_allclose(two[:, :20], one[:, :20], rtol=1e-3)
    assert two[1].min() == pytest.approx(one[1].min(), rel=0.2)


@pytest.mark.slow
def test_machines_with_other_recipes_are_told(tmp_path):
    recipes = []
    for epochs in (2, 3):
        recipes.append(tmp_path / f"{epochs}.toml")
        text = RECIPE.replace("EPOCHS", str(epochs))
        recipes[-1].write_text(text.replace("DISTRIBUTE", 'distribute = "multi-worker"'))
    addresses = [f"127.0.0.1:{port}" for port in ports(2)]
    started = []
    for index, recipe in enumerate(recipes):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        command = [sys.executable, "-m", "edgestep", "run", str(recipe), "--until", "train"]
        started.append(
            subprocess.Popen(
                [*command, "--runs-dir", str(tmp_path / str(index))], cwd=ROOT, text=True,
                env={**os.environ, CLUSTER_VARIABLE: json.dumps(task)},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )
        )  # fmt: skip
    for code, output in map(finish, started):
        assert code == 2, output
        assert "the machines' recipes or data differ for gru-8-s1" in output
