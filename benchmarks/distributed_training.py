"""What does it bring to train one network on two devices or machines? Here both are this one.

Trains a GRU on JapaneseVowels: in one process, on two logical devices of it (``mirrored``), and in
two processes that talk over the loopback (``multi-worker``), each with the same batches and one
thread a replica. Shown are the seconds of an epoch, the least and the median of all but the first.

    python benchmarks/distributed_training.py [--units 64] [--batch 64] [--epochs 8] [--rounds 2]
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WAYS = {"none": 1, "mirrored": 1, "multi-worker": 2}


def main() -> None:
    """Measure all ways in turns, or train in one of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--train", choices=WAYS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.train:
        train(chosen)
        return
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    losses = {}
    for _ in range(chosen.rounds):
        for way, processes in WAYS.items():
            facts = measure(way, processes)
            seconds[way] += facts["seconds"][1:]
            losses[way] = facts["loss"][-1]
    print(f"gru-{chosen.units}, batches of {chosen.batch}; seconds of an epoch")
    print(f"{'distribute':14} {'least':>7} {'median':>7}  loss of the last epoch")
    for way, found in seconds.items():
        print(f"{way:14} {min(found):7.3f} {statistics.median(found):7.3f}  {losses[way]:.5f}")


def measure(way: str, processes: int) -> dict[str, list[float]]:
    """Train in processes of their own; return the history of the first one."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(processes)]
    workers = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    started = []
    for index in range(processes):
        task = {"type": "worker", "index": index}
        cluster = {"TF_CONFIG": json.dumps({"cluster": {"worker": workers}, "task": task})}
        started.append(
            subprocess.Popen(  # noqa: S603 (our own script)
                [sys.executable, *sys.argv, "--train", way],
                env={
                    **os.environ,
                    **(cluster if processes > 1 else {}),
                    "PYTHONPATH": str(ROOT),
                    "TF_NUM_INTRAOP_THREADS": "1",
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        )
    outputs = [one.communicate()[0] for one in started]
    if any(one.returncode for one in started):
        raise SystemExit(f"{way}: the training failed")
    facts: dict[str, list[float]] = json.loads(outputs[0].splitlines()[-1])
    return facts


def train(chosen: argparse.Namespace) -> None:
    """Train in one way, and print the history."""
    import tensorflow as tf
    import tf_keras as keras

    if chosen.train == "mirrored":
        processor = tf.config.list_physical_devices("CPU")[0]
        parts = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(processor, parts)
    from models.distribution import group_named
    from models.network import Architecture
    from models.tasks import load_task
    from models.training import fit
    from models.training_settings import TrainingSettings
    from pipeline.stages.train import new_network

    group = group_named(chosen.train)
    task = load_task("japanese-vowels")
    sizes = Architecture("gru", (chosen.units,), len(task.channels), len(task.labels))
    settings = TrainingSettings(epochs=chosen.epochs, batch_size=chosen.batch)
    with group.strategy.scope():
        keras.utils.set_random_seed(1)
        history = fit(new_network(sizes, task), task, settings)
    print(json.dumps(history.facts()))


if __name__ == "__main__":
    main()
