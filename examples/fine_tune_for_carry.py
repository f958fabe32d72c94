"""Fine-tune a Keras model that was trained on windows, so that its state may be carried on.

    python examples/fine_tune_for_carry.py MODEL.keras DATA.npz OUTPUT.keras

MODEL takes windows, [windows, W, values], and ends in a recurrence that returns its last output and
layers for one frame. DATA holds long sequences: ``x`` [sequences, steps, values] and ``y``
[sequences, steps], a class or value for each step. The same weights then see whole sequences: the
state is carried from step to step, and each step but the first W - 1 has its own loss. OUTPUT takes
sequences of any length; ``edgestep convert OUTPUT.keras`` steps it without a window.
"""

import sys
from typing import Any

import keras
import numpy as np

EPOCHS, LEARNING_RATE = 10, 1e-3


def over_sequences(model: Any) -> Any:
    """Build the same layers over sequences of any length, with an output at each step.

    Args:
        model: a model of one input whose last recurrence returns its last output.
    """

    def renewed(layer: Any) -> Any:
        config = layer.get_config()
        if "return_sequences" in config:
            config["return_sequences"] = True
        return type(layer).from_config(config)

    sequences = keras.Input((None, *model.input_shape[2:]))
    longer = keras.models.clone_model(model, input_tensors=sequences, clone_function=renewed)
    longer.set_weights(model.get_weights())
    return longer


def fine_tune(longer: Any, window: int, x: Any, y: Any, epochs: int = EPOCHS) -> None:
    """Train on whole sequences; the first steps, which no window ends at, do not count."""
    counts = np.ones(y.shape, np.float32)
    counts[:, : window - 1] = 0
    classes = np.issubdtype(y.dtype, np.integer)
    logits = keras.losses.SparseCategoricalCrossentropy(from_logits=not _ends_in_softmax(longer))
    loss = logits if classes else keras.losses.MeanSquaredError()
    longer.compile(keras.optimizers.Adam(LEARNING_RATE), loss)
    longer.fit(x, y, sample_weight=counts, epochs=epochs, batch_size=16, verbose=2)


def _ends_in_softmax(model: Any) -> bool:
    return getattr(model.layers[-1], "activation", None) is keras.activations.softmax


def main(source: str, data: str, output: str) -> None:
    """Load, fine-tune and save."""
    model = keras.models.load_model(source)
    longer = over_sequences(model)
    with np.load(data) as arrays:
        fine_tune(longer, model.input_shape[1], arrays["x"], arrays["y"])
    longer.save(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
