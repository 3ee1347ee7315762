"""The objective of a network: a data term and explicit quadratic penalties."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from collapse.models.network import Network


def data_term(loss: str, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the loss of a batch: ``mse`` ||Z - Y||^2 / (2B), or ``ce``, mean cross-entropy.

    Parameters
    ----------
    loss
        ``mse``, summed over classes against one-hot targets Y, or ``ce``.
    logits
        Z, B x K.
    labels
        B integers from 0 to K - 1.
    """
    if loss == "mse":
        targets = functional.one_hot(labels, logits.shape[1])
        return (logits - targets).square().sum() / (2 * len(labels))
    return functional.cross_entropy(logits, labels)


@dataclass(frozen=True)
class Objective:
    """Objective of Dang et al. 2023 (Sec. 3 and 5), over a batch of B of the N samples.

    ``data_term + sum_m lambda_Wm/2 ||W_m||^2 + (N/B) lambda_H/2 ||H_batch||^2
    + lambda/2 ||theta||^2``, squared Frobenius norms. Weighted by B/N, the batches of an epoch
    add up to the objective of the whole training set, so each batch is an unbiased estimate.
    No bias of the head is penalised; theta is every parameter of the backbone.

    Attributes
    ----------
    loss
        ``mse`` or ``ce``.
    weight_decay
        lambda_W1 to lambda_WM, or one number for all.
    feature_decay
        lambda_H, of the plain sum over all N samples.
    backbone_decay
        lambda of the backbone.
    samples
        N.
    """

    loss: str
    weight_decay: float | Sequence[float]
    feature_decay: float
    backbone_decay: float
    samples: int

    def __call__(
        self,
        network: Network,
        logits: torch.Tensor,
        features: torch.Tensor,
        labels: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the objective and its data term on a batch, two scalars."""
        data = data_term(self.loss, logits, labels)
        scale = self.feature_decay * self.samples / (2 * len(labels))
        total = data + scale * features.square().sum()
        weights = network.head.weights
        decays = self.weight_decay
        if not isinstance(decays, Sequence):
            decays = [decays] * len(weights)
        for decay, weight in zip(decays, weights, strict=True):
            total = total + decay / 2 * weight.square().sum()
        if self.backbone_decay:
            squares = [parameter.square().sum() for parameter in network.backbone.parameters()]
            total = total + self.backbone_decay / 2 * torch.stack(squares).sum()
        return total, data
