"""Say what keeping a window costs, what carrying the state on costs, and how they differ."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from convert.import_conversion.windows import WindowDifference
from device_runner.model.window import Window
from device_runner.operators.multiply_adds import mean_multiply_adds
from device_runner.stream import Stream

# Rounds in which the streams take turns, and how long each may step in a round.
ROUNDS, ROUND_NS = 7, 10_000_000


@dataclass(frozen=True)
class StepCost:
    """What one frame costs.

    Attributes:
        us: median time of a step in float32 on LiteRT here, in microseconds.
        multiply_adds: of a step.
    """

    us: float
    multiply_adds: int

    @property
    def text(self) -> str:
        """The time in words."""
        return f"{self.us:,.1f} us" if self.us < 100 else f"{self.us:,.0f} us"


@dataclass(frozen=True)
class WindowReport:
    """Both meanings of a model with a window, side by side.

    Attributes:
        window: as it is kept, or would be.
        kept: whether it is kept; else the state is carried on.
        trained: whether the model is fixed to windows; else the user asked for them.
        cost: of keeping the window; None if it was not measured.
        carried: of carrying the state on; None if a layer cannot be stepped.
        difference: of carrying the state on, from the window; None likewise.
        reason: why the window is computed anew for each answer; "" if it is not.
    """

    window: Window
    kept: bool
    trained: bool
    cost: StepCost | None
    carried: StepCost | None = None
    difference: WindowDifference | None = None
    reason: str = ""

    @property
    def sentence(self) -> str:
        """Say both in one line."""
        steps = self.window.steps
        begin = f"{'trained on' if self.trained else 'asked for'} windows of {steps} steps"
        phrase = self.difference.phrase if self.difference else ""
        if not self.kept:
            took = f"; {self.carried.text} a frame" if self.carried else ""
            kept = f"; without --carry: {self._how}" if self.cost else ""
            return f"{begin}, stepped with the state carried on: {phrase}{took}{kept}"
        often = "" if self.window.hop == 1 else f", every {self.window.hop} frames,"
        carried = f"; --carry: {self.carried.text}, {phrase}" if self.carried else ""
        return (
            f"{begin}: the stream answers{often} for its last {steps} frames, {self._how}{carried}"
        )

    @property
    def _how(self) -> str:
        """Say how the window is kept, and what it costs."""
        took = f"{self.cost.text} a frame (float32, LiteRT here)" if self.cost else ""
        if self.window.lanes:
            lanes = f"{self.window.lanes} lane{'s' if self.window.lanes > 1 else ''}"
            return f"{lanes}, {took}"
        multiply_adds = f"{self.cost.multiply_adds:,}" if self.cost else "unknown"
        return (
            f"recomputed for each answer: {took}, {multiply_adds} multiply-adds an answer, as "
            f"{self.reason}"
        )

    def facts(self) -> dict[str, Any]:
        """Return the facts for a step model's metrics; times, which vary, are not among them."""
        found: dict[str, Any] = {"steps": self.window.steps}
        if self.difference:
            found = self.difference.facts()
        found |= {"kept": self.kept, "hop": self.window.hop, "lanes": self.window.lanes}
        if self.cost:
            found["multiply_adds"] = self.cost.multiply_adds
        if self.carried:
            found["carry_multiply_adds"] = self.carried.multiply_adds
        if self.reason:
            found["recomputed"] = self.reason
        if self.kept or not self.difference:
            return {"window": found}
        warning = f"the state is carried on over windows of {self.window.steps} steps: "
        return {"window": found, "window_warning": warning + self.difference.phrase}


def costs_of(streams: Sequence[Stream]) -> list[StepCost]:
    """Measure what a step of each stream costs, in turns, so that a busy moment hits all alike.

    Where most frames are only stored, it is the average from one answer to the next.
    """
    times: list[list[float]] = [[] for _ in streams]
    windows = [one.model.contract.window for one in streams]
    hops = [one.hop if one and not one.lanes else 1 for one in windows]
    frames = [bytes(sum(s.byte_count for s in one.model.contract.inputs)) for one in streams]
    for number in range(ROUNDS + 1):
        for position, (stream, frame) in enumerate(zip(streams, frames, strict=True)):
            stop = time.perf_counter_ns() + ROUND_NS
            while (start := time.perf_counter_ns()) < stop:
                for _ in range(hops[position]):
                    stream.step_bytes(frame)
                if number:  # the first round warms up
                    took = (time.perf_counter_ns() - start) / 1000
                    times[position].append(took / hops[position])
    return [
        StepCost(median(own or [0.0]), mean_multiply_adds(stream.model))
        for own, stream in zip(times, streams, strict=True)
    ]
