"""One direction of the labels under squared error: what decays leave of it.

With M layers and the scaled decay b/n, x >= 0 minimises 1/(1 + x^M) + (b/n) x; the direction is
collapsed (x = 0) from b/n = threshold(M) on (Dang et al. 2023, arXiv 2301.00437).

The code works with the residual fraction y = 1/(1 + x^M), since its stationarity
y (1 - y)^((M-1)/(M+1)) = (b/(M n))^(M/(M+1)) neither overflows nor cancels.
"""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray


def threshold(depth: ArrayLike) -> NDArray[np.float64]:
    """Return the scaled decay at which a class collapses, tau_M = (M-1)^((M-1)/M) / M.

    For M layers, in the shape of ``depth``. At it the logits fall to zero from the fraction
    (M-1)/M of the label: continuously for M = 1, with a jump for M >= 2.

    Dang et al. 2023 (arXiv 2301.00437); derived and checked numerically.
    """
    depth = np.asarray(depth, dtype=np.float64)
    # For M = 1 this is 0^0 = 1, the limit.
    return (depth - 1) ** ((depth - 1) / depth) / depth


def metastable_threshold(depth: ArrayLike) -> NDArray[np.float64]:
    """Return the scaled decay up to which a non-zero stationary point exists.

    tau_loc = (M+1)^2/(4M) ((M-1)/(M+1))^((M-1)/M) for M layers, in the shape of ``depth``; equal to
    `threshold` for M = 1.

    Derived and checked numerically.
    """
    depth = np.asarray(depth, dtype=np.float64)
    below = ((depth - 1) / (depth + 1)) ** ((depth - 1) / depth)
    return (depth + 1) ** 2 / (4 * depth) * below


def largest_root(scaled_decay: ArrayLike, depth: ArrayLike) -> NDArray[np.float64]:
    """Return the largest stationary x: that of M x^(M-1) / (1 + x^M)^2 = b/n.

    In the common shape of b/n > 0 and the number of layers M; nan beyond `metastable_threshold`.
    Between `threshold` and that it is a local minimum above that of x = 0.

    Dang et al. 2023 (arXiv 2301.00437); derived and checked numerically.
    """
    decay, depth = np.broadcast_arrays(np.asarray(scaled_decay, dtype=np.float64), depth)
    residual = residual_fraction((decay / depth) ** (depth / (depth + 1)), depth)
    # x^M = (1 - y)/y.
    root = ((1 - residual) / residual) ** (1 / depth)
    return np.where(decay <= metastable_threshold(depth), root, np.nan)


def minimiser(scaled_decay: ArrayLike, depth: ArrayLike) -> NDArray[np.float64]:
    """Return the x >= 0 that minimises 1/(1 + x^M) + (b/n) x.

    In the common shape of b/n > 0 and the number of layers M: `largest_root` below `threshold`,
    zero from it on.

    Dang et al. 2023 (arXiv 2301.00437); derived and checked numerically.
    """
    below = np.asarray(scaled_decay) < threshold(depth)
    return np.where(below, largest_root(scaled_decay, depth), 0.0)


def logit_fraction(x: ArrayLike, depth: ArrayLike) -> NDArray[np.float64]:
    """Return the logit's fraction of the label, x^M / (1 + x^M): singular value over sqrt(n).

    In the common shape of x, as `minimiser` or `largest_root` returns it, and the number of layers.

    Dang et al. 2023 (arXiv 2301.00437); derived and checked numerically.
    """
    # A collapsed direction has x = 0; the logistic function takes its logarithm, minus infinity, to
    # 0, and never overflows as x^M would.
    with np.errstate(divide="ignore"):
        return scipy.special.expit(np.asarray(depth) * np.log(x))


def residual_fraction(constant: NDArray[np.float64], depth: ArrayLike) -> NDArray[np.float64]:
    """Return the smallest root y of y (1 - y)^a = constant, a = (M-1)/(M+1).

    Newton's method from below on a concave increasing function: it ascends to the root without
    passing it. Where there is no root the result is the y of the largest left-hand side.
    """
    constant, depth = np.broadcast_arrays(np.asarray(constant, dtype=np.float64), depth)
    power = (depth - 1) / (depth + 1)
    # Where the left-hand side is largest.
    top = (depth + 1) / (2 * depth)
    residual = np.minimum(constant, top)
    one_layer = depth == 1
    # A single layer has no factor 1 - y (a = 0); at y = 1 its slope would be 0 * inf.
    complement = np.where(one_layer, 1.0, 1 - residual)
    # Quadratic convergence; at the double root of `metastable_threshold` each step halves the
    # distance, so that a hundred leave nothing.
    for _ in range(100):
        value = residual - constant * complement**-power
        slope = 1 - power * constant * complement ** (-power - 1)
        # Beyond the top the slope is not positive: step up, and be stopped there.
        steps = np.divide(value, slope, out=np.full(value.shape, -1.0), where=slope > 0)
        updated = np.minimum(residual - steps, top)
        # Two units in the last place.
        converged = np.all(np.abs(updated - residual) <= 4e-16 * residual)
        residual = updated
        complement = np.where(one_layer, 1.0, 1 - residual)
        if converged:
            break
    return residual
