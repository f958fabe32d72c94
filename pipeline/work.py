"""What a stage is to the pipeline: what it reads, and how it makes its result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pipeline.source_trace import Tracer
from pipeline.workspace import Stage, Workspace

# (done, total, remark)
Report = Callable[[int, int, str], None]
# (subject, stage) -> a context that shows the stage at work; its value takes the progress.
Tracker = Callable[[str, str], AbstractContextManager[Report]]


class Work(ABC):
    """A stage that can be done.

    Its key is made from :meth:`settings` and from the code that its module imports
    (:mod:`pipeline.source_trace`). So a stage's module imports what it computes with, and nothing
    else."""

    #: What is done: its name in pipeline.stages.STAGES.
    name: str
    #: Whether TensorFlow must be loaded first, without its messages.
    needs_tensorflow: ClassVar[bool] = True
    #: Distributions whose version the result holds, imported or not.
    distributions: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def subject(self) -> str:
        """What the stage is done to; a folder's name."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return what the result depends on besides code, in JSON-ready form."""

    @abstractmethod
    def build(self, folder: Path, report: Report) -> None:
        """Write the result into ``folder``, which holds what an interrupted attempt left."""

    def modules(self) -> tuple[str, ...]:
        """Return the modules that the result depends on, with all that they import."""
        return (type(self).__module__,)

    def chosen(self) -> Mapping[str, tuple[str, ...]]:
        """Return which registry entries the stage uses, by package; the others do not matter."""
        return {}


@dataclass(frozen=True)
class Workshop:
    """Does stages in a workspace and shows them while they run."""

    workspace: Workspace
    track: Tracker
    tracer: Tracer = field(default_factory=Tracer)

    def do(self, work: Work) -> Stage:
        """Return the finished stage; do it now unless it is done already."""
        sources = self.tracer.trace(work.modules(), work.chosen(), work.distributions)

        def build(folder: Path) -> None:
            if work.needs_tensorflow:
                from models.tensorflow_log import load_tensorflow

                load_tensorflow()
            with self.track(work.subject, work.name) as report:
                self._build(work, folder, report)

        return self.workspace.stage(work.name, work.subject, work.settings(), sources, build)

    def _build(self, work: Work, folder: Path, report: Report) -> None:
        """Build, and begin anew where a checkpoint of an interrupted attempt is damaged."""
        from models.errors import DamagedCheckpointError

        while True:
            try:
                return work.build(folder, report)
            except DamagedCheckpointError as error:
                # A checkpoint that is not of this stage would be refused again without end.
                if not error.file.is_relative_to(folder) or not error.file.exists():
                    raise
                self.workspace.warn(f"{error.message}; it is removed")
                error.file.unlink()
