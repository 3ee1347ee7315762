"""Covariance matrices as users write them: checked, and along their principal axes."""

import numpy as np
from numpy.typing import NDArray

from collapse.errors import InputError

ROUNDING = 1e-9
"""Relative asymmetry, and share of a negative eigenvalue, that passes for rounding."""


def symmetric(rows: list[list[float]]) -> NDArray[np.float64]:
    """Return the matrix of n rows of n finite numbers, made exactly symmetric.

    Raises
    ------
    InputError
        If the rows are no square matrix, or one that is not symmetric.
    """
    for index, row in enumerate(rows):
        if len(row) != len(rows):
            raise InputError(
                f"target_covariance: found {len(row)} numbers in row {index} of {len(rows)} rows,"
                " allowed: a square matrix"
            )
    matrix = np.array(rows)
    # Relative to the deviations of the two variables, as a correlation is: a variable in small
    # units is checked as closely as the others.
    scale = np.sqrt(np.abs(np.diag(matrix)))
    # Halves, as in the mean below: the difference or sum of entries near the largest number would
    # overflow.
    asymmetric = np.abs(matrix / 2 - matrix.T / 2) > ROUNDING / 2 * np.outer(scale, scale)
    # The first mismatch, if there is one, makes the message.
    for row, column in np.argwhere(asymmetric)[:1].tolist():
        raise InputError(
            f"target_covariance: found {rows[row][column]} at [{row}][{column}] but"
            f" {rows[column][row]} at [{column}][{row}], allowed: a symmetric matrix"
        )
    return matrix / 2 + matrix.T / 2


def principal_axes(
    covariance: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the standard deviations along the principal axes, descending, and the axes (columns).

    The covariance, n x n, is exactly symmetric. Eigenvalues below n eps of the largest count as
    zero: of a singular matrix they are rounding.

    Raises
    ------
    InputError
        If the matrix is not positive semidefinite.
    """
    # Brought near 1 by a power of 4: the eigenvalues of finite entries may overflow.
    half = int(np.frexp(np.abs(covariance).max())[1]) // 2
    eigenvalues, axes = np.linalg.eigh(np.ldexp(covariance, -2 * half))
    # `eigh` sorts ascending.
    eigenvalues, axes = eigenvalues[::-1], axes[:, ::-1]
    if eigenvalues[-1] < -ROUNDING * np.abs(eigenvalues).max():
        raise InputError(
            f"target_covariance: found the smallest eigenvalue"
            f" {np.ldexp(eigenvalues[-1], 2 * half):g}, allowed: at least 0 (a positive"
            " semidefinite matrix)"
        )
    floor = len(covariance) * np.finfo(np.float64).eps * eigenvalues[0]
    variances = np.where(eigenvalues > floor, eigenvalues, 0.0)
    # The root of 4^half is 2^half, so that undoing the scale is exact.
    return np.ldexp(np.sqrt(variances), half), axes
