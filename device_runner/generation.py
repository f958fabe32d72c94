"""Generate text with a language model: draw each next token, or take the likeliest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.errors import BadInputError, BadModelError
from device_runner.front_ends import tokenizer as read_tokenizer
from device_runner.front_ends.text import FIRST_ID, Tokenizer
from device_runner.model.step_file import StepModel
from device_runner.stream import Stream


def tokenizer_of(model: StepModel) -> Tokenizer:
    """Make the tokenizer that a model was trained with.

    Raises:
        BadInputError: the model does not read text.
        BadModelError: its front end does not fit its input.
    """
    contract = model.contract
    tokenizer = read_tokenizer(contract.front_end)
    if tokenizer is None:
        raise BadInputError(
            f"{model.path} does not take text: its inputs are {contract.input_units}; "
            "give a model that was trained on text"
        )
    if contract.input.vocabulary != tokenizer.vocabulary:
        raise BadModelError(
            f"{model.path}: its front end has {tokenizer.vocabulary} token ids, its input "
            f"{contract.input.vocabulary}; export the model again"
        )
    return tokenizer


def generating_tokenizer(model: StepModel) -> Tokenizer:
    """Make the tokenizer of a model whose outputs are tokens.

    Raises:
        BadInputError: the model does not read or does not write text.
        BadModelError: its front end does not fit its input.
    """
    tokenizer = tokenizer_of(model)
    if model.contract.answers[0].shape[-1] != tokenizer.vocabulary:
        raise BadInputError(
            f"{model.path} does not write text: its outputs are {', '.join(model.labels[:3])}...; "
            "give a language model"
        )
    return tokenizer


def generate(
    stream: Stream,
    prompt: Sequence[int],
    length: int,
    temperature: float = 0.0,
    seed: int = 1,
    end_id: int | None = None,
) -> Iterator[int]:
    """Generate token ids, giving each back to the model as its next input.

    Args:
        stream: a stream of a language model; it is reset first.
        prompt: at least one token id, which the model reads first.
        length: the most tokens to generate.
        temperature: what the logits are divided by before one is drawn; 0 takes the likeliest.
        seed: seed of the draw.
        end_id: the token at which to stop; it is not yielded.

    Raises:
        BadInputError: the prompt is empty or not in the vocabulary, or too short for a model that
            answers for its last tokens, or the model does not answer at every token.
    """
    if not len(prompt):
        raise BadInputError("there is no text to go on from; give a prompt")
    _check_window(stream.model, len(prompt))
    generator = np.random.default_rng(seed)
    stream.reset()
    for token in prompt:
        logits = stream.step(int(token))
    for _ in range(length):
        token = _draw(np.asarray(logits), temperature, generator)
        if token == end_id:
            return
        yield token
        logits = stream.step(token)


def translate(stream: Stream, tokenizer: Tokenizer, text: str, length: int) -> str:
    """Translate a text, choosing the likeliest token each time.

    Args:
        length: the most tokens to generate.

    Raises:
        BadInputError: the model does not translate.
    """
    if tokenizer.separator_id is None:
        raise BadInputError(
            f"{stream.model.path} does not translate; give a model of the task 'translation'"
        )
    prompt = [*tokenizer.encode(text), tokenizer.separator_id]
    return tokenizer.decode(generate(stream, prompt, length, end_id=tokenizer.end_id))


def _check_window(model: StepModel, tokens: int) -> None:
    """Check that a model has an answer after a prompt of so many tokens, and after each one."""
    window = model.contract.window
    if window is None:
        return
    if window.hop > 1:
        raise BadInputError(
            f"{model.path} answers every {window.hop} tokens, and text needs each; convert the "
            "model with --hop 1"
        )
    if tokens < window.steps:
        raise BadInputError(
            f"the text to go on from has {tokens} tokens, and {model.path} answers for its last "
            f"{window.steps}; give a longer one"
        )


def _draw(logits: NDArray[Any], temperature: float, generator: np.random.Generator) -> int:
    """Draw one token, but never padding or the unknown one, which are not text."""
    known = logits[FIRST_ID:].astype(np.float64)
    if temperature == 0:
        return FIRST_ID + int(known.argmax())
    weights = np.exp((known - known.max()) / temperature)
    return FIRST_ID + int(generator.choice(len(weights), p=weights / weights.sum()))
