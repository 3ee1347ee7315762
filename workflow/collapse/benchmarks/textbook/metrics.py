"""NC1 to NC4 class by class, with d x d covariances and a pseudoinverse.

The definitions are those of `collapse.metrics`; the way is that of the code released with Papyan,
Han & Donoho (2020) and of its many descendants, less their loops over single samples.
"""

import math

import torch
from torch import Tensor


def by_batches(
    features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, batch: int = 128
) -> dict[str, float]:
    """Return NC1, NC2_ETF, NC3 and NC4, adding up outer products batch by batch.

    Features are N x d, in whose number format all is computed, labels 0 to K-1, weight and bias of
    the classifier K x d and K; `batch` samples are looked at together, as a data loader yields
    them.
    """
    classes, dim = weight.shape
    means = features.new_zeros(classes, dim)
    counts = features.new_zeros(classes)
    batches = list(zip(features.split(batch), labels.split(batch), strict=True))
    for h, y in batches:
        for k in range(classes):
            h_k = h[y == k]
            means[k] += h_k.sum(0)
            counts[k] += len(h_k)
    means /= counts.unsqueeze(1)
    within = features.new_zeros(dim, dim)
    mismatches = labels.new_zeros(())
    # A second pass: deviations need the means of all samples.
    for h, y in batches:
        for k in range(classes):
            h_k = h[y == k]
            z = h_k - means[k]
            within += (z.unsqueeze(2) @ z.unsqueeze(1)).sum(0)
            mismatches += _mismatches(h_k, means, weight, bias)
    return _metrics(means, within, mismatches, weight, len(features))


def by_classes(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor) -> dict[str, float]:
    """Return the same with one matrix product for each whole class."""
    classes, dim = weight.shape
    members = [features[labels == k] for k in range(classes)]
    means = torch.stack([h.mean(0) for h in members])
    within = features.new_zeros(dim, dim)
    mismatches = labels.new_zeros(())
    for h, mean in zip(members, means, strict=True):
        z = h - mean
        within += z.T @ z
        mismatches += _mismatches(h, means, weight, bias)
    return _metrics(means, within, mismatches, weight, len(features))


def _mismatches(features: Tensor, means: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    classes = (features @ weight.T + bias).argmax(1)
    return (torch.cdist(features, means).argmin(1) != classes).sum()


def _metrics(
    means: Tensor, within: Tensor, mismatches: Tensor, weight: Tensor, samples: int
) -> dict[str, float]:
    classes = len(means)
    centred = means - means.mean(0)
    between = centred.T @ centred / classes
    gram = centred @ centred.T
    etf = torch.eye(classes, dtype=gram.dtype, device=gram.device) - 1 / classes
    ways = {
        "NC1": torch.trace(within / samples @ torch.linalg.pinv(between)) / classes,
        "NC2_ETF": (gram / gram.norm() - etf / math.sqrt(classes - 1)).norm(),
        "NC3": (weight / weight.norm() - centred / centred.norm()).square().sum(),
        "NC4": mismatches.double() / samples,
    }
    return {name: value.item() for name, value in ways.items()}
