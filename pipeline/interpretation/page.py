"""The page of explanations: what a sequence holds, what of it counts, what the gates do."""

from __future__ import annotations

from pathlib import Path
from textwrap import shorten
from typing import Any

import jinja2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from device_runner.atomic_write import write_atomically
from pipeline.drawing import svg
from pipeline.interpretation.explanation import Explained, Explanation
from pipeline.interpretation.memory import CLOSED, FOLLOWED, OPEN, Gate, HalfLife

TEMPLATE_FILE = "saliency.html.jinja"
# Units of a gate that are drawn.
DRAWN_UNITS = 64
# Steps that are named below a map; inputs beside it, and in words.
TICKS = 7
DRAWN_NAMES, NAME_LENGTH = 24, 26
NAMED_INPUTS = 3


def write_page(path: Path, found: Explanation, period_s: float, source: str, command: str) -> None:
    """Write the page.

    Args:
        period_s: time between two frames in seconds.
        source: of the data, for people.
        command: that makes the page again.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    html = environment.get_template(TEMPLATE_FILE).render(
        found=found,
        pictures=[
            "" if one.texts else svg(f"s{one.number}", _maps(one, found.channels))
            for one in found.sequences
        ],
        texts=[_colored(one) for one in found.sequences],
        gate_pictures=[
            svg(f"g{one.number}", _gates(one.gates)) if one.gates else "" for one in found.sequences
        ],
        lines=lines(found, period_s),
        source=source,
        command=command,
    )
    write_atomically(path, html.encode())


def lines(found: Explanation, period_s: float) -> list[str]:
    """Say in lines what was found."""
    said = []
    for one in found.sequences:
        label = f" ({one.label})" if one.label else ""
        text = f"sequence {one.number}: output {one.decision.index}{label}"
        text += (
            f" = {one.decision.value:.4g}; half of what counts is in the last {_steps(_half(one))}"
        )
        text += f" of {len(one.frames)}"
        if one.agreement is not None:
            text += f"; occlusion and gradient agree to {one.agreement:.2f} (rank correlation)"
        said.append(text)
    said += _inputs(found)
    for gate in _summed(found.sequences):
        said.append(
            f"gate {gate.name}: mean {gate.values.mean():.2f}, above {OPEN:g} at "
            f"{gate.open_share:.0%}, below {CLOSED:g} at {gate.closed_share:.0%} of steps and units"
        )
    said += [_life(one, period_s) for one in found.half_lives]
    return [*said, *found.left_out]


def _inputs(found: Explanation) -> list[str]:
    """Which inputs count most, over all sequences; nothing where they have no names."""
    shares = np.zeros(len(found.channels))
    for one in found.sequences:
        effects = np.abs(one.occlusion).sum(0)
        if len(effects) != len(shares):
            return []
        shares += effects / max(float(effects.sum()), 1e-30) / len(found.sequences)
    if len(shares) < 2:
        return []
    most = np.argsort(shares)[::-1][:NAMED_INPUTS]
    named = "; ".join(f"{found.channels[place]} ({shares[place]:.0%})" for place in most)
    return [f"the inputs that count most: {named}"]


def _life(one: HalfLife, period_s: float) -> str:
    def told(steps: float) -> str:
        return f"more than {FOLLOWED}" if steps >= FOLLOWED else f"{steps:g}"

    steps = "step" if one.median == 1 else "steps"
    return (
        f"state {one.state}: a push is half forgotten after {told(one.median)} {steps} "
        f"({one.median * period_s:.3g} s), the longest tenth after {told(one.longest_tenth)}"
    )


def _steps(count: int) -> str:
    return f"{count} step{'s' * (count != 1)}"


def _half(one: Explained) -> int:
    """In how many last steps half of the occlusion's effect lies."""
    by_step = np.abs(one.occlusion).sum(1)
    if not by_step.sum():
        return 0
    from_the_end = np.cumsum(by_step[::-1])
    patches = int(np.searchsorted(from_the_end, from_the_end[-1] / 2)) + 1
    return int(one.patches.steps[-1] - one.patches.steps[-1 - patches])


def _summed(sequences: list[Explained]) -> list[Gate]:
    """Each gate over all sequences."""
    by_name: dict[str, list[NDArray[np.float32]]] = {}
    for one in sequences:
        for gate in one.gates:
            by_name.setdefault(gate.name, []).append(gate.values)
    return [Gate(name, np.concatenate(values)) for name, values in by_name.items()]


def _maps(one: Explained, channels: tuple[str, ...]) -> Figure:
    names = ["input", "occlusion"] + (["gradient times input"] if one.gradient is not None else [])
    figure = Figure(figsize=(3.6 * len(names), 2.6), layout="constrained")
    panels: list[Axes] = list(figure.subplots(1, len(names), squeeze=False).ravel())
    spread = one.frames - one.frames.mean(0)
    _heat(panels[0], spread / (spread.std(0) + 1e-12), one, False)
    _heat(panels[1], one.occlusion, one, True)
    if one.gradient is not None:
        _heat(panels[2], one.gradient, one, True)
    for panel, name in zip(panels, names, strict=True):
        panel.set(title=name, xlabel="step")
    if len(channels) == one.frames.shape[1] <= DRAWN_NAMES:
        short = [shorten(name, NAME_LENGTH, placeholder="...") for name in channels]
        panels[0].set_yticks(np.arange(len(channels)) + 0.5, short, fontsize=7)
    else:
        panels[0].set_ylabel("value of a frame")
    return figure


def _colored(one: Explained) -> list[tuple[str, str]]:
    """Text of each patch and the color behind it: red for the decision, blue against it."""
    effects = one.occlusion.sum(1)
    limit = float(np.abs(effects).max()) or 1.0
    return [
        (text, f"rgba({'214,39,40' if effect > 0 else '31,119,180'},{abs(effect) / limit:.2f})")
        for text, effect in zip(one.texts, effects, strict=False)
    ]


def _heat(panel: Axes, values: NDArray[np.float64], one: Explained, patches: bool) -> None:
    limit = float(np.abs(values).max()) or 1.0
    steps, width = one.frames.shape
    settings: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    ys = one.patches.values if patches else np.arange(width + 1)
    # Patches are drawn equally wide: the last ones, of one step, would be too thin to be seen.
    xs = np.arange(len(one.patches.steps) if patches else steps + 1)
    panel.pcolormesh(xs, ys, values.T, rasterized=True, **settings)
    if patches:
        shown = np.unique(np.linspace(0, len(xs) - 1, TICKS).round().astype(int))
        panel.set_xticks(shown, [str(one.patches.steps[place]) for place in shown])


def _gates(gates: list[Gate]) -> Figure:
    figure = Figure(figsize=(10.8, 2.2 * len(gates)), layout="constrained")
    panels = figure.subplots(len(gates), 1, squeeze=False).ravel()
    for panel, gate in zip(panels, gates, strict=True):
        drawn = gate.values[:, :DRAWN_UNITS]
        panel.pcolormesh(drawn.T, cmap="viridis", vmin=0, vmax=1, rasterized=True)
        panel.set(title=gate.name, xlabel="step", ylabel="unit")
    return figure
