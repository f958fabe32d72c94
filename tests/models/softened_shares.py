"""What softened logits say, in NumPy."""

import numpy as np


def shares(logits, temperature):
    """Softmax in float64, [..., classes]."""
    powers = np.exp(np.asarray(logits, np.float64) / temperature)
    return powers / powers.sum(-1, keepdims=True)
