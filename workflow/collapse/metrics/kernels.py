"""(G)NC2: how evenly the directions of the centred class means lie on the sphere.

Generalised NC2 (Liu et al. 2023) asks for equal values of a kernel over all pairs of directions,
which stays possible where there are more classes than columns; Wu & Papyan 2024 report its mean
and variance, by their library `neural_collapse`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from collapse.metrics.collapse import ClassStatistics, pairs
from collapse.metrics.frames import defined

Kernel = Callable[[Tensor, int], Tensor]
"""Values of distances between unit vectors of d columns: (P, d) to P."""


def distance_kernel(distances: Tensor, dim: int) -> Tensor:
    """``norm(u_k - u_l)``."""
    return distances


def log_kernel(distances: Tensor, dim: int) -> Tensor:
    """``log(1 / norm(u_k - u_l))``."""
    return -distances.log()


def riesz_kernel(distances: Tensor, dim: int) -> Tensor:
    """``sign(s) norm(u_k - u_l)^(-s)`` with ``s = d - 2``, that of least energy on a sphere."""
    power = dim - 2
    return (-1 if power < 0 else 1) * distances.pow(-power)


def gnc2_mean(statistics: ClassStatistics, kernel: Kernel) -> float | None:
    """Mean of a kernel over pairs k < l of ``u_k = (mu_k - mu_G)/norm(mu_k - mu_G)``.

    None when a class mean coincides with mu_G, there is one class only, or it leaves float64.
    """
    return defined(_values(statistics, kernel).mean())


def gnc2_variance(statistics: ClassStatistics, kernel: Kernel) -> float | None:
    """Variance (ddof 0) of a kernel over the same pairs as `gnc2_mean`; None where that is."""
    return defined(_values(statistics, kernel).var(correction=0))


def _values(statistics: ClassStatistics, kernel: Kernel) -> Tensor:
    """Return the kernel of every pair; NaN where a class mean has no direction."""
    lengths = torch.linalg.vector_norm(statistics.centred, dim=1, keepdim=True)
    directions = statistics.centred / lengths
    distances = torch.cdist(directions, directions, compute_mode="donot_use_mm_for_euclid_dist")
    return kernel(distances[pairs(statistics)], statistics.centred.shape[1])
