"""Kernel ridge regression with the Laplace kernel, its gradient and its AGOP, block by block.

The kernel is ``k(x, z) = exp(-||x - z|| / bandwidth)``. Of N samples only the regression itself
holds N x N numbers; all else reads blocks of rows.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from collapse.errors import InputError
from collapse.metrics.rows import row_blocks

# Squared distances below so many of their points' squared norms are rounding of these.
COINCIDENT = 1e-13


def distances(points: Tensor, samples: Tensor) -> Tensor:
    """Return Euclidean distances of points, B x d, to samples, N x d, as B x N.

    0 where two coincide up to rounding.
    """
    norms = points.square().sum(1, keepdim=True) + samples.square().sum(1)
    squares = torch.addmm(norms, points, samples.T, alpha=-2)
    return squares.masked_fill_(squares <= norms.mul_(COINCIDENT), 0).sqrt_()


def laplace(points: Tensor, samples: Tensor, bandwidth: float) -> Tensor:
    """Return the kernel matrix ``exp(-||x - z|| / bandwidth)``, B x N."""
    return distances(points, samples).div_(-bandwidth).exp_()


def fit(samples: Tensor, targets: Tensor, bandwidth: float, ridge: float) -> Tensor:
    """Return the coefficients ``(K + ridge I)^-1 Y`` of kernel ridge regression, N x C.

    `samples` are N x d, `targets` N x C, float64 on one device. Takes 2 N^2 numbers and what the
    factorisation works on.

    Raises
    ------
    InputError
        If ``K + ridge I`` is not positive definite in float64.
    """
    count = len(samples)
    matrix = samples.new_empty(count, count)
    for points, window in row_blocks(samples, columns=count):
        matrix[window] = laplace(points, samples, bandwidth)
    matrix.diagonal().add_(ridge)
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if failed.item():
        raise InputError(
            f"ridge: {ridge:g} found, too little for a kernel matrix of this bandwidth"
        )
    return torch.cholesky_solve(targets, factor)


def predict(points: Tensor, samples: Tensor, coefficients: Tensor, bandwidth: float) -> Tensor:
    """Return the values ``f(x) = sum_j k(x, x_j) alpha_j`` at points, B x C.

    `points` are B x d, `samples` N x d, `coefficients` the alpha_j, N x C.
    """
    values = points.new_empty(len(points), coefficients.shape[1])
    for block, window in row_blocks(points, columns=len(samples)):
        values[window] = laplace(block, samples, bandwidth) @ coefficients
    return values


def gradients(
    points: Tensor, samples: Tensor, coefficients: Tensor, bandwidth: float
) -> Iterator[Tensor]:
    """Yield the gradient by x of each of the C outputs of the predictor at points, B x d.

    ``-(1/bandwidth) sum_j alpha_j k(x, x_j) (x - x_j) / ||x - x_j||``, without those x_j that
    coincide with x, where the kernel has no gradient.
    """
    lengths = distances(points, samples)
    weights = torch.exp(lengths / -bandwidth).div_(lengths.mul_(-bandwidth))
    # Not 1/0: what coincides pulls nowhere.
    weights.masked_fill_(lengths == 0, 0)
    for column in coefficients.T:
        weighted = weights * column
        yield weighted.sum(1, keepdim=True) * points - weighted @ samples


def agop(samples: Tensor, coefficients: Tensor, bandwidth: float) -> Tensor:
    """Return the average gradient outer product of the predictor over its samples, d x d.

    ``M = (1/N) sum_i J(x_i)^T J(x_i)``, J the C x d Jacobian (Radhakrishnan et al. 2024).
    `samples` are N x d, `coefficients` N x C.
    """
    count, dim = samples.shape
    total = samples.new_zeros(dim, dim)
    for points, _ in row_blocks(samples, columns=count):
        for gradient in gradients(points, samples, coefficients, bandwidth):
            total.addmm_(gradient.T, gradient)
    return total / count
