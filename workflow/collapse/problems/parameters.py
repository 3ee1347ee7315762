"""The variables of a batch of problems, and how they lie in memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import gcd

import torch
from torch import Tensor


class Parameters:
    """The named variables of a batch of problems, each with a leading batch axis (B, ...).

    A problem names its variables; those with two axes besides the batch's (matrices) come first.
    Of a linear head the names are ``H``, the free features (B, d_1, C) with one column per sample,
    or per basis vector of a reduced problem; ``W1`` to ``WM``, each (B, d_{m+1}, d_m); and
    ``bias``, (B, K), which a bias-free problem leaves out.

    Parameters
    ----------
    **tensors : Tensor
        The variables in their order.

    Notes
    -----
    A trajectory holds the same object with a record axis behind the batch axis, (B, S, ...).
    """

    def __init__(self, **tensors: Tensor):
        self.named = tensors

    @classmethod
    def of_head(
        cls, features: Tensor, weights: Sequence[Tensor], bias: Tensor | None = None
    ) -> Parameters:
        """Return the variables of a linear head: H, W_1 to W_M and, if there is one, b."""
        matrices = {"H": features} | {f"W{m}": weight for m, weight in enumerate(weights, 1)}
        return cls(**matrices, **({} if bias is None else {"bias": bias}))

    @property
    def features(self) -> Tensor | None:
        """H, None where the problem has no free features."""
        return self.named.get("H")

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """W_1 to W_M, in whatever order they were given: files sort names, W10 before W2."""
        numbers = sorted(int(name[1:]) for name in self.named if re.fullmatch(r"W\d+", name))
        return tuple(self.named[f"W{number}"] for number in numbers)

    @property
    def bias(self) -> Tensor | None:
        """b, None where there is none."""
        return self.named.get("bias")

    def tensors(self) -> tuple[Tensor, ...]:
        """Return all tensors in their order."""
        return tuple(self.named.values())

    @property
    def first(self) -> Tensor:
        """The first variable: what all have in common, device and dtype, can be read off it."""
        return self.tensors()[0]

    def map(self, function: Callable[[Tensor], Tensor]) -> Parameters:
        """Return new parameters with `function` applied to every tensor, in their order."""
        return Parameters(**{name: function(tensor) for name, tensor in self.named.items()})

    def replaced(self, **tensors: Tensor) -> Parameters:
        """Return new parameters with some tensors replaced, in the same order."""
        return Parameters(**{**self.named, **tensors})

    def norm(self) -> Tensor:
        """Return the Euclidean norm over all variables of each problem, (B,)."""
        # The norm of the norms, without one long vector of all variables.
        return torch.stack([t.flatten(1).norm(dim=1) for t in self.tensors()]).norm(dim=0)


@dataclass(frozen=True)
class Flat:
    """Parameters that lie in one buffer, variable after variable in `Parameters.tensors` order.

    Attributes
    ----------
    rows : Tensor
        The buffer, (R, g). No row holds entries of two problems or of two variables, so that a
        column (R, 1) can hold a factor per problem and variable; rows of vectors (a bias) may hold
        several problems and end in padding.
    parameters : Parameters
        Contiguous views of the buffer.
    """

    rows: Tensor
    parameters: Parameters

    def column(self, factors: Tensor) -> Tensor:
        """Return a factor per row, (R, 1), from those of the first V variables, (B, V).

        The rows of the other variables get 0.
        """
        width = self.rows.shape[1]
        values = [
            factor.repeat_interleave(variable[0].numel() // width)
            for factor, variable in zip(factors.unbind(1), self.parameters.tensors(), strict=False)
        ]
        # Rows of vectors, and of the matrices without a factor.
        spare_rows = len(self.rows) - sum(map(len, values))
        return torch.cat([*values, factors.new_zeros(spare_rows)]).unsqueeze(1)

    def stacked(self, first: int, end: int) -> Tensor:
        """Return neighbouring variables of one shape as one batch, ((end - first) B, ...).

        Variables are counted as in `Parameters.tensors`: of a head 0 is H, m is W_m.
        """
        variable = self.parameters.tensors()[first]
        shape = ((end - first) * len(variable), *variable.shape[1:])
        # A view: the neighbours lie one behind the other in the buffer.
        return self.rows.as_strided(shape, variable.stride(), variable.storage_offset())


def flat_copy(parameters: Parameters) -> Flat:
    """Copy parameters into one buffer; the padding behind vectors is 0."""
    tensors = parameters.tensors()
    # Vectors are short: a row that fits them too would make the buffer many narrow rows.
    matrices = [tensor for tensor in tensors if tensor.ndim > 2] or tensors
    # The widest row that no two problems or variables share.
    width = gcd(*(tensor[0].numel() for tensor in matrices))
    buffer = torch.cat([tensor.flatten() for tensor in tensors])
    length = len(buffer)
    buffer = torch.nn.functional.pad(buffer, (0, -length % width))
    blocks = iter(buffer[:length].split([tensor.numel() for tensor in tensors]))
    return Flat(buffer.view(-1, width), parameters.map(lambda t: next(blocks).view(t.shape)))


def add_decay(position: Tensor, velocity: Tensor, decay: Tensor) -> None:
    """Do velocity = velocity + decay * position, in place.

    `position` and `velocity` are rows of flat parameters, (R, g), `decay` what each row's penalty
    is multiplied by, (R, 1).
    """
    velocity.addcmul_(position, decay)
