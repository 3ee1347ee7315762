"""The scaled decay b/n: in which unit decays are compared with what they extinguish.

Of the deep linear problem with squared error (Dang et al. 2023, arXiv 2301.00437): N samples, n of
a class, decays of W_1 to W_M and of the features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def scaled_decay(
    class_size: ArrayLike, total: ArrayLike, weight_decay: Sequence[float], feature_decay: float
) -> NDArray[np.float64]:
    """Return what is compared with the threshold: (M N/n) (N weight_decay_1...feature_decay)^(1/M).

    That is b/n, of the shape of ``class_size`` and ``total`` together, for n samples of the class
    (or a squared singular value of the labels) and N of all classes.

    Dang et al. 2023 (arXiv 2301.00437); derived and checked numerically.
    """
    depth = len(weight_decay)
    total = np.asarray(total, dtype=np.float64)
    # Roots before products: those of many small decays underflow.
    product = root_of_product([*weight_decay, feature_decay], depth)
    return depth * total / np.asarray(class_size) * total ** (1 / depth) * product


def decay_at(
    scaled_decay: ArrayLike, class_size: ArrayLike, total: ArrayLike, depth: ArrayLike
) -> NDArray[np.float64]:
    """Return the decay, equal for all layers and the features, of a given scaled decay.

    [(b/n n/(M N))^M / N]^(1/(M+1)), of the common shape of the arguments: the inverse of
    `scaled_decay` for n samples of the class, N of all and M layers.

    Derived and checked numerically.
    """
    depth, total = np.asarray(depth), np.asarray(total, dtype=np.float64)
    base = np.asarray(scaled_decay) * np.asarray(class_size) / (depth * total)
    return base ** (depth / (depth + 1)) * total ** (-1 / (depth + 1))


def root_of_product(factors: Sequence[float], order: int) -> float:
    """Return the root of a product whose value may lie outside the range of double precision."""
    # A mantissa is at least 1/2: of a thousand layers' decays, the most that `KEYS` allow, the
    # product of mantissas is still a normal number.
    mantissas, exponents = np.frexp(np.asarray(factors, dtype=np.float64))
    quotient, remainder = divmod(int(exponents.sum()), order)
    # (product of mantissas) 2^(order quotient + remainder), to the power 1/order.
    return float(np.ldexp((np.prod(mantissas) * 2.0**remainder) ** (1 / order), quotient))
