"""What a row of the table of operators says about a TFLite operator."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from device_runner.errors import BadModelError
from device_runner.model.flatbuffer import Operator
from device_runner.model.tflite_schema import ACTIVATIONS

Array = NDArray[Any]
Values = Sequence[Array]
#: What an operator computes from its operands. They are float64 real values, or int64 if a tensor
#: holds ids, positions or counts.
Compute = Callable[[Operator, Values], Values]
#: The shape of a tensor by its index.
ShapeOf = Callable[[int], tuple[int, ...]]

# By their names in ACTIVATIONS.
ACTIVATE: dict[str, Callable[[Array], Array]] = {
    "NONE": lambda values: values,
    "RELU": lambda values: np.maximum(values, 0),
    "RELU_N1_TO_1": lambda values: np.clip(values, -1, 1),
    "RELU6": lambda values: np.clip(values, 0, 6),
    "TANH": np.tanh,
}


class Field(NamedTuple):
    """A field of an operator's options.

    It has a number in the schema's table, a name, a type as ``struct`` spells it, and the value
    that it has if a file leaves it out."""

    number: int
    name: str
    kind: str
    default: float = 0


class Options(NamedTuple):
    """The options that matter to the value an operator computes.

    They have a tag in the schema's BuiltinOptions union, and fields."""

    tag: int
    fields: tuple[Field, ...]


ACTIVATION = Field(0, "activation", "b")


class Grid(enum.Enum):
    """Where the grid of an operator's output comes from in integers."""

    #: It is the output's own.
    OWN = enum.auto()
    #: The values are passed on, so it is that of their input.
    PASSED = enum.auto()
    #: All inputs and the output share one.
    JOINED = enum.auto()
    #: The values are rows of a table, so it is the table's.
    TABLE = enum.auto()


class Form(enum.Enum):
    """How an operator's tensors are stored, if not all in float32."""

    INT8 = enum.auto()
    INT16 = enum.auto()
    #: Weights in int8, activations in float32: one scale a matrix, or one a channel.
    HYBRID = enum.auto()
    HYBRID_PER_CHANNEL = enum.auto()
    #: The input is in float16.
    FLOAT16 = enum.auto()


def no_products(operator: Operator, shape: ShapeOf) -> int:
    """Return 0: what is done element by element is by custom not counted."""
    return 0


@dataclass(frozen=True)
class OperatorRow:
    """A TFLite operator.

    Attributes:
        name: as the schema spells it.
        version: the newest whose meaning is known here. Versions above 1 add dtypes and ranks, not
            another meaning.
        compute: what it computes; None if the reference backend does not know it, and the row is
            there for the checks of a file and for what a step costs.
        options: what a file says of it besides its tensors; None if that does not matter.
        check: raises BadModelError if an option is not known here.
        optional_inputs: whether inputs may be left out.
        versions: the first version that has each form. A scheme refuses an operator without a
            version for its form: enter it after its numerics were checked on every runtime.
        grid: where the grid of its output comes from in integers.
        source: the position of the input whose values are passed on.
        matrix, bias: the positions of the inputs that are weights, if it is a matrix product.
        channel_axis: the axis of the matrix along which its output channels lie.
        prescribed: the range (low, high) of its 8-bit output if TFLite prescribes it.
        passes_ids: whether a token id that goes in comes out as the same number.
        multiply_adds: how many one step takes in products and convolutions.
    """

    name: str
    version: int = 1
    compute: Compute | None = None
    options: Options | None = None
    check: Callable[[Operator], None] | None = None
    optional_inputs: bool = False
    versions: Mapping[Form, int] = field(default_factory=dict)
    grid: Grid = Grid.OWN
    source: int = 0
    matrix: int | None = None
    bias: int | None = None
    channel_axis: int = 0
    prescribed: tuple[float, float] | None = None
    passes_ids: bool = False
    multiply_adds: Callable[[Operator, ShapeOf], int] = no_products

    @property
    def one_grid(self) -> bool:
        """Whether inputs and outputs are on one grid."""
        return self.grid in (Grid.PASSED, Grid.JOINED)


def integers(int8: int, int16: int | None = None) -> dict[Form, int]:
    """Give the first versions with tensors of 8 and of 16 bits."""
    return {Form.INT8: int8} if int16 is None else {Form.INT8: int8, Form.INT16: int16}


def misfit(operator: Operator, reason: str) -> BadModelError:
    """Make the error for an operator that cannot be computed."""
    return BadModelError(
        f"operator {operator.name} cannot be computed ({reason}); export or copy the model again"
    )


def activate(operator: Operator, values: Array) -> Array:
    """Apply the activation that is fused into the operator."""
    return ACTIVATE[ACTIVATIONS[int(operator.options["activation"])]](values)


def real(operator: Operator, operands: Values, count: int) -> Values:
    """Return the operands; BadModelError unless there are ``count``, none of them indices."""
    if len(operands) != count or any(operand.dtype.kind != "f" for operand in operands):
        raise misfit(operator, f"it takes {count} tensors of real values")
    return operands


def indices(operator: Operator, operand: Array) -> list[int]:
    """Read a constant operand that holds axes or sizes."""
    if operand.dtype.kind != "i" or operand.ndim > 1:
        raise misfit(operator, "its axes or sizes are not a list of int32 or int64")
    return [int(number) for number in operand.reshape(-1)]
