"""Graphs that are nearly a recurrent cell, made from kept step models by seeded changes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from convert.tflite_editor import TfliteEditor

Change = Callable[[TfliteEditor, random.Random], bool]
ADD, FULLY_CONNECTED, LOGISTIC, MUL, TANH, SUB, SPLIT = 0, 9, 14, 18, 28, 41, 49


def near_miss(flatbuffer: bytes, seed: int) -> tuple[bytes, list[str]]:
    """Return a model with one to three changes, and their names."""
    chance, editor = random.Random(seed), TfliteEditor(flatbuffer)
    names: list[str] = []
    wanted = chance.choice((1, 1, 2, 3))
    while len(names) < wanted:
        change = chance.choice(CHANGES)
        if change(editor, chance):
            names.append(change.__name__)
    return editor.flatbuffer(), names


def _code(editor: TfliteEditor, operator: Any) -> int:
    return int(editor.tree.operatorCodes[operator.opcodeIndex].builtinCode)


def _operators(editor: TfliteEditor, *codes: int) -> list[Any]:
    return [o for o in editor.tree.subgraphs[0].operators if _code(editor, o) in codes]


def _kind(editor: TfliteEditor, index: int) -> tuple[Any, ...]:
    """What two tensors that can stand for each other have in common."""
    tensor = editor.tree.subgraphs[0].tensors[index]
    return tensor.type, tuple(tensor.shape)


def _computed(editor: TfliteEditor, before: Any) -> list[int]:
    """Tensors that are there when an operator is computed."""
    graph = editor.tree.subgraphs[0]
    found = [int(i) for i in graph.inputs]
    for operator in graph.operators:
        if operator is before:
            break
        found += [int(i) for i in operator.outputs]
    return found


def swapped_gates(editor: TfliteEditor, chance: random.Random) -> bool:
    """Two parts of a SPLIT change places."""
    outputs = list(chance.choice(_operators(editor, SPLIT)).outputs)
    a, b = chance.sample(range(len(outputs)), 2)
    operator = next(o for o in _operators(editor, SPLIT) if list(o.outputs) == outputs)
    outputs[a], outputs[b] = outputs[b], outputs[a]
    operator.outputs = outputs
    return True


def another_function(editor: TfliteEditor, chance: random.Random) -> bool:
    """A LOGISTIC becomes a TANH, or the other way."""
    codes = [int(code.builtinCode) for code in editor.tree.operatorCodes]
    operator = chance.choice(_operators(editor, LOGISTIC, TANH))
    operator.opcodeIndex = codes.index(TANH if _code(editor, operator) == LOGISTIC else LOGISTIC)
    return True


def another_operator(editor: TfliteEditor, chance: random.Random) -> bool:
    """An ADD becomes a MUL, whose options are of another table: it has none."""
    codes = [int(code.builtinCode) for code in editor.tree.operatorCodes]
    operator = chance.choice(_operators(editor, ADD))
    operator.opcodeIndex = codes.index(MUL)
    operator.builtinOptions, operator.builtinOptionsType = None, 0
    return True


def an_activation(editor: TfliteEditor, chance: random.Random) -> bool:
    """An operator limits what it gives."""
    operator = chance.choice(_operators(editor, ADD, MUL, FULLY_CONNECTED))
    if operator.builtinOptions is None:
        return False
    operator.builtinOptions.fusedActivationFunction = chance.choice((1, 2, 3))
    return True


def another_operand(editor: TfliteEditor, chance: random.Random) -> bool:
    """An operator reads another tensor of the same shape: one that is used elsewhere, or itself."""
    operator = chance.choice(_operators(editor, ADD, MUL, SUB, LOGISTIC, TANH))
    inputs = [int(i) for i in operator.inputs]
    place = chance.randrange(len(inputs))
    kind = _kind(editor, inputs[place])
    others = [i for i in _computed(editor, operator) if _kind(editor, i) == kind]
    inputs[place] = chance.choice(others)
    operator.inputs = inputs
    return True


def shared_weights(editor: TfliteEditor, chance: random.Random) -> bool:
    """A matrix is multiplied by another vector that is as long."""
    operator = chance.choice(_operators(editor, FULLY_CONNECTED))
    inputs = [int(i) for i in operator.inputs]
    kind = _kind(editor, inputs[0])
    inputs[0] = chance.choice([i for i in _computed(editor, operator) if _kind(editor, i) == kind])
    operator.inputs = inputs
    return True


def seen_from_outside(editor: TfliteEditor, chance: random.Random) -> bool:
    """A state is another value of the step, which may have been inside of something."""
    graph, signature = editor.tree.subgraphs[0], editor.tree.signatureDefs[0]
    output = chance.choice([o for o in signature.outputs if o.name != b"y"])
    kind, grid = _kind(editor, output.tensorIndex), graph.tensors[output.tensorIndex].quantization
    bound = {int(o.tensorIndex) for o in signature.outputs}
    others = [
        int(i)
        for o in graph.operators
        if _code(editor, o) != SPLIT  # its parts are on the grid of the whole
        for i in o.outputs
        if _kind(editor, int(i)) == kind and int(i) not in bound
    ]
    chosen = chance.choice(others)
    graph.outputs = [chosen if i == output.tensorIndex else i for i in graph.outputs]
    # It is fed back on its input's grid.
    graph.tensors[chosen].quantization = grid
    output.tensorIndex = chosen
    return True


CHANGES: tuple[Change, ...] = (
    swapped_gates,
    another_function,
    another_operator,
    an_activation,
    another_operand,
    shared_weights,
    seen_from_outside,
)
