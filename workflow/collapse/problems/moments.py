"""Second moments of Gaussian data, as problems over populations have them in place of samples."""

from collections.abc import Sequence

import torch
from torch import Tensor

# The data are part of the problem, not of a run: every seed sees the same.
_BASIS_SEED = 0


def second_moment(eigenvalues: Sequence[float]) -> Tensor:
    """Return a D x D second moment of these eigenvalues in a random basis, the same at each call.

    Float64, on the CPU.
    """
    dim = len(eigenvalues)
    generator = torch.Generator().manual_seed(_BASIS_SEED)
    numbers = torch.randn(dim, dim, generator=generator, dtype=torch.float64)
    basis, triangle = torch.linalg.qr(numbers)
    basis = basis * triangle.diagonal().sign()
    moment = (basis * torch.tensor(eigenvalues, dtype=torch.float64)) @ basis.T
    # Products of rounded numbers need not be symmetric.
    return (moment + moment.T) / 2


def correlated_moment(moment: Tensor, correlation: float) -> Tensor:
    """Return the second moment of (x, y), 2D x 2D, x = r y + sqrt(1 - r^2) n.

    n is independent of y and of the same second moment, D x D.
    """
    cross = correlation * moment
    return torch.cat([torch.cat([moment, cross], 1), torch.cat([cross, moment], 1)])


def root(moment: Tensor) -> Tensor:
    """Return the symmetric root of second moments, (..., D, D); rounding below 0 counts as 0."""
    values, vectors = torch.linalg.eigh(moment)
    return vectors * values.clamp(min=0).sqrt().unsqueeze(-2) @ vectors.mT


def conditional(moment: Tensor, given: int) -> Tensor:
    """Return E[yy^T] - E[yx^T] E[xx^T]^+ E[xy^T] of the second moment of (x, y), x the first."""
    known, cross = moment[..., :given, :given], moment[..., given:, :given]
    inverse = torch.linalg.pinv(known, hermitian=True)
    return moment[..., given:, given:] - cross @ inverse @ cross.mT
