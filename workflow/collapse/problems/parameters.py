"""The variables of a batch of problems, and how they lie in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Parameters:
    """Weights, free features and bias of a batch of problems.

    Attributes
    ----------
    weights : tuple of Tensor
        W_1, ..., W_M, each (B, d_{m+1}, d_m).
    features : Tensor
        H_1, (B, d_1, C): one column per sample, or per basis vector of a reduced problem.
    bias : Tensor or None
        b, (B, K), or None for a bias-free problem.

    Notes
    -----
    A trajectory holds the same object with a record axis behind the batch axis, (B, S, ...).
    """

    weights: tuple[Tensor, ...]
    features: Tensor
    bias: Tensor | None = None

    def tensors(self) -> tuple[Tensor, ...]:
        """Return all tensors: features, W_1, ..., W_M, then the bias if there is one."""
        bias = () if self.bias is None else (self.bias,)
        return (self.features, *self.weights, *bias)

    def map(self, function: Callable[[Tensor], Tensor]) -> Parameters:
        """Return new parameters with `function` applied to every tensor, in `tensors` order."""
        features = function(self.features)
        weights = tuple(function(weight) for weight in self.weights)
        bias = None if self.bias is None else function(self.bias)
        return Parameters(weights=weights, features=features, bias=bias)

    def norm(self) -> Tensor:
        """Return the Euclidean norm over all variables of each problem, (B,)."""
        return torch.stack([t.flatten(1).norm(dim=1) for t in self.tensors()]).norm(dim=0)


def flat_copy(parameters: Parameters) -> tuple[Tensor, Parameters]:
    """Copy parameters into one contiguous buffer.

    Parameters
    ----------
    parameters : Parameters
        Any shapes.

    Returns
    -------
    buffer : Tensor
        All entries, tensor after tensor, 1-D.
    views : Parameters
        The same values as `parameters`, each tensor a contiguous view of `buffer`.
    """
    buffer = torch.cat([tensor.flatten() for tensor in parameters.tensors()])
    blocks = iter(buffer.split([tensor.numel() for tensor in parameters.tensors()]))
    return buffer, parameters.map(lambda tensor: next(blocks).view(tensor.shape))
