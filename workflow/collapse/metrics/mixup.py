"""Where features of mixed samples lie between two classes.

A sample mixed of classes i and j has the mix lambda, the weight of class i. Its logits are read
through two coordinates: u, that of class i, and v, that of class j, each less those of the others.
u - v tells the two classes apart; u + v runs along their decision boundary. Source: Fisher, Meng,
Papyan, "Pushing Boundaries: Mixup's Influence on Neural Collapse" (ICLR 2024, arXiv 2402.06171),
which pictures them; the coordinates, A and R^2 are this project's.
"""

import math

import torch
from torch import Tensor

from collapse.errors import InputError
from collapse.metrics.checks import check_classes, check_mixes, check_values
from collapse.metrics.frames import etf_gram, gram, unit_norm

RANK = 1e-5
"""Singular values below it, relative to the largest, count as zero."""


def logit_coordinates(
    logits: Tensor, first: int | Tensor, second: int | Tensor
) -> tuple[Tensor, Tensor]:
    """Return u and v of mixed samples of two classes, N each, float64.

    u = z_i - z_o and v = z_j - z_o, z_o the mean of the logits of the K - 2 other classes.

    Parameters
    ----------
    logits
        N x K, K at least 3: of two classes there are no others.
    first, second
        The classes i and j, from 0 to K-1 and not equal: of all samples, or N integers.

    Raises
    ------
    InputError
        If the logits are no such matrix, or the classes are none of them or equal.
    """
    logits = check_values("logits", logits, "N x K")
    classes = logits.shape[1]
    if classes < 3:
        raise InputError(f"logits: {classes} classes, allowed are at least 3")
    named = (("first", first), ("second", second))
    pair = torch.stack([check_classes(name, label, logits) for name, label in named], 1)
    if (pair[:, 0] == pair[:, 1]).any():
        raise InputError("second: the class that is first, allowed is another one")
    own = logits.gather(1, pair)
    others = logits.scatter(1, pair, 0).sum(1, keepdim=True) / (classes - 2)
    u, v = (own - others).unbind(1)
    return u, v


def amplification(u: Tensor, v: Tensor, mix: Tensor) -> Tensor:
    """Return A(lambda), how far along the boundary over how far the convex combination is.

    A(lambda) = s(lambda) / (lambda s(1) + (1 - lambda) s(0)), s = u + v. 1 at both ends.

    Parameters
    ----------
    u, v
        Coordinates of `logit_coordinates`, ... x L.
    mix
        The L values of lambda, the weight of the first class: 0 and 1 are among them.

    Returns
    -------
    Tensor
        ... x L, float64; NaN where the divisor is 0.

    Raises
    ------
    InputError
        If shapes do not fit, or the mixes are not from 0 to 1.
    """
    if u.shape != v.shape:
        raise InputError(f"v: shape {list(v.shape)}, allowed is that of u, {list(u.shape)}")
    along = u.double() + v.double()
    mix = _mixes(mix, along, axis=-1)
    convex = _convex(along.unsqueeze(-1), mix).squeeze(-1)
    return torch.where(convex == 0, torch.nan, along / convex)


def convex_r2(means: Tensor, mix: Tensor) -> float:
    """Return R^2 of the convex combination of both ends as a model of mixed features.

    1 - sum ||h - (lambda mu_i + (1 - lambda) mu_j)||^2 / sum ||h - hbar||^2 over all pairs and the
    mixes strictly between 0 and 1, where hbar is the pair's mean over these; mu_i and mu_j are its
    features at mix 1 and 0. 1 for exact convex combinations; without bound below.

    Parameters
    ----------
    means
        Features of P pairs of classes at L mixes, means over samples, P x L x d.
    mix
        L, the weight of the first class: 0 and 1 are among them.

    Returns
    -------
    float
        NaN where no feature varies between the ends.

    Raises
    ------
    InputError
        If shapes do not fit, or the mixes are not from 0 to 1.
    """
    means = check_values("means", means, "P x L x d")
    mix = _mixes(mix, means, axis=-2)
    inner = (mix > 0) & (mix < 1)
    between, convex = (curves[..., inner, :] for curves in (means, _convex(means, mix)))
    left = (between - convex).square().sum()
    spread = (between - between.mean(-2, keepdim=True)).square().sum()
    return (1 - left / spread).item() if spread > 0 else math.nan


def etf_distance(weight: Tensor) -> float:
    """Return the distance of a classifier, K x d, from a simplex equiangular tight frame.

    norm(G/norm(G) - (I - J/K)/sqrt(K - 1)), G the Gram matrix of the rows less their mean, from 0
    to 2; NaN where all rows are equal. Source: Papyan, Han, Donoho 2020 (NC2), of the classifier.

    Raises
    ------
    InputError
        If it is no such matrix of finite numbers.
    """
    centred = _centred("weight", weight, "K x d")
    target = etf_gram(len(weight), weight.device)
    return torch.linalg.matrix_norm(unit_norm(gram(centred)) - target).item()


def classifier_norm(weight: Tensor) -> float:
    """Return the mean norm of a classifier's rows, K x d, less the mean of all rows.

    Raises
    ------
    InputError
        If it is no such matrix of finite numbers.
    """
    return torch.linalg.vector_norm(_centred("weight", weight, "K x d"), dim=1).mean().item()


def triangle_plane(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the map of features to the plane of three classes' rows of a classifier, float64.

    A feature h, d, lies at ``projection @ (h - centre)``: x = A Q (h - mu), mu the mean of the
    rows, Q = U V^T the polar factor of the rows less mu, 3 x d, singular values below 1e-5 of the
    largest dropped, and A = sqrt(2) [[1/2, -1/2, 0], [0, 0, sqrt(3)/2]] (I - J/3). In the plane
    through the rows lengths and angles stay; rows of an ETF become an equilateral triangle, the
    first class at the lower right, the second at the lower left, the third on top. Source: a third
    party's code for the paper.

    Parameters
    ----------
    rows
        3 x d, in the order of the classes.

    Returns
    -------
    projection : Tensor
        2 x d. Of rows on a line only their direction is kept: all places lie on a line. Of equal
        rows it is zero.
    centre : Tensor
        d.

    Raises
    ------
    InputError
        If they are no such matrix of finite numbers.
    """
    centred = _centred("rows", rows, "3 x d")
    if len(rows) != 3:
        raise InputError(f"rows: {len(rows)} rows, allowed are 3")
    left, values, right = torch.linalg.svd(centred, full_matrices=False)
    kept = values > RANK * values[0]
    polar = left[:, kept] @ right[kept]
    base = polar.new_tensor([[0.5, -0.5, 0], [0, 0, math.sqrt(0.75)]]) * math.sqrt(2)
    # The polar factor's rows have mean 0: A needs no I - J/3.
    return base @ polar, rows.double().mean(0)


def _mixes(mix: Tensor, curves: Tensor, axis: int) -> Tensor:
    """Return the mixes of curves along an axis, L, in float64 on their device."""
    check_mixes(mix, curves.shape[axis])
    return mix.to(curves)


def _convex(curves: Tensor, mix: Tensor) -> Tensor:
    """Return the convex combinations of both ends of curves, ... x L x d."""
    first, second = (curves[..., (mix == end).nonzero()[0], :] for end in (1, 0))
    weight = mix.unsqueeze(-1)
    return weight * first + (1 - weight) * second


def _centred(name: str, rows: Tensor, axes: str) -> Tensor:
    """Return rows less their mean, float64; refuse what is no matrix of finite numbers."""
    rows = check_values(name, rows, axes)
    return rows - rows.mean(0)
