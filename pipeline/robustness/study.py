"""All trials of all models, kept as they are done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from device_runner import strict_json
from device_runner.atomic_write import write_atomically
from device_runner.model.step_file import StepModel
from models.metrics import MetricDescription
from pipeline.errors import PipelineError
from pipeline.robustness.recovery import Recovery, recovery
from pipeline.robustness.trial import UNDISTURBED, Labelled, Trial, score, trials

FORMAT = 1
# (done, all, what is tried)
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Key:
    """What a kept score belongs to."""

    model_sha256: str
    data_sha256: str
    disturbance: str
    severity: float
    seed: int


@dataclass(frozen=True)
class ModelStudy:
    """What was found of one model.

    Attributes:
        file, scheme, cell: of the model.
        metric: what the scores are values of.
        scores: of each trial.
        recovery: from bursts.
    """

    file: str
    scheme: str
    cell: str
    metric: MetricDescription
    scores: dict[Trial, float]
    recovery: Recovery

    @property
    def undisturbed(self) -> float:
        """The score on the data as they are."""
        return next(v for trial, v in self.scores.items() if trial.disturbance == UNDISTURBED)

    def to_json(self) -> dict[str, Any]:
        """Write it as JSON; :meth:`read` reads it back."""
        return {
            **{name: getattr(self, name) for name in ("file", "scheme", "cell")},
            "metric": self.metric.facts(),
            "scores": [[*asdict(trial).values(), value] for trial, value in self.scores.items()],
            "recovery": asdict(self.recovery),
        }

    @classmethod
    def read(cls, raw: dict[str, Any]) -> ModelStudy:
        """Read what :meth:`to_json` wrote."""
        return cls(
            **{name: raw[name] for name in ("file", "scheme", "cell")},
            metric=MetricDescription(**raw["metric"]),
            scores={Trial(*trial): value for *trial, value in raw["scores"]},
            recovery=Recovery(**raw["recovery"]),
        )

    def curve(self, disturbance: str) -> dict[float, list[float]]:
        """Return the scores by severity, one for each seed; empty if it was not tried."""
        found: dict[float, list[float]] = {}
        for trial, value in self.scores.items():
            if trial.disturbance == disturbance:
                found.setdefault(trial.severity, []).append(value)
        return found


class Kept:
    """Scores in a file of JSON lines, which an interrupted run goes on from.

    Args:
        path: the file; it may be missing.

    Raises:
        PipelineError: the file holds something else, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[str] = []
        self._scores: dict[Key, float] = {}
        for number, line in enumerate(_read(path), 1):
            self._take(line, number)

    def _take(self, line: str, number: int) -> None:
        try:
            facts = strict_json.loads(line)
            if facts["robustness_format"] != FORMAT:
                raise ValueError("another format")
            key = Key(**facts["key"])
            self._scores[key] = float(facts["score"])
        except (ValueError, KeyError, TypeError) as error:
            raise PipelineError(
                f"{self._path}: line {number} is no result of 'edgestep robustness' ({error}); "
                "name another file, or remove this one"
            ) from error
        self._lines.append(line)

    def get(self, key: Key) -> float | None:
        """Return a score that was kept."""
        return self._scores.get(key)

    def keep(self, key: Key, value: float, facts: dict[str, Any]) -> None:
        """Keep a score; the file is whole before and after."""
        self._scores[key] = value
        line = {"robustness_format": FORMAT, "key": asdict(key), "score": value, **facts}
        self._lines.append(json.dumps(line, allow_nan=False))
        write_atomically(self._path, "".join(f"{one}\n" for one in self._lines).encode())


def _read(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        raise PipelineError(
            f"{path}: no results of 'edgestep robustness'; name another file"
        ) from error


def study(
    models: Iterable[StepModel],
    load: Callable[[StepModel], Labelled],
    seeds: int,
    backend: str,
    kept: Kept,
    progress: Progress,
) -> list[ModelStudy]:
    """Try all disturbances on all models.

    Args:
        models: step models.
        load: gives the data that a model is judged on.
        seeds: how many random draws of each severity.
        backend: which runtime steps them.
        kept: scores that are not computed again, and where new ones go.
        progress: is told of each trial before it begins.
    """
    found = []
    for model in models:
        data = load(model)
        digest = data_digest(data)
        wanted = list(trials(data, seeds))
        scores = {}
        for number, trial in enumerate(wanted):
            progress(number, len(wanted), f"{model.path.name}: {trial.disturbance}")
            key = Key(model.contract.model_sha256, digest, **asdict(trial))
            value = kept.get(key)
            if value is None:
                value = score(model, data, trial, backend)
                kept.keep(key, value, {"file": model.path.name, "metric": data.metric.facts()})
            scores[trial] = value
        progress(len(wanted), len(wanted), f"{model.path.name}: recovery")
        found.append(
            ModelStudy(
                model.path.name,
                model.contract.scheme,
                model.contract.cell,
                data.metric,
                scores,
                recovery(model, data, backend),
            )
        )
    return found


def data_digest(data: Labelled) -> str:
    """Return a hash of the sequences and of what is wanted of them."""
    hashed = hashlib.sha256(data.metric.key.encode())
    for sequence in data.frames:
        for name, values in sorted(sequence.items()):
            hashed.update(f"{name} {values.shape} {values.dtype}".encode() + values.tobytes())
    hashed.update(data.wanted.targets.tobytes())
    return hashed.hexdigest()
