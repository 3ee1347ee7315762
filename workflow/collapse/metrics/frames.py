"""Frames that class means and classifiers collapse to, and the distance to them.

A frame is compared through its Gram matrix, so that the same functions serve class
means (NC2_H, the Gram matrix of the means), weights (NC2_W, ``P P^T``) and products
(NC3, ``P Hbar``).
"""

import torch
from torch import Tensor


def etf_gram(classes: int, device: torch.device | str | None = None) -> Tensor:
    """Unit-norm Gram matrix of the simplex equiangular tight frame.

    ``(I - J/K) / sqrt(K - 1)``, J the matrix of ones (Papyan, Han & Donoho 2020, NC2).

    Parameters
    ----------
    classes : int
        K, the number of vectors. A single vector has no simplex frame: the result is NaN.
    device : torch.device, optional
        Where the matrix is made.

    Returns
    -------
    Tensor
        K x K, float64, Frobenius norm 1.
    """
    identity = torch.eye(classes, dtype=torch.float64, device=device)
    return unit_norm(identity - 1 / classes)


def orthogonal_gram(classes: int, device: torch.device | str | None = None) -> Tensor:
    """Unit-norm Gram matrix of the orthogonal frame, ``I / sqrt(K)``.

    The frame of balanced classes under MSE without a bias (Dang et al. 2023; Tirer & Bruna
    2022).

    Parameters
    ----------
    classes : int
        K, the number of vectors.
    device : torch.device, optional
        Where the matrix is made.

    Returns
    -------
    Tensor
        K x K, float64, Frobenius norm 1.
    """
    return unit_norm(torch.eye(classes, dtype=torch.float64, device=device))


def general_orthogonal_gram(squared_lengths: Tensor) -> Tensor:
    """Unit-norm Gram matrix of a general orthogonal frame.

    ``diag(l) / norm(l)`` for orthogonal vectors of squared lengths ``l``: the frame of
    imbalanced classes under MSE without a bias (Dang et al. 2023).

    Parameters
    ----------
    squared_lengths : Tensor
        ... x K, not negative, not all zero.

    Returns
    -------
    Tensor
        ... x K x K, Frobenius norm 1.
    """
    return unit_norm(torch.diag_embed(squared_lengths))


def gram(rows: Tensor) -> Tensor:
    """Gram matrix of the rows, ``A A^T``.

    Parameters
    ----------
    rows : Tensor
        ... x K x d.

    Returns
    -------
    Tensor
        ... x K x K.
    """
    return rows @ rows.mT


def gram_distance(matrix: Tensor, target: Tensor) -> float | None:
    """Distance between two matrices scaled to unit Frobenius norm.

    ``norm(A/norm(A) - B/norm(B))``, between 0 and 2 (Zhu et al. 2021; Dang et al. 2023).

    Parameters
    ----------
    matrix : Tensor
        K x K: a Gram matrix ``A A^T``, or a product of weights and means.
    target : Tensor
        K x K, the frame to compare with.

    Returns
    -------
    float or None
        None where either matrix is zero.
    """
    return defined(torch.linalg.matrix_norm(unit_norm(matrix) - unit_norm(target)))


def unit_norm(matrix: Tensor) -> Tensor:
    """Scale a matrix to Frobenius norm 1.

    The largest entry is divided out first: the squares of small numbers would underflow.

    Parameters
    ----------
    matrix : Tensor
        ... x m x n.

    Returns
    -------
    Tensor
        ... x m x n; NaN where the matrix is zero.
    """
    scaled = matrix / matrix.abs().amax(dim=(-2, -1), keepdim=True)
    return scaled / torch.linalg.matrix_norm(scaled, keepdim=True)


def defined(value: Tensor | float) -> float | None:
    """Turn a scalar into a number, or None where the quantity is undefined.

    Parameters
    ----------
    value : Tensor or float
        A scalar; NaN or infinite after a division by zero.

    Returns
    -------
    float or None
        The value when it is finite.
    """
    number = float(value)
    return number if abs(number) < float("inf") else None
