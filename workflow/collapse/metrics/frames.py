"""Frames that class means and classifiers collapse to, and the distance to them.

A frame is compared through its Gram matrix, so that the same functions serve class
means (NC2_H, the Gram matrix of the means), weights (NC2_W, ``P P^T``) and products
(NC3, ``P Hbar``).
"""

import torch
from torch import Tensor


def etf_gram(classes: int, device: torch.device | str | None = None) -> Tensor:
    """Unit-norm Gram matrix of the simplex equiangular tight frame of K vectors, K x K, float64.

    ``(I - J/K) / sqrt(K - 1)``, J the matrix of ones (Papyan, Han & Donoho 2020, NC2). A single
    vector has no simplex frame: the result is NaN.
    """
    identity = torch.eye(classes, dtype=torch.float64, device=device)
    # Scaled by its own norm, which is sqrt(K - 1).
    return unit_norm(identity - 1 / classes)


def orthogonal_gram(classes: int, device: torch.device | str | None = None) -> Tensor:
    """Unit-norm Gram matrix of the orthogonal frame, ``I / sqrt(K)``, K x K, float64.

    The frame of balanced classes under MSE without a bias (Dang et al. 2023; Tirer & Bruna
    2022).
    """
    return unit_norm(torch.eye(classes, dtype=torch.float64, device=device))


def general_orthogonal_gram(squared_lengths: Tensor) -> Tensor:
    """Unit-norm Gram matrix of a general orthogonal frame, ... x K x K.

    ``diag(l) / norm(l)`` for orthogonal vectors of squared lengths ``l``, ... x K, not negative and
    not all zero: the frame of imbalanced classes under MSE without a bias (Dang et al. 2023).
    """
    return unit_norm(torch.diag_embed(squared_lengths))


def gram(rows: Tensor) -> Tensor:
    """Gram matrix of the rows, ``A A^T``: ... x K x d to ... x K x K."""
    return rows @ rows.mT


def gram_distance(matrix: Tensor, target: Tensor) -> float | None:
    """Distance between two matrices of one shape, scaled to unit Frobenius norm.

    ``norm(A/norm(A) - B/norm(B))``, between 0 and 2 (Zhu et al. 2021; Dang et al. 2023): of Gram
    matrices ``A A^T``, or of products of weights and means. None where either is zero.
    """
    return defined(torch.linalg.matrix_norm(unit_norm(matrix) - unit_norm(target)))


def unit_norm(matrix: Tensor) -> Tensor:
    """Scale a matrix, ... x m x n, to Frobenius norm 1; NaN where it is zero.

    The largest entry is divided out first: the squares of small numbers would underflow.
    """
    scaled = matrix / matrix.abs().amax(dim=(-2, -1), keepdim=True)
    return scaled / torch.linalg.matrix_norm(scaled, keepdim=True)


def defined(value: Tensor | float) -> float | None:
    """Return a scalar as a number, or None where it is NaN or infinite: undefined."""
    number = float(value)
    # NaN fails the comparison.
    return number if abs(number) < float("inf") else None
