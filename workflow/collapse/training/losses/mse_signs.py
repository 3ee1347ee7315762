"""The squared error of labels against targets of 1 and -1."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional

from collapse.training.losses import misclassified


def data_term(outputs: Tensor, targets: Tensor, settings: Mapping[str, Any]) -> Tensor:
    """Return ||Z - (2Y - 1)||^2 / (2B), summed over outputs, of each network, (E,).

    `outputs` are Z, E x B x K; `targets` E x B labels from 0 to K - 1, of which Y is the one-hot
    form, or soft ones Y, E x B x K. The section ``loss`` has no further keys.
    """
    if targets.ndim == 2:
        targets = functional.one_hot(targets, outputs.shape[-1])
    return (outputs - (2 * targets - 1)).square().sum((1, 2)) / (2 * targets.shape[1])


def error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the fraction of samples misclassified, of each network, (E,).

    The class of a soft label is its most likely one.
    """
    return misclassified(outputs, targets.argmax(-1) if targets.ndim == 3 else targets)
