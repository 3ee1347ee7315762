"""The simplex equiangular tight frame, as a matrix."""

import torch
from torch import Tensor


def simplex_etf(directions: Tensor) -> Tensor:
    """Return K x d rows of norm 1 with cosines -1/(K - 1).

    sqrt(K/(K - 1)) U Q^T, U an orthonormal basis of the vectors of K entries of sum 0, and Q the
    given `directions`, d x (K - 1), of orthonormal columns.
    """
    count = directions.shape[1] + 1
    centred = torch.eye(count, dtype=directions.dtype) - 1 / count
    plane = torch.linalg.qr(centred[:, 1:]).Q
    return (count / (count - 1)) ** 0.5 * plane @ directions.T
