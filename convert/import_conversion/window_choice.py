"""Decide how a model that is asked for its last frames is stepped: in lanes, anew, or carried on.

A model that was trained on windows begins each with zero states. By default the stream answers
exactly what the model says of its last frames: with a row of every state for each window that is
under way (*lanes*), or, where a layer cannot be stepped, by computing the whole window for each
answer. ``carry`` stands for the other meaning: one state that is never reset.
"""

from __future__ import annotations

from dataclasses import dataclass

from convert.errors import ConvertError, UnsupportedLayerError, WindowOptionError
from convert.importers.imported import ImportedModel
from convert.step.step_graph import Kind, StepGraph
from convert.step.whole_window import whole_window_graph
from device_runner.errors import one_line
from device_runner.model.window import LONGEST_WINDOW, MOST_LANES, Window, lanes_needed


@dataclass(frozen=True)
class WindowWish:
    """What the user wants of a model's window.

    Attributes:
        steps: frames in a window; None: as many as the model is fixed to.
        hop: frames from one answer to the next; None: 1.
        carry: whether the state is carried on instead.
    """

    steps: int | None = None
    hop: int | None = None
    carry: bool = False

    def check(self) -> None:
        """Raise WindowOptionError if the options contradict each other or are out of range."""
        if self.carry and (self.steps is not None or self.hop is not None):
            raise WindowOptionError(
                "--carry never resets the state, so there is no window: leave out --window and "
                "--hop, or --carry"
            )
        for option, value in (("--window", self.steps), ("--hop", self.hop)):
            if value is not None and not 1 <= value <= LONGEST_WINDOW:
                raise WindowOptionError(f"{option} takes 1 to {LONGEST_WINDOW:,} frames")


@dataclass(frozen=True)
class Meaning:
    """How a model is stepped.

    Attributes:
        graph: one time step, of one row.
        window: for which frames it answers; None if it answers each for all frames since the reset.
        reason: why the window is computed anew for each answer; "" if it is not.
    """

    graph: StepGraph
    window: Window | None = None
    reason: str = ""


def choose_meaning(imported: ImportedModel, wish: WindowWish) -> Meaning:
    """Decide how a model is stepped.

    Raises:
        UnsupportedLayerError: it cannot be stepped, and has no window to be computed over.
        WindowOptionError: the wish does not fit the model.
    """
    steps = _window_steps(imported, wish)
    if steps is None:
        if imported.graph is None:
            raise _refusal(imported, wish)
        if wish.hop is not None:
            raise WindowOptionError(
                "--hop is the distance of windows, but the model has none: it takes sequences of "
                "any length; give --window W too"
            )
        return Meaning(imported.graph)
    hop = wish.hop or 1
    reason = _why_not_lanes(imported, steps, hop)
    if not reason and imported.graph is not None:
        return Meaning(imported.graph, Window(steps, hop, lanes_needed(steps, hop)))
    if imported.whole is None:
        raise UnsupportedLayerError(f"{reason}; --carry steps it without windows")
    try:
        graph = whole_window_graph(imported.whole, steps)
    except ConvertError as error:
        raise type(error)(f"{reason}; {error.message}") from error
    except (ValueError, TypeError, NotImplementedError) as error:
        # What a framework says of a model that it cannot build anew, as all its steps at once.
        raise UnsupportedLayerError(
            f"{reason}; nor can it be computed over {steps} steps at once ({one_line(error)})"
        ) from error
    return Meaning(graph, Window(steps, hop, 0), reason)


def _window_steps(imported: ImportedModel, wish: WindowWish) -> int | None:
    """Return how long a window to keep; None for none."""
    if wish.carry:
        return None
    if wish.steps is not None:
        if imported.window not in (None, wish.steps):
            raise WindowOptionError(
                f"the model is fixed to windows of {imported.window} steps, not {wish.steps}; "
                "leave out --window"
            )
        return wish.steps
    if imported.graph is None:
        return imported.window
    # What gives an output for each step is asked for sequences, not for windows.
    kinds = imported.graph.output_kinds().values()
    return imported.window if Kind.SUMMARY in kinds else None


def _why_not_lanes(imported: ImportedModel, steps: int, hop: int) -> str:
    """Say why a model's window cannot be stepped in lanes; "" if it can."""
    if imported.graph is None:
        # What to do instead comes after the semicolon.
        return imported.refusal.message.split(";")[0] if imported.refusal else "it has no step"
    if any(state.period > 1 for state in imported.graph.states.values()):
        return "a layer steps over frames (strides), and windows may begin at any frame"
    if (lanes := lanes_needed(steps, hop)) > MOST_LANES:
        return f"{lanes:,} windows are under way at once, {MOST_LANES:,} at most"
    return ""


def _refusal(imported: ImportedModel, wish: WindowWish) -> ConvertError:
    """Make the error for a model without a step, with what helps if its window is finite."""
    error = imported.refusal or UnsupportedLayerError("it has no step")
    if imported.whole is None:
        return error
    hint = (
        f"without --carry it is computed anew over its window of {imported.window} steps"
        if wish.carry and imported.window
        else "or give --window W: then it is computed anew over the last W frames for each answer"
    )
    return type(error)(f"{error.message}; {hint}")
