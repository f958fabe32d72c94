"""How many steps a model needs until a disturbance is forgotten."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.rollout import long_streams
from device_runner.model.step_file import StepModel
from device_runner.stream import Stream
from pipeline.robustness.disturbances import Frames
from pipeline.robustness.trial import Labelled

# A burst is long enough to fill the state, and rare enough to be forgotten before the next one.
BURST_STEPS = 5
GAP_STEPS = 200
BURSTS = 40
# In deviations of a channel.
BURST_SIZE = 3.0
# Share of the outputs' spread within which a model counts as recovered.
NEAR = 0.05
SEED = 11


@dataclass(frozen=True)
class Recovery:
    """Steps from the end of a burst to the first after which all outputs are near again.

    Attributes:
        median, slowest_tenth: in steps; of the bursts that were forgotten before the next one, None
            if there was none.
        never: share of the bursts that were not forgotten.
    """

    median: float | None
    slowest_tenth: float | None
    never: float


def recovery(model: StepModel, data: Labelled, backend: str) -> Recovery:
    """Measure the recovery of a model on its data, chained into one stream without reset.

    BURSTS bursts of BURST_STEPS frames are replaced by noise (token ids by random ones), GAP_STEPS
    apart. Outputs are near if they are within NEAR of their spread of those without bursts.
    """
    steps = GAP_STEPS * (BURSTS + 1)
    stream: Frames = {
        name: values[:steps]
        for name, values in long_streams(data.frames, steps, SEED, 1)[0].items()
    }
    starts = GAP_STEPS * np.arange(1, BURSTS + 1)
    undisturbed = _outputs(model, stream, backend)
    disturbed = _outputs(model, _with_bursts(model, stream, starts), backend)
    spread = float(np.ptp(undisturbed)) or 1.0
    far = (np.abs(disturbed - undisturbed) > NEAR * spread).any(-1)
    needed = []
    for start in starts:
        after = far[start + BURST_STEPS : start + GAP_STEPS]
        last_far = np.flatnonzero(after)
        needed.append(0 if not len(last_far) else int(last_far[-1]) + 1)
    times = np.array(needed)
    forgotten = times[times < GAP_STEPS - BURST_STEPS]
    if not len(forgotten):
        return Recovery(None, None, 1.0)
    return Recovery(
        float(np.median(forgotten)),
        float(np.percentile(forgotten, 90)),
        1 - len(forgotten) / len(times),
    )


def _with_bursts(model: StepModel, stream: Frames, starts: NDArray[np.int64]) -> Frames:
    random = np.random.default_rng(SEED)
    places = (starts[:, None] + np.arange(BURST_STEPS)).ravel()
    changed = {name: values.copy() for name, values in stream.items()}
    for spec in model.contract.inputs:
        values = changed[spec.name]
        shape = (len(places), *values.shape[1:])
        if spec.vocabulary is not None:
            values[places] = random.integers(0, spec.vocabulary, shape)
        else:
            deviation = values.std(0, dtype=np.float64)
            values[places] = values.mean(0) + BURST_SIZE * deviation * random.standard_normal(shape)
    return changed


def _outputs(model: StepModel, frames: Frames, backend: str) -> NDArray[np.float64]:
    given = next(iter(Stream(model, backend).run_by_name(frames).values()))
    # Of a model with a window, frames without an answer are equal in both.
    return np.nan_to_num(given.astype(np.float64))
