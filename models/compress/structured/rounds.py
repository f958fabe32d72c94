"""Pruning of units and input channels, at once or in rounds with a fine-tuning after each."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras as keras
from numpy.typing import NDArray

from models.checkpoint import open_checkpoint, write_checkpoint
from models.compress import PruneSettings
from models.compress.compressed import Compressed
from models.compress.structured.cut import keep_inputs, keep_units, select_channels
from models.compress.structured.importance import input_importance, unit_importance
from models.errors import ModelsError
from models.history import EpochRecord, TrainingHistory
from models.network import Architecture
from models.prediction import evaluate
from models.tasks.task import Task
from models.training import Progress, fit
from models.training_settings import TrainingSettings


def prune_units(
    network: keras.Model,
    architecture: Architecture,
    task: Task,
    keep: int | float,
    importance: str = "taylor",
) -> tuple[keras.Model, Architecture]:
    """Take the least important hidden units out of every recurrence, at once.

    Args:
        network: trained; left as it is.
        task: whose training data tell the importance.
        keep: units that each recurrence keeps (int), or the share of its units (float, (0, 1]).
        importance: as in :func:`unit_importance`; units are ranked within their recurrence.

    Returns:
        The smaller network, not fine-tuned, and its architecture.

    Raises:
        UnknownNameError: there is no such importance.
        ModelsError: ``keep`` is out of range for a recurrence or below the rank of a low-rank
            network, or network and architecture do not fit.
    """
    counts = _unit_counts(architecture, keep)
    scores = unit_importance(network, task, importance)
    kept = [_most_important(score, count) for score, count in zip(scores, counts, strict=True)]
    return keep_units(network, architecture, kept)


def prune_inputs(
    network: keras.Model,
    architecture: Architecture,
    task: Task,
    keep: int | float,
    importance: str = "taylor",
) -> tuple[keras.Model, Architecture, Task]:
    """Take the least important input channels out.

    The smaller network's frames hold the kept channels only, in the task's order: the device need
    not read a sensor that is not used.

    Args:
        network: trained; left as it is.
        keep: channels to keep (int), or their share (float, (0, 1]).
        importance: as in :func:`input_importance`.

    Returns:
        The smaller network, not fine-tuned, its architecture, and the task with the kept channels
        alone, to fine-tune, calibrate and export with.

    Raises:
        ModelsError: ``keep`` is out of range, or network, architecture and task do not fit.
    """
    count = _count(keep, architecture.inputs, "inputs")
    kept = _most_important(input_importance(network, task, importance), count)
    smaller, smaller_architecture = keep_inputs(network, architecture, kept)
    return smaller, smaller_architecture, select_channels(task, kept)


@dataclass(frozen=True)
class PruningRound:
    """What a round did.

    Attributes:
        units: of each recurrence, and ``inputs``: both after the cut.
        cut_loss, cut_score: on the validation data, before the fine-tuning.
        tuned_loss, tuned_score: the same after it.
    """

    units: tuple[int, ...]
    inputs: int
    cut_loss: float
    cut_score: float
    tuned_loss: float
    tuned_score: float


@dataclass(frozen=True)
class _Progress:
    """What one round hands to the next: the network, the indices of the task's channels that it
    reads, and what has been told of it."""

    network: keras.Model
    architecture: Architecture
    channels: tuple[int, ...]
    history: TrainingHistory
    rounds: tuple[PruningRound, ...] = ()

    def save(self, file: Path) -> None:
        """Write all of it, so that :meth:`load` goes on behind the last finished round."""
        facts = {
            "architecture": asdict(self.architecture),
            "channels": self.channels,
            "history": self.history.facts(),
            "rounds": [asdict(done) for done in self.rounds],
        }
        weights = self.network.get_weights()
        write_checkpoint(file, facts, {f"weight{i}": value for i, value in enumerate(weights)})

    @classmethod
    def load(cls, file: Path) -> _Progress:
        """Read what :meth:`save` wrote; ModelsError where it is damaged."""
        with open_checkpoint(file) as (facts, arrays):
            architecture = Architecture.from_facts(facts["architecture"])
            network = architecture.build()
            count = len(network.get_weights())
            network.set_weights([arrays[f"weight{i}"] for i in range(count)])
            rounds = [{**done, "units": tuple(done["units"])} for done in facts["rounds"]]
            return cls(
                network,
                architecture,
                tuple(map(int, facts["channels"])),
                TrainingHistory.from_facts(facts["history"]),
                tuple(PruningRound(**done) for done in rounds),
            )


def prune_in_rounds(
    network: keras.Model,
    architecture: Architecture,
    task: Task,
    settings: PruneSettings,
    training: TrainingSettings,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Compressed:
    """Take units and input channels out in several rounds and fine-tune after each.

    Every round keeps the same share of what is left, and ranks it anew.

    Args:
        network: trained; left as it is.
        settings: ``keep`` and ``keep_inputs`` are of the whole, as in :func:`prune_units` and
            :func:`prune_inputs`; None keeps all.
        training: of the fine-tuning in each round; epochs and patience are counted anew.
        progress: called after each epoch with (epoch over all rounds, epochs of all rounds,
            its losses); rounds that stop early leave numbers out.
        checkpoint: file to resume from, written after each round. While a round is fine-tuned, the
            checkpoint of that training (:func:`models.training.fit`) lies next to it.

    Returns:
        The smaller network; its history is that of all rounds one after the other, and its facts
        have ``rounds``, a :class:`PruningRound` each.

    Raises:
        ModelsError: ``keep`` or ``keep_inputs`` is out of range for this network, network and
            architecture do not fit, or the checkpoint cannot be read.
        DivergedError: the fine-tuning lost its numbers; lower its learning rate.
    """
    state = _Progress(network, architecture, tuple(range(architecture.inputs)), TrainingHistory())
    plan = _plan(architecture, settings)
    if checkpoint and checkpoint.exists():
        state = _Progress.load(checkpoint)
    for number in range(len(state.rounds) + 1, settings.rounds + 1):
        total = settings.rounds * training.epochs
        shifted = _shifted(progress, (number - 1) * training.epochs, total)
        own_file = checkpoint and checkpoint.with_name(f"{checkpoint.stem}-round{number}.npz")
        state = _next_round(state, task, plan[number - 1], training, shifted, own_file)
        if checkpoint and own_file:
            state.save(checkpoint)
            own_file.unlink(missing_ok=True)
    return Compressed(
        state.network,
        state.architecture,
        state.history,
        {"rounds": [asdict(done) for done in state.rounds]},
        None if settings.keep_inputs is None else state.channels,
    )


@dataclass(frozen=True)
class _Target:
    """What a round cuts to: units of each recurrence and inputs, None where all stay, ranked by
    an importance."""

    units: list[int] | None
    inputs: int | None
    importance: str


def _plan(whole: Architecture, settings: PruneSettings) -> list[_Target]:
    """What each round cuts to."""
    counts = None if settings.keep is None else _unit_counts(whole, settings.keep)
    inputs = settings.keep_inputs
    input_count = None if inputs is None else _count(inputs, whole.inputs, "inputs")

    def units_after(share: float) -> list[int] | None:
        if counts is None:
            return None
        pairs = zip(whole.units, counts, strict=True)
        return [_left_after(before, count, share) for before, count in pairs]

    shares = [number / settings.rounds for number in range(1, settings.rounds + 1)]
    return [
        _Target(
            units_after(share),
            None if input_count is None else _left_after(whole.inputs, input_count, share),
            settings.importance,
        )
        for share in shares
    ]


def _next_round(
    state: _Progress,
    task: Task,
    target: _Target,
    training: TrainingSettings,
    progress: Progress | None,
    checkpoint: Path | None,
) -> _Progress:
    """Cut to the target and fine-tune."""
    network, architecture, channels = state.network, state.architecture, state.channels
    narrowed = task if len(channels) == len(task.channels) else select_channels(task, channels)
    if target.inputs is not None:
        network, architecture, narrowed = prune_inputs(
            network, architecture, narrowed, target.inputs, target.importance
        )
        channels = tuple(task.channels.index(name) for name in narrowed.channels)
    if target.units is not None:
        scores = unit_importance(network, narrowed, target.importance)
        pairs = zip(scores, target.units, strict=True)
        kept = [_most_important(score, count) for score, count in pairs]
        network, architecture = keep_units(network, architecture, kept)
    cut = evaluate(network, narrowed.validation, narrowed.score)
    fitted = fit(network, narrowed, training, checkpoint, progress)
    tuned = evaluate(network, narrowed.validation, narrowed.score)
    state.history.extend(fitted)
    finished = PruningRound(architecture.units, architecture.inputs, *cut, *tuned)
    return _Progress(network, architecture, channels, state.history, (*state.rounds, finished))


def cut_any(
    network: keras.Model,
    architecture: Architecture,
    keep: int | float | None,
    inputs: int | float | None,
) -> tuple[keras.Model, Architecture]:
    """Cut a network, trained or not, to as many units and input channels as :func:`prune_in_rounds`
    leaves, whichever they are; ModelsError where it cannot be cut so."""
    if inputs is not None:
        left = _count(inputs, architecture.inputs, "inputs")
        network, architecture = keep_inputs(network, architecture, range(left))
    if keep is not None:
        kept = [range(count) for count in _unit_counts(architecture, keep)]
        network, architecture = keep_units(network, architecture, kept)
    return network, architecture


def _most_important(scores: NDArray[Any], count: int) -> NDArray[Any]:
    """The indices of the ``count`` highest scores, ascending."""
    return np.sort(np.argsort(-scores, kind="stable")[:count])


def _unit_counts(architecture: Architecture, keep: int | float) -> list[int]:
    counts = [_count(keep, units, "units") for units in architecture.units]
    rank = architecture.options.get("rank")
    if rank is not None and min(counts) < rank:
        raise ModelsError(
            f"the recurrent matrices have rank {rank}, so each recurrence must keep {rank} units "
            f"or more, not {min(counts)}; prune units first and factorize then"
        )
    return counts


def _count(keep: int | float, size: int, what: str) -> int:
    """``keep`` of ``size`` things as a number."""
    if isinstance(keep, (int, np.integer)) and not isinstance(keep, bool):
        if 1 <= keep <= size:
            return int(keep)
    elif not isinstance(keep, bool) and 0 < keep <= 1:
        return max(1, round(keep * size))
    raise ModelsError(
        f"keep must be a number of {what} from 1 to {size} (int) or their share above 0 and up to "
        f"1.0 (float), not {keep!r}"
    )


def _left_after(whole: int, count: int, progress: float) -> int:
    """How many are left when ``progress`` (0 to 1) of the way from ``whole`` to ``count`` is
    done."""
    left: int = round(whole * (count / whole) ** progress)
    return left


def _shifted(progress: Progress | None, done: int, total: int) -> Progress | None:
    if progress is None:
        return None

    def report(epoch: int, _: int, record: EpochRecord) -> None:
        progress(done + epoch, total, record)

    return report
