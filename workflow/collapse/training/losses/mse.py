"""The squared error, of labels against one-hot targets."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional

from collapse.training.losses import misclassified


def data_term(outputs: Tensor, targets: Tensor, settings: Mapping[str, Any]) -> Tensor:
    """Return ||Z - Y||^2 / (2B), summed over outputs, of each network, (E,).

    `outputs` are Z, E x B x K; `targets` Y, E x B x K, real or soft, or E x B labels from 0 to
    K - 1, of which Y is the one-hot form. The section ``loss`` has no further keys.
    """
    if targets.ndim == 2:
        targets = functional.one_hot(targets, outputs.shape[-1])
    return (outputs - targets).square().sum((1, 2)) / (2 * targets.shape[1])


def error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the fraction of labels misclassified, of each network, (E,).

    Of targets E x B x K the mean squared error over samples and outputs, without the factor 1/2.
    """
    if targets.ndim == 2:
        return misclassified(outputs, targets)
    return (outputs - targets).square().mean((1, 2))
