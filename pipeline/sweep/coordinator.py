"""The one process that decides: it asks the search, hands out jobs, measures, and keeps the log.

A trial goes from the search to the workers (its network converted untrained), to the devices (that
file measured), to the workers again (the stages of its recipe), to the devices (the result
measured), and into the log. Nobody else writes the log, so a trial is in it once.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol

from pipeline.errors import DeviceError, PipelineError, RecipeError
from pipeline.files import place
from pipeline.sweep.jobs import DONE, JUDGED, TRAINED, UNTRAINED, checkpoint_scores
from pipeline.sweep.log import COMPLETE, FAILED, SweepLog
from pipeline.sweep.measuring import Measurement, MeasuringQueue
from pipeline.sweep.settings import ACCURACY, BYTES, P99, SweepSettings
from pipeline.sweep.standing import front_of
from pipeline.sweep.study import Search
from pipeline.sweep.survey import graph_key, graphs
from pipeline.sweep.trial import Trial
from pipeline.sweep.workers import Workers

# A trial whose worker was lost so often has itself to blame.
LOSSES = 3
POLL_S = 0.1
CONTROL_FILE = "control.tflite"
# Numbers of what is no trial; those of the survey go down from SURVEY.
CONTROL, SURVEY = -1, -2


class Listener(Protocol):
    """Who is told how a sweep gets on."""

    def finished(self, record: dict[str, Any], log: SweepLog) -> None:
        """Called with each finished trial."""

    def at_work(self, text: str) -> None:
        """Called with a few words about what is done now."""

    def check(self) -> None:
        """Called again and again; may end the sweep with KeyboardInterrupt."""


class Sweep:
    """A sweep in its folder.

    Args:
        metric: the task's metric as its facts, for the log.
        search: draws the points.
        workers: do the jobs.
    """

    def __init__(
        self,
        settings: SweepSettings,
        metric: dict[str, Any],
        folder: Path,
        log: SweepLog,
        search: Search,
        workers: Workers,
        listener: Listener,
    ) -> None:
        self.settings, self.metric, self.folder = settings, metric, folder
        self.log, self.search, self.workers, self.listener = log, search, workers, listener
        self.trials: dict[int, Trial] = {}
        self.waiting: list[tuple[int, dict[str, Any]]] = []
        self.measuring: dict[int, dict[str, Future[Measurement]]] = {}
        self.queues: dict[str, MeasuringQueue] = {}
        self.next = len(log.asked)
        self.exhausted = False

    def run(self) -> None:
        """Do all trials that the log lacks, then judge the front."""
        self._check_header()
        self.search.restore(self.log)
        if self.settings.devices and self._is_unfinished:
            self._open_devices()
        try:
            if self.settings.search.sampler == "ehvi" and self._is_unfinished:
                self._survey()
            for number in sorted(set(self.log.asked) - set(self.log.trials)):
                self._begin(number)
            while self._is_unfinished:
                self._ask_more()
                self._step()
            self.search.tell_all(self.log)
            self._judge_front()
        finally:
            for one in self.queues.values():
                one.close()

    @property
    def _is_unfinished(self) -> bool:
        asked_all = self.exhausted or self.next >= self.settings.trials
        return not asked_all or len(self.log.trials) < len(self.log.asked)

    def _check_header(self) -> None:
        """Begin the log, or make sure that it is of this sweep."""
        header = self.log.header
        if header is None:
            self.log.append(
                "sweep",
                name=self.settings.name,
                identity=self.settings.identity,
                task=self.settings.recipe.get("task"),
                metric=self.metric,
                objectives=self.settings.objective_names,
                directions=self.search.directions,
                constraints=self.settings.constraints.model_dump(mode="json"),
                devices=self.settings.model_dump(mode="json")["devices"],
                space=self.settings.space.model_dump(mode="json"),
                points=self.search.space.size,
                search=self.settings.search.model_dump(mode="json", exclude={"storage"}),
            )
        elif header["identity"] != self.settings.identity:
            raise RecipeError(
                f"{self.log.path} is of another space, search or recipe; give the sweep another "
                "'name', or name another folder with --runs-dir"
            )

    def _open_devices(self) -> None:
        """Make the control model, and learn how fast it usually is on each device."""
        self.listener.at_work("control model")
        control = self.folder / CONTROL_FILE
        if not control.exists():
            place(self.folder / self._do(self._control_job())["file"], control)
        for name, section in self.settings.devices.items():
            known = self.log.controls.get(name)
            quiet = contextlib.nullcontext if section.host else self.workers.paused
            queue = MeasuringQueue(
                name, section, control, known["usual_ns"] if known else None, quiet
            )
            self.queues[name] = queue
            for (device, _), one in self.log.measured.items():
                if device == name:
                    queue.front_ends.setdefault(one["front_end"], one["front_end_p99_ns"])
            if known is None:
                self.log.append("control", device=name, usual_ns=queue.learn_control())

    def _survey(self) -> None:
        """Find what networks cost before any is trained; what the log knows is not done again."""
        for index, point in enumerate(graphs(self.search.space)):
            if graph_key(point) not in self.log.surveyed:
                number, recipe = SURVEY - index, self.search.space.recipe(point)
                trial = self.trials[number] = Trial(number, point, recipe, is_survey=True)
                targets = self.settings.constraints.targets
                self._wait(trial, self._job(UNTRAINED, recipe, targets=targets))
        while self.trials:
            self.listener.at_work(f"survey: {len(self.trials)} networks left")
            self._step()

    def _control_job(self) -> dict[str, Any]:
        table = self.search.space.recipe(self.search.space.ends())
        model = {"cell": "gru", "units": 32}
        if "embedding" in table["models"][0]:
            model["embedding"] = table["models"][0]["embedding"]
        table |= {"models": [model], "schemes": ["float32"]}
        return self._job(UNTRAINED, table, targets=[])

    def _do(self, job: dict[str, Any]) -> dict[str, Any]:
        """Do one job now.

        Raises:
            PipelineError: it failed, or its worker was lost again and again.
        """
        for _ in range(LOSSES):
            self.workers.submit(CONTROL, job)
            answers: list[Any] = []
            while not answers:
                answers = self.workers.poll(POLL_S)
            answer = answers[0][1]
            if answer is not None:
                if answer["state"] != DONE:
                    raise PipelineError(f"the control model: {answer['reason']}")
                return dict(answer)
        raise PipelineError(
            f"the worker of the control model was lost {LOSSES} times; see workers.log in "
            f"{self.folder}"
        )

    def _job(self, phase: str, recipe: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"phase": phase, "recipe": recipe, "folder": str(self.folder), **more}

    def _ask_more(self) -> None:
        """Draw trials as far ahead as the search may."""
        while not self.exhausted and self.next < self.settings.trials:
            if not self.search.may_ask(self.next, self.log):
                return
            point = self.search.ask(self.next, self.log)
            if point is None:
                self.exhausted = True
                return
            self.log.append("asked", trial=self.next, point=point)
            self._begin(self.next)
            self.next += 1

    def _begin(self, number: int) -> None:
        point = self.log.asked[number]
        trial = Trial(number, point, self.search.space.recipe(point))
        self.trials[number] = trial
        limits = self.settings.constraints
        # What a network is worth giving up for is told by its bytes, so they must be known.
        if self.queues or limits.bytes is not None or limits.targets or self.settings.search.prune:
            self._wait(trial, self._job(UNTRAINED, trial.recipe, targets=limits.targets))
        else:
            self._train(trial)

    def _wait(self, trial: Trial, job: dict[str, Any]) -> None:
        self.waiting.append((trial.number, job))

    def _train(self, trial: Trial) -> None:
        job = self._job(TRAINED, trial.recipe, bars=self._bars(trial))
        self._wait(trial, {**job, "higher_is_better": self.metric["higher_is_better"]})

    def _step(self) -> None:
        """Hand out what waits, the lowest trial first, and take what has come."""
        self.listener.check()
        self.waiting.sort(key=lambda one: one[0])
        while self.waiting and self.workers.free():
            number, job = self.waiting.pop(0)
            self.trials[number].job = job
            self.workers.submit(number, job)
        for number, answer in self.workers.poll(POLL_S):
            self._answered(self.trials[number], answer)
        for number, futures in list(self.measuring.items()):
            if all(one.done() for one in futures.values()):
                del self.measuring[number]
                self._measured(self.trials[number], futures)

    def _answered(self, trial: Trial, answer: dict[str, Any] | None) -> None:
        if answer is None:
            trial.losses += 1
            if trial.losses < LOSSES:
                self._wait(trial, trial.job)
                return
            answer = {"state": FAILED, "phase": trial.job["phase"], "seconds": 0.0,
                      "reason": f"its worker was lost {LOSSES} times; see workers.log"}  # fmt: skip
        trial.take(answer)
        if answer["state"] != DONE:
            self._finish(trial)
        elif not self._measure(trial):
            self._decide(trial)

    def _measure(self, trial: Trial) -> bool:
        """Have the trial's file measured where it was not yet; False if it was everywhere."""
        file = trial.file
        assert file is not None  # noqa: S101 (the answer came with one)
        missing = [name for name in self.queues if (name, file["sha256"]) not in self.log.measured]
        if not missing:
            return False
        path = self.folder / file["file"]
        self.measuring[trial.number] = {name: self.queues[name].submit(path) for name in missing}
        return True

    def _measured(self, trial: Trial, futures: dict[str, Future[Measurement]]) -> None:
        file = trial.file
        assert file is not None  # noqa: S101 (it was measured)
        for device, future in futures.items():
            try:
                found = future.result()
            except DeviceError:
                raise
            except PipelineError as error:
                trial.take({**file, "state": FAILED, "reason": error.message})
                self._finish(trial)
                return
            if (device, file["sha256"]) not in self.log.measured:
                self.log.append(
                    "measured",
                    device=device,
                    sha256=file["sha256"],
                    phase=file["phase"],
                    trial=trial.number,
                    **{name: getattr(found, name) for name in _MEASURED},
                    step=found.results[0]["latency_ns"]["step"],
                    machine=found.results[0]["machine"],
                )
        self._decide(trial)

    def _costs(self, trial: Trial) -> dict[str, dict[str, Any]]:
        """Return what was measured of the trial's file, by device."""
        file = trial.file
        if file is None:
            return {}
        return {
            name: self.log.measured[name, file["sha256"]]
            for name in self.settings.devices
            if (name, file["sha256"]) in self.log.measured
        }

    def _decide(self, trial: Trial) -> None:
        """Train a network that keeps its constraints; finish one that does not, or is trained."""
        broken = trial.violations(self.settings.constraints, self._costs(trial))
        ends = trial.trained is not None or trial.is_survey
        if ends or any(one > 0 for one in broken.values()):
            self._finish(trial)
        else:
            self._train(trial)

    def _finish(self, trial: Trial) -> None:
        if trial.is_survey:
            facts = trial.surveyed(self.settings.constraints, self._costs(trial))
            self.log.append("surveyed", graph=graph_key(trial.point), **facts)
            del self.trials[trial.number]
            return
        record = trial.record(self.settings.constraints, self._costs(trial))
        record = self.log.append("trial", **record)
        del self.trials[trial.number]
        self.listener.finished(record, self.log)

    def _bars(self, trial: Trial) -> list[list[float]]:
        """Return what every smaller and faster network had scored, from trials that were known
        when this one was drawn, so that it is the same whenever it is asked."""
        search = self.settings.search
        if not search.prune or trial.untrained is None:
            return []
        costs = {f"{P99}:{name}": one["p99_ns"] for name, one in self._costs(trial).items()}
        own = {BYTES: trial.untrained[BYTES], **costs}
        asked = [name for name in self.settings.objective_names if name != ACCURACY]
        found = []
        for number in range(max(0, trial.number - search.ahead + 1)):
            record = self.log.trials[number]
            if record["state"] != COMPLETE or not record.get("curve"):
                continue
            if all(record["objectives"][name] <= own[name] for name in asked):
                epochs = self._epochs(record)
                found.append(
                    checkpoint_scores(
                        record["curve"],
                        epochs,
                        self.metric["higher_is_better"],
                        search.prune_margin,
                    )
                )
        return found if len(found) > 1 else []

    def _epochs(self, record: dict[str, Any]) -> int:
        training = self.search.space.recipe(record["point"]).get("training", {})
        return int(training.get("epochs", len(record["curve"])))

    def _judge_front(self) -> None:
        """Judge the networks that none beats on the test data, and put their files where users
        look for them."""
        best = front_of(self.log, self.settings)
        if self.log.front and [one["trial"] for one in self.log.front["trials"]] == best:
            return
        self.listener.at_work("test data")
        judged: dict[int, dict[str, Any]] = {}
        for number in best:
            trial = Trial(number, self.log.asked[number], {})
            trial.recipe = self.search.space.recipe(trial.point)
            self.trials[number] = trial
            self._wait(trial, self._job(JUDGED, trial.recipe))
        while len(judged) < len(best):
            judged |= self._judged()
        shown = []
        for number in best:
            answer, record = judged[number], self.log.trials[number]
            name = f"{number:03d}-{answer['name']}"
            place(self.folder / answer["file"], self.folder / name)
            shown.append({"trial": number, "label": record["label"], "file": name,
                          "objectives": record["objectives"], "intervals": record["intervals"],
                          "test": answer["score"], "test_interval": answer["interval"],
                          "test_by_seed": answer["by_seed"]})  # fmt: skip
        self.log.append("front", trials=shown)

    def _judged(self) -> dict[int, dict[str, Any]]:
        while self.waiting and self.workers.free():
            number, job = self.waiting.pop(0)
            self.trials[number].job = job
            self.workers.submit(number, job)
        found = {}
        for number, answer in self.workers.poll(POLL_S):
            trial = self.trials[number]
            if answer is None and trial.losses < LOSSES:
                trial.losses += 1
                self._wait(trial, trial.job)
            elif answer is None or answer["state"] != DONE:
                reason = answer["reason"] if answer else "its worker was lost"
                raise PipelineError(f"trial {number} cannot be judged on the test data: {reason}")
            else:
                found[number] = answer
        return found


_MEASURED = (
    "p99_ns", "whole_p99_ns", "p50_ns", "low_ns", "high_ns", "control_p50_ns", "front_end",
    "front_end_p99_ns", "thrown_out", "steady",
)  # fmt: skip
