"""Text from a model whose outputs are its next token: sampled, or the likeliest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from device_runner.errors import BadInputError, BadModelError
from device_runner.front_ends.text import FIRST_ID, Tokenizer, is_text
from device_runner.model.step_file import StepModel
from device_runner.stream import Stream


def tokenizer_of(model: StepModel) -> Tokenizer:
    """The tokenizer that a model was trained with.

    Raises:
        BadInputError: the model is none of text.
        BadModelError: its front end does not fit its input.
    """
    contract = model.contract
    if not is_text(contract.front_end):
        raise BadInputError(
            f"{model.path} takes no text: its inputs are {contract.input_units}; "
            "give a model that was trained on text"
        )
    tokenizer = Tokenizer(contract.front_end or {})
    if contract.input.vocabulary != tokenizer.vocabulary:
        raise BadModelError(
            f"{model.path}: its front end has {tokenizer.vocabulary} token ids, its input "
            f"{contract.input.vocabulary}; export the model again"
        )
    return tokenizer


def generating_tokenizer(model: StepModel) -> Tokenizer:
    """As :func:`tokenizer_of`, of a model whose outputs are tokens; else BadInputError."""
    tokenizer = tokenizer_of(model)
    if model.contract.output.shape[-1] != tokenizer.vocabulary:
        raise BadInputError(
            f"{model.path} writes no text: its outputs are {', '.join(model.labels[:3])}...; "
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
    """Token ids, one after another, each given back to the model as its next input.

    Args:
        prompt: at least one token id, which the model reads before; the state begins anew.
        length: no more than so many tokens.
        temperature: by which the logits are divided before one is drawn; 0 takes the likeliest.
        seed: of the draw.
        end_id: the token after which to stop; it is not given out.

    Raises:
        BadInputError: the prompt is empty or not in the vocabulary.
    """
    if not len(prompt):
        raise BadInputError("there is nothing to go on from; give a prompt")
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
    """The likeliest translation of a text, chosen token by token, of ``length`` tokens at most."""
    if tokenizer.separator_id is None:
        raise BadInputError(
            f"{stream.model.path} translates nothing; give a model of the task 'translation'"
        )
    prompt = [*tokenizer.encode(text), tokenizer.separator_id]
    return tokenizer.decode(generate(stream, prompt, length, end_id=tokenizer.end_id))


def _draw(logits: np.ndarray, temperature: float, generator: np.random.Generator) -> int:
    """One token, never padding or the unknown one, which stand for no text."""
    known = logits[FIRST_ID:].astype(np.float64)
    if temperature == 0:
        return FIRST_ID + int(known.argmax())
    weights = np.exp((known - known.max()) / temperature)
    return FIRST_ID + int(generator.choice(len(weights), p=weights / weights.sum()))
