"""(G)NC2: how evenly the directions of the centred class means lie on the sphere.

Generalised NC2 (Liu et al. 2023) asks for equal values of a kernel over all pairs of directions,
which stays possible where there are more classes than columns; Wu & Papyan 2024 report its mean
and variance, by their library `neural_collapse`.
"""

import torch

from collapse.metrics.collapse import ClassStatistics, pairs
from collapse.metrics.frames import defined


def gnc2(statistics: ClassStatistics) -> dict[str, float | None]:
    """GNC2, mean and variance (ddof 0) of kernels over pairs k < l of directions.

    Of ``u_k = (mu_k - mu_G)/norm(mu_k - mu_G)``: of the distance ``norm(u_k - u_l)``,
    ``GNC2_distance_mean`` and ``GNC2_distance_variance``; of its negative logarithm,
    ``GNC2_log_mean`` and ``GNC2_log_variance``; of the Riesz kernel ``sign(s) norm(u_k -
    u_l)^(-s)`` with ``s = d - 2``, 1 at ``s = 0``, of least energy on a sphere,
    ``GNC2_riesz_mean`` and ``GNC2_riesz_variance`` (Liu et al. 2023). None when a class mean
    coincides with mu_G, or the kernel leaves float64.
    """
    lengths = torch.linalg.vector_norm(statistics.centred, dim=1, keepdim=True)
    directions = statistics.centred / lengths
    distances = torch.cdist(directions, directions, compute_mode="donot_use_mm_for_euclid_dist")
    distances = distances[pairs(statistics)]
    power = statistics.centred.shape[1] - 2
    kernels = {
        "distance": distances,
        "log": -distances.log(),
        "riesz": (-1 if power < 0 else 1) * distances.pow(-power),
    }
    # It is never 0, but underflows where d is in the hundreds or more.
    kernels["riesz"].masked_fill_(kernels["riesz"] == 0, torch.nan)
    found = {}
    for name, values in kernels.items():
        found[f"GNC2_{name}_mean"] = defined(values.mean())
        found[f"GNC2_{name}_variance"] = defined(values.var(correction=0))
    return found
