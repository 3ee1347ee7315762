"""The general orthogonal frame of Dang et al. 2023 (arXiv 2301.00437): lengths by class size.

Under squared error without a bias, class means and the rows of the head's product P lie along the
axes of an orthogonal frame, one axis a class, with lengths that follow from the class's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from collapse.theory.decay import scaled_decay
from collapse.theory.direction import minimiser


@dataclass(frozen=True, eq=False)
class Lengths:
    """Lengths of the general orthogonal frame, zero for a collapsed class.

    Attributes
    ----------
    weights
        Norms p_k of the rows of P.
    features
        Norms of the class-mean features; row k of P is p_k over this norm times the feature.
    first_layer
        Singular values s_k of W_1.
    """

    weights: NDArray[np.float64]
    features: NDArray[np.float64]
    first_layer: NDArray[np.float64]


def lengths(
    class_size: ArrayLike, total: float, weight_decay: Sequence[float], feature_decay: float
) -> Lengths:
    """Return the lengths of classes by their size, without a bias and with widths >= K.

    With x the minimiser of 1/(1 + x^M) + (b/n) x: p^2 = N feature_decay x^M = c s^(2M),
    c = weight_decay_1^(M-1) / (weight_decay_2...weight_decay_M), and the feature's norm is
    p / (p^2 + N feature_decay). All have the shape of ``class_size``, which need not be whole;
    ``total`` is N.

    Dang et al. 2023 (arXiv 2301.00437); checked numerically.
    """
    # N feature_decay is what ridge regression of the labels on P adds to P^T P.
    depth, ridge = len(weight_decay), total * feature_decay
    x = minimiser(scaled_decay(class_size, total, weight_decay, feature_decay), depth)
    weights = np.sqrt(ridge * x**depth)
    first, *later = weight_decay
    # One factor a layer: the products alone may leave double precision.
    balance = np.prod([(other / first) ** (1 / (2 * depth)) for other in later])
    return Lengths(
        weights=weights,
        # The best features for a given P: those of ridge regression.
        features=weights / (weights**2 + ridge),
        first_layer=weights ** (1 / depth) * balance,
    )
