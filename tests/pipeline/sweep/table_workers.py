"""Workers that look results up instead of training, so that a sweep's bookkeeping can be tested by
the hundred; what they answer depends on the recipe alone."""

from __future__ import annotations

import contextlib
import hashlib
import random

from pipeline.sweep.jobs import DONE, JUDGED, TRAINED, UNTRAINED

UNITS = {"gru": 3, "lstm": 4, "simple-rnn": 1}


def answer_for(job):
    """What a job's network is worth: larger ones are better, up to a point of its own."""
    (model,) = job["recipe"]["models"]
    units, cell = model["units"][0], model["cell"]
    scheme = job["recipe"]["schemes"][0]
    size = UNITS[cell] * units * (units + 12) * (4 if scheme == "float32" else 1) + 1000
    text = f"{cell} {units} {scheme} {job['recipe'].get('training')}"
    luck = int(hashlib.sha256(text.encode()).hexdigest()[:4], 16) / 65536
    score = 1 - 1 / (1 + units * UNITS[cell] / 8) - 0.05 * luck
    facts = {"state": DONE, "phase": job["phase"], "seconds": 0.0, "bytes": size, "label": text,
             "file": "control.tflite", "sha256": hashlib.sha256(text.encode()).hexdigest(),
             "file_bytes": size, "parameters": size // 4, "frame_period_s": 0.01}  # fmt: skip
    if job["phase"] == UNTRAINED:
        refused = {"edgetpu": "float"} if scheme == "float32" and job["targets"] else {}
        return {**facts, "refused": refused}
    scored = {"score": score, "interval": [score - 0.01, score + 0.01], "by_seed": [score]}
    if job["phase"] == TRAINED:
        return {**facts, **scored, "curve": [score / 2, score]}
    assert job["phase"] == JUDGED
    return {**facts, **scored, "name": f"{cell}-{units}-{scheme}.tflite"}


class TableWorkers:
    """A pool of such workers; answers come in an order drawn by chance.

    Args:
        seed: of the order.
        lost: share of the jobs whose worker is lost.
        killed_after: polls after which the whole sweep is killed; None for never.
    """

    def __init__(self, count=3, seed=0, lost=0.0, killed_after=None):
        self.count, self.chance = count, random.Random(seed)
        self.lost, self.left = lost, killed_after
        self.jobs, self.done = [], []

    def free(self):
        return self.count - len(self.jobs)

    def submit(self, number, job):
        self.jobs.append((number, job))

    def poll(self, timeout):
        if self.left is not None:
            self.left -= 1
            if self.left <= 0:
                raise KilledError
        if not self.jobs or self.chance.random() < 0.3:
            return []
        number, job = self.jobs.pop(self.chance.randrange(len(self.jobs)))
        if self.chance.random() < self.lost:
            return [(number, None)]
        self.done.append((number, job["phase"]))
        return [(number, answer_for(job))]

    def paused(self):
        return contextlib.nullcontext()

    def close(self):
        pass


class KilledError(BaseException):
    """Stands for SIGKILL: nothing catches it."""
