"""The file that an interrupted training resumes from."""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras as keras

from models.errors import ModelsError

HISTORY_FIELDS = ("loss", "validation_loss", "validation_score", "gradient_norm", "seconds")


class Checkpoint:
    """What a resumed run needs: weights, the optimizer's moments, the best weights, history."""

    def __init__(self, network: keras.Model, optimizer: Any, file: Path | None) -> None:
        self.network = network
        self.optimizer = optimizer
        self.file = file
        self.history: dict[str, list[float]] = {name: [] for name in HISTORY_FIELDS}
        self.best_epoch = 0
        self.best_loss = math.inf
        self.best_weights: Sequence[np.ndarray] = network.get_weights()
        if file is not None and file.exists():
            self._load(file)

    def keep_if_best(self, epoch: int, validation_loss: float) -> None:
        if validation_loss < self.best_loss:
            self.best_loss, self.best_epoch = validation_loss, epoch
            self.best_weights = self.network.get_weights()

    def restore_best(self) -> None:
        self.network.set_weights(self.best_weights)

    def save(self) -> None:
        if self.file is None:
            return
        arrays = {
            **{f"weight{i}": value for i, value in enumerate(self.network.get_weights())},
            **{f"best{i}": value for i, value in enumerate(self.best_weights)},
            **{f"optimizer{i}": v.numpy() for i, v in enumerate(self.optimizer.variables)},
        }
        facts = {
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss,
        }
        self.file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_name(self.file.name + ".partial")
        with partial.open("wb") as stream:
            np.savez(stream, facts=np.array(json.dumps(facts)), **arrays)
        os.replace(partial, self.file)

    def _load(self, file: Path) -> None:
        try:
            with np.load(file, allow_pickle=False) as arrays:
                facts = json.loads(str(arrays["facts"]))
                count = len(self.network.get_weights())
                self.network.set_weights([arrays[f"weight{i}"] for i in range(count)])
                self.best_weights = [arrays[f"best{i}"] for i in range(count)]
                for index, variable in enumerate(self.optimizer.variables):
                    variable.assign(arrays[f"optimizer{index}"])
            self.history = {name: list(facts["history"][name]) for name in HISTORY_FIELDS}
            self.best_epoch, self.best_loss = int(facts["best_epoch"]), float(facts["best_loss"])
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise ModelsError(
                f"{file}: the checkpoint cannot be read ({error}); remove it to train anew"
            ) from error
