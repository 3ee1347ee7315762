"""The variables of a batch of problems, and how they lie in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd

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


@dataclass(frozen=True)
class Flat:
    """Parameters that lie in one buffer, variable after variable in `Parameters.tensors` order.

    Attributes
    ----------
    rows : Tensor
        The buffer, (R, g). No row holds entries of two problems or of two variables, so that a
        column (R, 1) can hold a factor per problem and variable; rows of the bias alone may hold
        several problems and end in padding.
    parameters : Parameters
        Contiguous views of the buffer.
    """

    rows: Tensor
    parameters: Parameters

    def column(self, factors: Tensor) -> Tensor:
        """Return a factor per row, (R, 1), from those of H_1, W_1, ..., W_M, (B, M + 1).

        The rows of the bias get 0.
        """
        width = self.rows.shape[1]
        variables = (self.parameters.features, *self.parameters.weights)
        values = [
            factor.repeat_interleave(variable[0].numel() // width)
            for factor, variable in zip(factors.unbind(1), variables, strict=True)
        ]
        rest = len(self.rows) - sum(map(len, values))
        return torch.cat([*values, factors.new_zeros(rest)]).unsqueeze(1)

    def stacked(self, first: int, end: int) -> Tensor:
        """Return neighbouring variables of one shape as one batch, ((end - first) B, ...).

        Variables are counted as in `Parameters.tensors`: 0 is H_1, m is W_m.
        """
        variable = self.parameters.tensors()[first]
        shape = ((end - first) * len(variable), *variable.shape[1:])
        return self.rows.as_strided(shape, variable.stride(), variable.storage_offset())


def flat_copy(parameters: Parameters) -> Flat:
    """Copy parameters into one buffer; the padding behind a bias is 0."""
    tensors = parameters.tensors()
    width = gcd(*(tensor[0].numel() for tensor in (parameters.features, *parameters.weights)))
    buffer = torch.cat([tensor.flatten() for tensor in tensors])
    used = len(buffer)
    buffer = torch.nn.functional.pad(buffer, (0, -used % width))
    blocks = iter(buffer[:used].split([tensor.numel() for tensor in tensors]))
    return Flat(buffer.view(-1, width), parameters.map(lambda t: next(blocks).view(t.shape)))


def add_decay(position: Tensor, velocity: Tensor, decay: Tensor) -> None:
    """Do velocity = velocity + decay * position, in place.

    Parameters
    ----------
    position, velocity : Tensor
        Rows of flat parameters, (R, g).
    decay : Tensor
        What each row's penalty is multiplied by, (R, 1).
    """
    velocity.addcmul_(position, decay)
