"""A random model with its frames, and what the framework itself says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class RandomModel:
    """A model, and what it is.

    Attributes:
        model: of Keras 3 or of tf_keras.
        kind: of KINDS.
        frames: shape of one frame of each input in the model's order; () for a token id.
        constant: numbers of the inputs that stay for a sequence.
        window: steps of its windows; None if it takes any number.
        states: for a model of one step, which output is the next value of each last input.
        vocabulary: number of token ids.
    """

    model: Any
    kind: str
    frames: list[tuple[int, ...]]
    constant: tuple[int, ...] = ()
    window: int | None = None
    states: tuple[int, ...] = ()
    vocabulary: int = 0

    def stream(self, seed: int, steps: int) -> list[Any]:
        """Draw the frames of one sequence for each input, [steps, *frame]."""
        generator = np.random.default_rng(seed)
        found = []
        for number, frame in enumerate(self.frames):
            if self.vocabulary:
                found.append(generator.integers(1, self.vocabulary, (steps, 1)).astype(np.int32))
                continue
            values = generator.normal(size=(steps, *frame)).astype(np.float32)
            found.append(np.repeat(values[:1], steps, 0) if number in self.constant else values)
        return found

    def ask(self, stream: list[Any], timing: tuple[int, int], sums_up: bool) -> Any:
        """Ask the framework for the first output at each frame; NaN where it has no answer.

        Args:
            timing: steps before the first answer, and from one answer to the next.
            sums_up: whether an answer stands for the whole sequence so far.
        """
        steps = len(stream[0])
        if self.states:
            return self._stepped(stream)
        if self.window and sums_up:
            ends = range(self.window, steps + 1)
            answers = [self._called(stream, end - self.window, end) for end in ends]
            return _at(steps, [end - 1 for end in ends], answers)
        if self.window:
            return np.concatenate(
                [self._called(stream, at, at + self.window) for at in range(0, steps, self.window)][
                    :1
                ]
            )
        if sums_up:
            ends = range(timing[0] + 1, steps + 1)
            return _at(steps, [end - 1 for end in ends], [self._called(stream, 0, e) for e in ends])
        answers = self._called(stream, 0, steps)
        return _at(steps, range(timing[0], steps, timing[1]), answers)

    def _called(self, stream: list[Any], begin: int, end: int) -> Any:
        """Call the model on some frames of a stream; return its first output without a batch."""
        given = []
        for number, values in enumerate(stream):
            if number in self.constant:
                given.append(values[:1])
            elif self.vocabulary:
                given.append(values[np.newaxis, begin:end, 0])
            else:
                given.append(values[np.newaxis, begin:end])
        return self._outputs(given)[0][0]

    def _outputs(self, given: list[Any]) -> list[Any]:
        packed: Any = given if len(given) > 1 else given[0]
        if self.kind == "dicts":
            packed = dict(zip(("acc", "baro"), given, strict=True))
        found = self.model(packed, training=False)
        if isinstance(found, dict):
            return [np.asarray(found[name]) for name in sorted(found)]
        return [np.asarray(one) for one in (found if isinstance(found, list | tuple) else [found])]

    def _stepped(self, stream: list[Any]) -> Any:
        count = len(self.model.inputs) - len(self.states)
        states = [
            np.zeros((1, *tensor.shape[1:]), np.float32) for tensor in self.model.inputs[count:]
        ]
        rows = []
        for step in range(len(stream[0])):
            frames = []
            for values, tensor in zip(stream, self.model.inputs, strict=False):
                frame = values[np.newaxis, step]
                frames.append(frame[:, np.newaxis] if len(tensor.shape) > frame.ndim else frame)
            outputs = self._outputs([*frames, *states])
            states = [outputs[place] for place in self.states]
            rows.append(outputs[0].reshape(-1))
        return np.array(rows)


def _at(steps: int, places: Any, answers: Any) -> Any:
    """Put answers where they belong in a stream, NaN elsewhere."""
    found = np.full((steps, *np.shape(answers[0])), np.nan, np.float32)
    for place, answer in zip(places, answers, strict=True):
        found[place] = answer
    return found
