"""Gauss quadrature of the weight lambda with which mixup mixes two samples."""

import numpy as np
import scipy
from numpy.typing import NDArray


def beta_nodes(alpha: float, nodes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return nodes in (0, 1), ascending, and weights, of sum 1, of E f(lambda).

    lambda ~ Beta(alpha, alpha), alpha > 0. The rule of n nodes, Gauss-Jacobi (Gauss-Legendre at
    alpha = 1), is exact for polynomials up to degree 2n - 1; it is symmetric about 1/2, which is
    itself a node if n is odd.
    """
    places, weights = scipy.special.roots_jacobi(nodes, alpha - 1, alpha - 1)
    # Exactly symmetric, whatever rounding left.
    places, weights = (places - places[::-1]) / 2, (weights + weights[::-1]) / 2
    return (1 + places) / 2, weights / weights.sum()
