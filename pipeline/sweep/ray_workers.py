"""Workers of a Ray cluster: each job is a task that Ray runs on some node.

Where the sweep's folder is on a disk that all nodes share, a job that is done again on another node
goes on from the finished stages. Elsewhere the node works in a folder of its own, and the file
comes back with the answer.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import Any

import ray

from device_runner.errors import one_line
from pipeline.errors import PipelineError
from pipeline.sweep.workers import Answer

# Some of its functions have no types.
_ray: Any = ray
# How often Ray does a job anew whose node or process was lost.
RETRIES = 3
_FILE, _CONTENT = "file", "content"
_THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


class RayWorkers:
    """The nodes of a cluster; a job takes one of their CPUs.

    Args:
        address: "auto" for the cluster that this machine is in, or the head's address.
        threads: of each job; it takes as many CPUs.
        folder: the sweep's folder, where files are put that come from other disks.

    Raises:
        PipelineError: the cluster cannot be reached.
    """

    def __init__(self, address: str, threads: int, folder: Path) -> None:
        self.threads, self.folder = threads, folder
        root = str(Path(__file__).parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        settings = {**dict.fromkeys(_THREADS, str(threads)), "PYTHONPATH": os.pathsep.join(paths)}
        try:
            _ray.init(address, log_to_driver=False, logging_level=logging.ERROR,
                     runtime_env={"env_vars": settings})  # fmt: skip
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            raise PipelineError(
                f"the Ray cluster '{address}' cannot be reached ({one_line(error)}); start one "
                "with 'ray start --head', or leave --ray out"
            ) from error
        task = _ray.remote(num_cpus=threads, max_retries=RETRIES, max_calls=20)
        self.run = task(_run_on_node)
        self.jobs: dict[Any, int] = {}

    def free(self) -> int:
        """Return how many more jobs the cluster has CPUs for; nodes come and go."""
        most = int(_ray.cluster_resources().get("CPU", 0)) // self.threads
        return max(0, most - len(self.jobs))

    def submit(self, number: int, job: dict[str, Any]) -> None:
        self.jobs[self.run.remote(job)] = number

    def poll(self, timeout: float) -> list[Answer]:
        if not self.jobs:
            return []
        done, _ = _ray.wait(list(self.jobs), num_returns=1, timeout=timeout)
        found: list[Answer] = []
        for one in done:
            number = self.jobs.pop(one)
            try:
                found.append((number, self._placed(_ray.get(one))))
            except ray.exceptions.RayError:
                found.append((number, None))
        return found

    def _placed(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Put a file that comes from another disk where the sweep looks for it."""
        content = answer.pop(_CONTENT, None)
        if content is not None and not (self.folder / answer[_FILE]).exists():
            place = self.folder / answer[_FILE]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        return answer

    def paused(self) -> contextlib.AbstractContextManager[None]:
        """Do nothing: nodes are not stopped. Measure on a device that is no node."""
        return contextlib.nullcontext()

    def close(self) -> None:
        """End what runs, and leave the cluster."""
        for one in self.jobs:
            with contextlib.suppress(ray.exceptions.RayError):
                _ray.cancel(one, force=True)
        _ray.shutdown()


def _run_on_node(job: dict[str, Any]) -> dict[str, Any]:
    """Do a job on a node; what it answers also says on which."""
    from pipeline.sweep.jobs import run_job

    answer = run_job(job)
    answer["node"] = _ray.get_runtime_context().get_node_id()
    if _FILE in answer:
        answer[_CONTENT] = Path(job["folder"], answer[_FILE]).read_bytes()
    return answer
