"""What every recurrent cell is: one time step with named states.

A cell is a Keras cell (``tf_keras.layers.RNN(cell)`` works) whose step is cut in two, because
both halves are needed apart: the product of the input with its matrix can be computed for a whole
sequence at once in training, and can swallow the normalization of the inputs at export; the
recurrent part needs the state. The two products are never joined into one over [x, h]: a shared
quantization of x and h is what ruins the state in int8.

The recurrent matrix U [H, gates * H] of any cell may be of low rank: with ``rank`` r it is the
product of two learned matrices [H, r] and [r, gates * H], which hold r (1 + gates) H parameters
instead of gates H^2 and are multiplied with the state one after the other, in as many operations.

Sources: R. Prabhavalkar et al., "On the compression of recurrent neural networks with an
application to LVCSR acoustic modeling for embedded speech recognition" (ICASSP 2016); A. Kusupati
et al., "FastGRNN: a fast, accurate, stable and tiny kilobyte sized gated recurrent neural network"
(NeurIPS 2018).
"""

from __future__ import annotations

from typing import Any, ClassVar

import tensorflow as tf
import tf_keras as keras

from models.errors import ModelsError


class RecurrentCell(keras.layers.Layer):
    """Base of all cells.

    A subclass sets ``gates`` (how many blocks of ``units`` the input product has), builds its
    recurrent weights in ``build_recurrent`` and computes one step in ``step``, which takes the
    state's product from ``recurrent_product``.

    Args:
        units: number of hidden units H.
        rank: of the recurrent matrix, from 1 to H, held as two factors; None: the matrix is held
            whole.
        input_rank: the same of the input matrix, from 1 to the smaller of inputs and gates * H.

    Raises:
        ModelsError: ``rank`` or ``input_rank`` is out of range.
    """

    #: Names of the states, in the order in which ``step`` takes and gives them.
    state_names: ClassVar[tuple[str, ...]] = ("h",)
    gates: ClassVar[int] = 1
    use_bias: ClassVar[bool] = True
    #: Whether ``step`` needs the input product in as many rows as the states: it reshapes or joins
    #: both. Otherwise a product of one row may serve several rows of states.
    needs_equal_rows: ClassVar[bool] = False
    #: What the axes of each weight run along, so that units and inputs can be cut out of any cell:
    #: "inputs"; "units" (one block of H or several); "outputs" (the outputs of the step before,
    #: H). An axis of any other name is cut to the length that the smaller cell gives it.
    weight_axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "kernel": ("inputs", "units"),
        "kernel_down": ("inputs", "rank"),
        "kernel_up": ("rank", "units"),
        "bias": ("units",),
        "recurrent_kernel": ("outputs", "units"),
        "recurrent_kernel_down": ("outputs", "rank"),
        "recurrent_kernel_up": ("rank", "units"),
    }

    def __init__(
        self, units: int, rank: int | None = None, input_rank: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if rank is not None and (type(rank) is not int or not 1 <= rank <= units):
            raise ModelsError(f"rank must be an integer from 1 to units ({units}), not {rank!r}")
        self.units = units
        self.rank = rank
        self.input_rank = input_rank
        self.output_size = units
        sizes = [
            shape[0] if len(shape) == 1 else tf.TensorShape(shape) for shape in self.state_shapes
        ]
        self.state_size = sizes if len(sizes) > 1 else sizes[0]

    @property
    def state_bounds(self) -> dict[str, float]:
        """States whose magnitude the equations bound, with the bound."""
        return {"h": 1.0}

    @property
    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each state without the batch axis, in the order of ``state_names``. A cell
        whose shapes depend on options of its own sets those before it calls ``__init__`` here."""
        return ((self.units,),) * len(self.state_names)

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Create the weights; ``input_shape`` is (batch, inputs)."""
        self.build_input(int(input_shape[-1]))
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(self.gates * self.units,), initializer=self.initial_bias()
            )
        self.build_recurrent()
        super().build(input_shape)

    def initial_bias(self) -> Any:
        """Give the initializer of the input bias."""
        return "zeros"

    def build_input(self, inputs: int) -> None:
        """Create the input's weights but the bias: kernel [inputs, gates * H], or with
        ``input_rank`` kernel_down [inputs, input_rank] and kernel_up [input_rank, gates * H]."""
        columns = self.gates * self.units
        rank = self.input_rank
        if rank is None:
            self.kernel = self.add_weight(
                name="kernel", shape=(inputs, columns), initializer="glorot_uniform"
            )
            return
        largest = min(inputs, columns)
        if type(rank) is not int or not 1 <= rank <= largest:
            raise ModelsError(
                f"input_rank must be an integer from 1 to {largest}, the smaller of inputs "
                f"({inputs}) and columns ({columns}) of the input matrix, not {rank!r}"
            )
        self.kernel_down = self.add_weight(
            name="kernel_down", shape=(inputs, rank), initializer="glorot_uniform"
        )
        self.kernel_up = self.add_weight(
            name="kernel_up", shape=(rank, columns), initializer="glorot_uniform"
        )

    def build_recurrent(self) -> None:
        """Create the recurrent weights: recurrent_kernel [H, gates * H], or with ``rank``
        recurrent_kernel_down [H, rank] and recurrent_kernel_up [rank, gates * H]."""
        if self.rank is None:
            self.recurrent_kernel = self.add_weight(
                name="recurrent_kernel",
                shape=(self.units, self.gates * self.units),
                initializer="orthogonal",
            )
            return
        # Orthonormal columns times orthonormal rows: like the whole matrix, the product starts
        # with all its singular values at 1.
        self.recurrent_kernel_down = self.add_weight(
            name="recurrent_kernel_down", shape=(self.units, self.rank), initializer="orthogonal"
        )
        self.recurrent_kernel_up = self.add_weight(
            name="recurrent_kernel_up",
            shape=(self.rank, self.gates * self.units),
            initializer="orthogonal",
        )

    def input_factors(self) -> tuple[tf.Variable, ...]:
        """Give the matrices whose product is the input matrix [inputs, gates * H], as
        :meth:`recurrent_factors`."""
        return (self.kernel,) if self.input_rank is None else (self.kernel_down, self.kernel_up)

    def input_matrices(self) -> tuple[tf.Tensor, ...]:
        """Give what the inputs are multiplied with, one after the other: the factors, unless a cell
        stores them in another form."""
        return self.input_factors()

    def recurrent_factors(self) -> tuple[tf.Variable, ...]:
        """Give the matrices whose product is the recurrent matrix: the matrix itself, or with
        ``rank`` its two factors."""
        if self.rank is None:
            return (self.recurrent_kernel,)
        return self.recurrent_kernel_down, self.recurrent_kernel_up

    def recurrent_product(self, h: tf.Tensor, gates: slice | None = None) -> tf.Tensor:
        """Compute the state's share of the pre-activations: [batch, H] -> [batch, gates * H].

        Args:
            h: the state, or what is fed back in its place.
            gates: the consecutive gates to compute it for (slice(0, 2): the first two); None
                stands for all.
        """
        *down, last = self.recurrent_factors()
        # From the left: multiplied out first, the factors would be the whole matrix again.
        for factor in down:
            h = tf.matmul(h, factor)
        if gates is not None:
            first, end, _ = gates.indices(self.gates)
            last = last[:, first * self.units : end * self.units]
        return tf.matmul(h, last)

    def input_product(
        self, x: tf.Tensor, scale: tf.Tensor | None = None, shift: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Compute the input's share of the pre-activations: [..., inputs] -> [..., gates * H].

        With ``scale`` and ``shift`` ([inputs], both or neither) it is the product of
        ``x * scale + shift``, computed with folded weights, so that a normalization costs no
        operator in the step.
        """
        first, *others = self.input_matrices()
        bias = self.bias if self.use_bias else None
        if scale is not None and shift is not None:
            folded = shift[tf.newaxis]
            for factor in (first, *others):
                folded = tf.matmul(folded, factor)
            folded = tf.reshape(folded, (-1,))
            bias = folded if bias is None else bias + folded
            first = first * scale[:, tf.newaxis]
        for factor in (first, *others):
            x = tf.matmul(x, factor)
        return x if bias is None else x + bias

    def begin(self) -> tuple[tf.Tensor, ...]:
        """Give the tensors that ``step`` needs and that do not change over a sequence, computed
        from the weights once per sequence (and folded to constants at export)."""
        return ()

    def step(
        self, product: tf.Tensor, states: tuple[tf.Tensor, ...], constants: tuple[tf.Tensor, ...]
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        """Compute one time step.

        Args:
            product: this step's ``input_product``, [batch, gates * H].
            states: in the order of ``state_names``, each [batch, *shape] as ``state_shapes`` says.
            constants: what ``begin`` gave.

        Returns:
            The output [batch, H] and the new states.
        """
        raise NotImplementedError

    def parallel(self, product: tf.Tensor) -> tf.Tensor | None:
        """Compute the outputs of a whole sequence from states of zero, without a loop over time.

        Args:
            product: the ``input_product`` of all steps, [batch, steps, gates * H].

        Returns:
            [batch, steps, H], what ``step`` gives step by step; None where the cell needs the
            loop, or cannot do without it for this product (whose number of steps is not known).
        """
        return None

    def call(
        self, inputs: tf.Tensor, states: Any, training: bool | None = None
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Compute one step by Keras' cell interface: inputs [batch, inputs] and states -> output
        and new states."""
        states = tuple(states) if isinstance(states, (list, tuple)) else (states,)
        output, new_states = self.step(self.input_product(inputs), states, self.begin())
        return output, list(new_states)

    def unit_basis(self) -> tf.Tensor | None:
        """Give the orthogonal matrix B [H, H] with which the units' values are output @ B; None
        where the outputs are the units' values. It may depend on weights without an "outputs" axis
        alone."""
        return None

    @classmethod
    def options_for(cls, options: dict[str, Any], units: int) -> dict[str, Any]:
        """Give the options of a cell that is cut down to ``units``, from those it has."""
        return options

    def get_prunable_weights(self) -> list[tf.Variable]:
        """Give the matrices that pruning may thin out."""
        return [*self.input_factors(), *self.recurrent_factors()]

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "units": self.units, "rank": self.rank}
        return {**config, "input_rank": self.input_rank}
