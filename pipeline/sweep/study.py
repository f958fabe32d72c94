"""Optuna's part of a sweep: which point is tried next.

A trial's point depends on the sweep's settings, the trial's number and the results of trials that
were asked for ``ahead`` trials before it, and on nothing else: not on which worker was faster, and
not on when a sweep was killed. For that the sampler is made anew for each trial, with a seed of the
trial's number, and results are told in the order of the numbers.

The study is a copy: :meth:`Search.restore` makes it of results.jsonl, step by step as it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import warnings
from collections.abc import Mapping
from pathlib import Path

import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from device_runner.errors import one_line
from pipeline.errors import PipelineError
from pipeline.sweep.expected_gain import ExpectedGain
from pipeline.sweep.log import COMPLETE, FAILED, PRUNED, SweepLog
from pipeline.sweep.settings import ACCURACY, JOURNAL, SearchSection, SweepSettings
from pipeline.sweep.space import Point, Space, key_of
from pipeline.sweep.survey import candidates

STUDY_FILE = "study.journal"
NUMBER = "trial"
# How often a point is drawn again that was tried already.
DRAWS = 10
# A space of up to so many points is listed to find one that was not tried.
LISTED = 100_000
# Stands for what a trial that was never trained would have scored; no sampler reads it.
WORST = 1e9

# What Optuna tells of each trial, and of samplers that it calls experimental, is not for users.
optuna.logging.set_verbosity(optuna.logging.ERROR)


class Search:
    """A study of a sweep.

    Args:
        directions: by objective, whether more of it is better.
        folder: the sweep's folder, which holds the journal.
    """

    def __init__(
        self, settings: SweepSettings, directions: Mapping[str, bool], folder: Path
    ) -> None:
        self.settings, self.directions = settings, directions
        self.space = Space(settings)
        self.distributions = {name: one.distribution for name, one in self.space.searched.items()}
        self.storage = open_storage(settings.search, folder)
        self.asked: dict[int, Point] = {}
        self.draws: dict[int, optuna.Trial] = {}
        self.told = 0

    def restore(self, log: SweepLog) -> None:
        """Make the study of the log, as a copy that samplers and people can read."""
        with contextlib.suppress(KeyError):
            optuna.delete_study(study_name=self.settings.name, storage=self.storage)
        self.study = optuna.create_study(
            storage=self.storage,
            study_name=self.settings.name,
            directions=[
                "maximize" if self.directions[name] else "minimize"
                for name in self.settings.objective_names
            ],
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study.set_metric_names(self.settings.objective_names)
        for number in sorted(log.asked):
            self._tell_up_to(number, log)
            point = log.asked[number]
            self.study.enqueue_trial(self.space.drawn(point))
            drawn = self._draw(number, 0, known=True)
            # Makes NSGA-II give the trial the generation that it had.
            _ = drawn.relative_params
            self._keep(number, drawn, point)

    def may_ask(self, number: int, log: SweepLog) -> bool:
        """Tell whether what trial ``number`` depends on has been found."""
        return all(one in log.trials for one in range(max(0, number - self._ahead + 1)))

    def ask(self, number: int, log: SweepLog) -> Point | None:
        """Draw a trial's point, one that was not tried; None if all have been.

        A study skips points that were drawn before: they count as failed draws of its own.
        """
        self._tell_up_to(number, log)
        if self.settings.search.sampler == "ehvi" and (point := self._gainful(number, log)):
            return self._take(number, point, 0)
        tried = {key_of(point) for point in self.asked.values()}
        for attempt in range(DRAWS):
            drawn = self._draw(number, attempt)
            point = self.space.point(drawn.params)
            if key_of(point) not in tried:
                self._keep(number, drawn, point)
                return point
            self.study.tell(drawn, state=TrialState.FAIL)
        left = self._untried(number, tried)
        return None if left is None else self._take(number, left, DRAWS)

    def _take(self, number: int, point: Point, attempt: int) -> Point:
        """Make a chosen point the trial's, in the study, too."""
        self.study.enqueue_trial(self.space.drawn(point))
        self._keep(number, self._draw(number, attempt, known=True), point)
        return point

    def _gainful(self, number: int, log: SweepLog) -> Point | None:
        """Return the surveyed point that is expected to gain most; None if all were tried."""
        pool = candidates(self.space, log)
        places = {key_of(one.point): place for place, one in enumerate(pool)}
        sign = 1 if self.directions[ACCURACY] else -1
        known: dict[int, float] = {}
        others = []
        for earlier, point in self.asked.items():
            place = places.get(key_of(point))
            record = log.trials[earlier] if earlier < self.told else {}
            if place is None:
                continue
            if record.get("state") == COMPLETE:
                known[place] = sign * record["objectives"][ACCURACY]
            else:
                others.append((place, bool(record)))
        # What ended before its time is taken for as bad as the worst that is known.
        worst = min(known.values(), default=None)
        pending = [place for place, ended in others if not ended or worst is None]
        if worst is not None:
            known |= {place: worst for place, ended in others if ended}
        if not pool:
            return None
        chance = random.Random(_seed(self.settings.search.seed, number, 0))  # noqa: S311
        place = ExpectedGain(self.space.searched, pool).choose(known, pending, chance)
        return None if place is None else pool[place].point

    def tell_all(self, log: SweepLog) -> None:
        """Tell what is left at the end."""
        while self.told in log.trials and self.told in self.draws:
            self._tell(self.told, log)

    @property
    def _ahead(self) -> int:
        return self.settings.search.ahead

    def _tell_up_to(self, number: int, log: SweepLog) -> None:
        while self.told < number - self._ahead + 1:
            self._tell(self.told, log)

    def _tell(self, number: int, log: SweepLog) -> None:
        """Tell how a trial ended."""
        record, drawn = log.trials[number], self.draws[number]
        self.told = number + 1
        drawn.set_user_attr("state", record["state"])
        drawn.set_user_attr("label", record.get("label", ""))
        if record["state"] == FAILED:
            self.study.tell(drawn, state=TrialState.FAIL)
            return
        held = record["state"] in (COMPLETE, PRUNED)
        for name, beyond in record.get("violations", {}).items():
            drawn.set_constraint(name, 0.0 if held else beyond)
        drawn.set_constraint("possible", 0.0 if held or record.get("violations") else 1.0)
        found = record.get("objectives", {})
        values = [
            found.get(name, -WORST if self.directions[name] else WORST)
            for name in self.settings.objective_names
        ]
        self.study.tell(drawn, values)

    def _draw(self, number: int, attempt: int, known: bool = False) -> optuna.Trial:
        search = self.settings.search
        if known and search.sampler in ("tpe", "ehvi"):
            # They keep nothing of their own in a study, and what is drawn is known already.
            search = search.model_copy(update={"sampler": "random"})
        self.study.sampler = make_sampler(search, number, attempt)
        return self.study.ask(self.distributions)

    def _keep(self, number: int, drawn: optuna.Trial, point: Point) -> None:
        drawn.set_user_attr(NUMBER, number)
        self.asked[number], self.draws[number] = point, drawn

    def _untried(self, number: int, tried: set[str]) -> Point | None:
        if self.space.size is None or self.space.size > LISTED:
            return None
        left = [point for point in self.space.points() if key_of(point) not in tried]
        chooser = random.Random(_seed(self.settings.search.seed, number, DRAWS))  # noqa: S311
        return chooser.choice(left) if left else None


def make_sampler(search: SearchSection, number: int, attempt: int = 0) -> BaseSampler:
    """Make the sampler that draws a trial's point; for "ehvi" where its survey is used up."""
    seed = _seed(search.seed, number, attempt)
    if search.sampler in ("random", "ehvi"):
        return RandomSampler(seed=seed)
    if search.sampler == "nsgaii":
        return NSGAIISampler(seed=seed, population_size=search.population)
    return TPESampler(
        seed=seed, n_startup_trials=search.startup, multivariate=True, constant_liar=True
    )


def open_storage(search: SearchSection, folder: Path) -> BaseStorage:
    """Open where the study is kept.

    Raises:
        PipelineError: the database cannot be reached, or its driver is not installed.
    """
    if search.storage == JOURNAL:
        path = folder / STUDY_FILE
        # The sweep's folder is locked: a lock of the journal is of a sweep that was killed.
        path.with_name(path.name + ".lock").unlink(missing_ok=True)
        return JournalStorage(JournalFileBackend(str(path)))
    url = "postgresql+psycopg://" + search.storage.partition("://")[2]
    try:
        return RDBStorage(url)
    except ImportError as error:
        raise PipelineError(
            f"the database needs more packages ({one_line(error)}); "
            "install them with 'pip install edgestep[sweep]'"
        ) from error
    except Exception as error:
        # SQLAlchemy and the driver raise errors of many kinds, some with the password in them.
        name = search.storage.rpartition("@")[2]
        raise PipelineError(
            f"the database {name} cannot be opened ({type(error).__name__}); check that it runs, "
            "its name, and that this user may enter"
        ) from error


def objective_directions(settings: SweepSettings, higher_is_better: bool) -> dict[str, bool]:
    """Tell by objective whether more of it is better."""
    return {name: name == ACCURACY and higher_is_better for name in settings.objective_names}


def _seed(seed: int, number: int, attempt: int) -> int:
    text = f"{seed}/{number}/{attempt}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "little")
