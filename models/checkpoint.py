"""The file that an interrupted training resumes from."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras as keras
from numpy.typing import NDArray

from models.atomic_file import replacing
from models.errors import DamagedCheckpointError
from models.history import TrainingHistory

_FACTS = "facts"


def write_checkpoint(file: Path, facts: Any, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write facts (JSON) and arrays by name; a file that is there is replaced as a whole."""
    with replacing(file) as stream:
        np.savez(stream, **{_FACTS: np.array(json.dumps(facts))}, **arrays)


@contextmanager
def open_checkpoint(
    file: Path, content: bytes | None = None
) -> Iterator[tuple[Any, Mapping[str, NDArray[Any]]]]:
    """Read what :func:`write_checkpoint` wrote: its facts and its arrays.

    Args:
        content: the file's, where it was read already.

    Raises:
        DamagedCheckpointError: the file is damaged, or the block cannot use what is in it.
    """
    try:
        source = file if content is None else io.BytesIO(content)
        with np.load(source, allow_pickle=False) as arrays:
            # NumPy reads no further than an array's last byte, where no checksum is compared yet.
            if damaged := arrays.zip.testzip():
                raise ValueError(f"{damaged} is damaged")
            yield json.loads(str(arrays[_FACTS])), arrays
    # NumPy and zipfile raise errors of any type for damaged files.
    except Exception as error:
        raise DamagedCheckpointError(file, " ".join(str(error).split())[:200]) from error


class Checkpoint:
    """What a resumed training needs: weights, the optimizer's moments, the best weights, history.

    Args:
        network: whose weights are kept.
        optimizer: built for the network.
        file: read here where it exists, and written by :meth:`save`; None keeps all in memory.
        share: takes the file's content, None for no file, and returns what to go on from: that of
            the first machine, where several train together.

    Raises:
        DamagedCheckpointError: the file is damaged, or of another network.
    """

    def __init__(
        self,
        network: keras.Model,
        optimizer: Any,
        file: Path | None,
        share: Callable[[bytes | None], bytes | None] = lambda content: content,
    ) -> None:
        self.network = network
        self.optimizer = optimizer
        self.file = file
        self.history = TrainingHistory()
        self.best_loss = math.inf
        self.best_weights: Sequence[NDArray[Any]] = network.get_weights()
        content = share(file.read_bytes() if file is not None and file.exists() else None)
        if content is not None:
            self._load(file or Path("checkpoint"), content)

    def keep_if_best(self, epoch: int, validation_loss: float) -> None:
        """Remember the weights as they are now where the validation loss is the lowest so far."""
        if validation_loss < self.best_loss:
            self.best_loss, self.history.best_epoch = validation_loss, epoch
            self.best_weights = self.network.get_weights()

    def restore_best(self) -> None:
        """Set the network's weights to the best that were seen."""
        self.network.set_weights(self.best_weights)

    def save(self) -> None:
        """Write the file, where there is to be one."""
        if self.file is None:
            return
        arrays = {
            **{f"weight{i}": value for i, value in enumerate(self.network.get_weights())},
            **{f"best{i}": value for i, value in enumerate(self.best_weights)},
            **{f"optimizer{i}": v.numpy() for i, v in enumerate(self.optimizer.variables)},
        }
        facts = {"history": self.history.facts(), "best_loss": self.best_loss}
        write_checkpoint(self.file, facts, arrays)

    def _load(self, file: Path, content: bytes) -> None:
        with open_checkpoint(file, content) as (facts, arrays):
            count = len(self.network.get_weights())
            self.network.set_weights([arrays[f"weight{i}"] for i in range(count)])
            self.best_weights = [arrays[f"best{i}"] for i in range(count)]
            for index, variable in enumerate(self.optimizer.variables):
                variable.assign(arrays[f"optimizer{index}"])
            self.history = TrainingHistory.from_facts(facts["history"])
            self.best_loss = float(facts["best_loss"])
