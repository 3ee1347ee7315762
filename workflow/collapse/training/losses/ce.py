"""The cross-entropy of the softmax of the outputs."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional

from collapse.training.losses import misclassified


def data_term(outputs: Tensor, targets: Tensor, settings: Mapping[str, Any]) -> Tensor:
    """Return the mean over samples of -sum_k y_k log softmax(z)_k, of each network, (E,).

    `outputs` are Z, E x B x K; `targets` E x B labels from 0 to K - 1, or soft ones, E x B x K,
    each sample's a distribution y. The section ``loss`` has no further keys.
    """
    if targets.ndim == 3:
        targets = targets.mT
    # PyTorch wants the classes on the second axis.
    return functional.cross_entropy(outputs.mT, targets, reduction="none").mean(1)


def error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the fraction of samples misclassified, of each network, (E,).

    The class of a soft label is its most likely one.
    """
    return misclassified(outputs, targets.argmax(-1) if targets.ndim == 3 else targets)
