"""Collapse metrics of features that are seen once: sums about a fixed point."""

import torch
from torch import Tensor

from collapse.metrics.collapse import ClassStatistics, statistics_of_means
from collapse.metrics.frames import gram


def add_to_sums(sums: dict[str, Tensor], features: Tensor, labels: Tensor, shift: Tensor) -> None:
    """Add features (b x d) with labels (b) to the sums about a point (d).

    `sums` are float64 and hold for K classes ``counts`` (K), ``totals`` (K x d), the sums of h -
    shift, ``squares`` (K), of their squared lengths, and ``scatter`` (d x d), of their outer
    products over all classes.
    """
    wide = features.to(torch.float64) - shift
    members = torch.nn.functional.one_hot(labels, len(sums["counts"])).to(torch.float64)
    sums["counts"] += members.sum(0)
    # A product, and not index_add_, whose order on a GPU is random.
    sums["totals"] += members.T @ wide
    sums["squares"] += members.T @ wide.square().sum(1)
    sums["scatter"] += wide.T @ wide


def statistics_of_sums(
    sums: dict[str, Tensor], shift: Tensor, weight: Tensor | None, bias: Tensor | None
) -> ClassStatistics:
    """Return what the metrics need of the sums of `add_to_sums`, without mismatches.

    Notes
    -----
    S_W is a difference of sums: the relative error of NC1 is about 1e-16 / NC1 times
    ``(norm(mu_k - shift) / norm(mu_k - mu_G))^2``, 1e-8 at NC1 = 1e-8 for features about as far
    from the point as from each other.
    """
    counts = sums["counts"]
    offsets = sums["totals"] / counts[:, None]
    within = sums["scatter"] - gram((offsets * counts.sqrt()[:, None]).T)
    variances = sums["squares"] / counts - offsets.square().sum(1)
    return statistics_of_means(
        counts, offsets, shift, variances.clamp_min(0), within / counts.sum(), weight, bias
    )
