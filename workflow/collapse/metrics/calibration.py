"""Whether a classifier is right as often as it is sure: reliability and calibration errors.

The confidence of a sample is its largest softmax probability.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from collapse.errors import InputError
from collapse.metrics.checks import check_classes, check_values


class Reliability(NamedTuple):
    """Samples by their confidence, in B bins ``(low, high]`` of equal width from 0 to 1.

    Attributes
    ----------
    low, high
        Edges of the bins, B.
    count
        Samples in each bin, B integers.
    confidence, accuracy
        Mean confidence of a bin's samples, and the fraction of them whose largest logit is their
        label's, B; NaN where a bin is empty. All are float64 on the CPU.
    """

    low: Tensor
    high: Tensor
    count: Tensor
    confidence: Tensor
    accuracy: Tensor


def reliability(logits: Tensor, labels: Tensor, bins: int = 15) -> Reliability:
    """Return accuracy against confidence, bin by bin (Guo et al. 2017, arXiv 1706.04599).

    Parameters
    ----------
    logits
        N x K.
    labels
        N integers from 0 to K-1.
    bins
        Their number B.

    Raises
    ------
    InputError
        If logits and labels do not fit each other, or there is no bin.
    """
    if bins < 1:
        raise InputError(f"bins: {bins} found, allowed is at least 1")
    sure, correct = _judged(logits, labels)
    edges = torch.arange(bins + 1, dtype=torch.float64) / bins
    # On an edge it belongs to the bin below: (low, high].
    place = torch.bucketize(sure, edges[1:-1])
    count = torch.bincount(place, minlength=bins)
    # 0/0 of an empty bin is NaN.
    sums = (torch.bincount(place, values, bins) for values in (sure, correct))
    return Reliability(edges[:-1], edges[1:], count, *(each / count for each in sums))


def expected_calibration_error(logits: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Return the sum over bins of count/N |accuracy - confidence|, from 0 to 1.

    Source: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks" (ICML 2017,
    arXiv 1706.04599), Eq. 3. Arguments and errors are those of `reliability`.
    """
    bin_by_bin = reliability(logits, labels, bins)
    gaps = (bin_by_bin.accuracy - bin_by_bin.confidence).abs()
    # An empty bin has no gap.
    return (gaps.nan_to_num() * bin_by_bin.count).sum().item() / len(labels)


def confidence(logits: Tensor) -> float:
    """Return the mean confidence of logits, N x K.

    Raises
    ------
    InputError
        If they are no such matrix of finite numbers.
    """
    return _sure(check_values("logits", logits, "N x K")).mean().item()


def confidence_gap(logits: Tensor, labels: Tensor) -> float:
    """Return mean confidence less accuracy: above 0 if over-confident, below if under-confident.

    `logits` are N x K, `labels` N integers from 0 to K-1.

    Raises
    ------
    InputError
        If they do not fit each other.
    """
    sure, correct = _judged(logits, labels)
    return (sure - correct).mean().item()


def _judged(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the confidence of each sample, and 1 where its label is right, else 0, float64."""
    logits = check_values("logits", logits, "N x K")
    labels = check_classes("labels", labels, logits)
    correct = (logits.argmax(1) == labels).double()
    # On the CPU, where sums by bin have an order.
    return _sure(logits).cpu(), correct.cpu()


def _sure(logits: Tensor) -> Tensor:
    # Rounding may leave a probability above 1.
    return logits.softmax(1).amax(1).clamp_max(1)
