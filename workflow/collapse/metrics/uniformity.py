"""How evenly class means and classifier spread where there are more classes than columns.

What Wu & Papyan 2024 (arXiv 2405.17767) report of language models beside GNC2. They take the
unweighted mean of the class means for mu_G: `ClassStatistics.unweighted`.
"""

import torch
from torch import Tensor

from collapse.metrics.collapse import ClassStatistics
from collapse.metrics.frames import defined


def log_norm_variance(statistics: ClassStatistics) -> float | None:
    """Variance (ddof 0) over classes of ``log norm(mu_k - mu_G)``, equal lengths at any scale.

    (G)NC2's equinorm of Wu & Papyan 2024. None when a class mean coincides with mu_G.
    """
    lengths = torch.linalg.vector_norm(statistics.centred, dim=1)
    return defined(lengths.log().var(correction=0))


def duality_readings(statistics: ClassStatistics) -> dict[str, float | None]:
    """Return NC3 and its uniform kind, UNC3, class by class; needs a weight with rows w_k.

    ``duality_cosine_mean``, the mean over classes of ``cos(w_k, mu_k - mu_G)``, is 1 at
    self-duality (NC3); ``duality_cosine_variance`` and ``duality_product_variance``, variances
    (ddof 0) of it and of the product ``w_k . (mu_k - mu_G)``, are 0 at uniform duality (UNC3; Wu &
    Papyan 2024). None when a class mean coincides with mu_G, or a row of the weight is zero.
    """
    weight, centred = statistics.weight, statistics.centred
    products = (weight * centred).sum(1)
    lengths = [torch.linalg.vector_norm(rows, dim=1) for rows in (weight, centred)]
    cosines = products / (lengths[0] * lengths[1])
    whole = defined(cosines.mean())
    return {
        "duality_cosine_mean": whole,
        "duality_cosine_variance": defined(cosines.var(correction=0)),
        # Where the cosine is undefined this is of no use either.
        "duality_product_variance": None if whole is None else defined(products.var(correction=0)),
    }


def disagreement(features: Tensor, statistics: ClassStatistics) -> Tensor:
    """Return where the classifier, W h, and the nearest class mean choose different classes.

    Of features N x d, which need not be those of the statistics, such as held-out ones; these have
    a weight and no bias. A tie goes to the lowest class. N booleans, on the device of the features.
    """
    wide = features.double()
    # There are many of these, and the statistics may have been moved to a CPU.
    means, weight = (rows.to(wide) for rows in (statistics.means, statistics.weight))
    # About a point among the means: a large offset common to all would cost digits.
    origin = means.mean(0)
    means = means - origin
    nearest = ((wide - origin) @ means.T - means.square().sum(1) / 2).argmax(1)
    return (wide @ weight.T).argmax(1) != nearest
