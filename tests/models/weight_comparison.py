"""Comparisons of two networks' weights."""

import numpy as np


def assert_same_weights(actual, expected, atol=1e-6):
    for a, b in zip(actual.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=atol, rtol=0)


def largest_difference(one, other):
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)
