"""The global minimum under squared error, direction by direction of the labels.

The problem splits along the singular directions of the labels, of squared length nu: the classes
themselves (nu = n_k) without a bias, the K - 1 eigenvectors of diag(n) - n n^T/N to non-zero
eigenvalues nu with one. In each direction x >= 0 minimises 1/(1 + x^M) + (b/nu) x, where b is the
scaled decay times the class size; a direction is collapsed (x = 0) from b/nu = threshold(M) on
(`collapse.theory.direction`).

Dang et al. 2023 (arXiv 2301.00437); an imbalanced problem with a bias extends the paper. Derived
and checked numerically.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from collapse.theory.decay import root_of_product, scaled_decay
from collapse.theory.direction import residual_fraction, threshold
from collapse.theory.linear_head import TIE, LinearHead


@dataclass(frozen=True)
class _Directions:
    """Singular directions of the labels, those of equal strength together, strongest first.

    ``strengths`` (B,) are the squared singular values nu, ``counts`` (B,) their multiplicities
    and ``weights`` (B, K) the squared components of the classes, summed over the block.
    """

    strengths: NDArray[np.float64]
    counts: NDArray[np.int64]
    weights: NDArray[np.float64]


def _directions(class_sizes: NDArray[np.float64], bias: bool) -> _Directions:
    sizes, group, members = np.unique(class_sizes, return_inverse=True, return_counts=True)
    membership = (group == np.arange(len(sizes))[:, None]).astype(np.float64)
    if not bias:
        return _Directions(sizes[::-1], members[::-1], membership[::-1])
    # Within a group of equal sizes only the directions that sum to zero remain; each gap
    # between neighbouring sizes holds one direction across groups.
    tied = members > 1
    across = [_direction_across(sizes, members, gap) for gap in range(len(sizes) - 1)]
    strengths = np.array([*sizes[tied], *(strength for strength, _ in across)])
    counts = np.array([*(members[tied] - 1), *(1 for _ in across)])
    # The diagonal of the projection on a group's directions that sum to zero.
    inside = (membership * (1 - 1 / members)[:, None])[tied]
    weights = np.array([*inside, *(weight[group] for _, weight in across)])
    # A bottleneck takes the strongest first.
    order = np.argsort(-strengths)
    return _Directions(strengths[order], counts[order], weights[order])


def _direction_across(
    sizes: NDArray[np.float64], members: NDArray[np.int64], gap: int
) -> tuple[float, NDArray[np.float64]]:
    """Return the eigenvalue of diag(n) - n n^T/N between two sizes, and its eigenvector squared.

    The eigenvalue nu solves sum_j m_j v_j/(v_j - nu) = 0 over distinct sizes v_j with m_j
    members; it is found as an offset from the nearer of the two, for relative accuracy.
    """
    masses = members * sizes

    def secular(offset: float, distances: NDArray[np.float64]) -> float:
        poles = distances != 0
        others = np.sum(masses[poles] / (distances[poles] - offset))
        # Multiplied by the offset: the pole at the origin becomes a constant, finite at 0.
        return float(offset * others - masses[~poles][0])

    # The secular function changes sign once in the gap: its sign at the middle tells the nearer
    # end.
    half = (sizes[gap + 1] - sizes[gap]) / 2
    nearer_low = secular(half, sizes - sizes[gap]) >= 0
    origin, end = (sizes[gap], half) if nearer_low else (sizes[gap + 1], -half)
    distances = sizes - origin
    # To the last digit of the offset, however small: the relative tolerance alone decides, and a
    # root hundreds of orders of magnitude below the interval takes as many halvings.
    offset = scipy.optimize.brentq(
        secular, 0, end, args=(distances,), xtol=1e-300, rtol=1e-15, maxiter=1000
    )
    components = (sizes / (distances - offset)) ** 2
    return float(origin + offset), components / np.sum(members * components)


def minimum(head: LinearHead) -> dict[str, object]:
    """Return what `collapse.theory.deep_linear.predict` says of the minimum with loss=mse."""
    depth, total, classes = head.depth, head.total, len(head.class_sizes)
    directions = _directions(head.class_sizes, head.bias)
    strengths, counts = directions.strengths, directions.counts
    decays = [*head.weight_decay, head.feature_decay]

    tau = float(threshold(depth))
    direction_decay = scaled_decay(strengths, total, head.weight_decay, head.feature_decay)
    # A bottleneck of width d lets the d strongest directions through; where it cuts a block of
    # equal strength, some of the block's.
    survivors = np.clip(min(head.width, classes) - (np.cumsum(counts) - counts), 0, counts)
    at_threshold = np.abs(direction_decay / tau - 1) <= TIE
    # At the threshold x = 0 and the largest root tie: the loss is that of either.
    alive = (direction_decay < tau) & ~at_threshold
    constant = total * root_of_product(decays, depth + 1) / strengths ** (depth / (depth + 1))
    residual = np.where(alive, residual_fraction(constant, depth), 1.0)
    fraction = 1 - residual

    # Each collapsed direction costs nu/(2N), each other the fraction y (1 + M (1 - y)) of that.
    per_direction = counts - survivors + survivors * residual * (1 + depth * fraction)
    # Over nu the squared singular value of a direction's features; a class mean takes the share
    # nu^2 (u_k/n_k)^2 of it.
    norms = fraction * residual / (total * head.feature_decay)
    active = alive & (survivors > 0)
    per_class = (norms * strengths**2 * active) @ directions.weights / head.class_sizes**2
    collapsed = ~np.any(directions.weights[active] > 0, axis=0)
    class_decay = scaled_decay(head.class_sizes, total, head.weight_decay, head.feature_decay)
    # Unequal sizes with a bias: the directions are no classes, to which a b/n_k would belong.
    aligned = not head.bias or head.balanced

    def spectrum(values: NDArray[np.float64]) -> list[float]:
        padded = np.zeros(classes)
        padded[: survivors.sum()] = np.repeat(np.where(alive, values, 0.0), survivors)
        return padded.tolist()

    prediction: dict[str, object] = {
        "loss": float(np.sum(strengths * per_direction) / (2 * total)),
        # N feature_decay x^M, with x^M = (1 - y)/y.
        "product_eigenvalues": spectrum(total * head.feature_decay * fraction / residual),
        "layer_singular_values": spectrum(_layer_singular_values(head, strengths, fraction)),
        "logit_singular_values": spectrum(np.sqrt(strengths) * fraction),
        "feature_norms_squared": per_class.tolist(),
        "threshold": tau,
        "scaled_decay": class_decay.tolist() if aligned else None,
        "collapsed_classes": np.flatnonzero(collapsed).tolist(),
    }
    open_keys = _open_keys(depth, at_threshold & (survivors > 0), active & (survivors < counts))
    return prediction | dict.fromkeys(open_keys)


def _layer_singular_values(
    head: LinearHead, strengths: NDArray[np.float64], fraction: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return s with weight_decay_1 s^2 = (product of all decays times logit^2)^(1/(M+1))."""
    order = head.depth + 1
    decays = root_of_product([*head.weight_decay, head.feature_decay], order)
    balance = decays * (strengths * fraction**2) ** (1 / order)
    return np.sqrt(balance / head.weight_decay[0])


def _open_keys(depth: int, tied: NDArray[np.bool_], cut: NDArray[np.bool_]) -> list[str]:
    """Return the keys that the minimum leaves open, at the threshold or in a bottleneck."""
    of_classes = ["feature_norms_squared", "collapsed_classes"]
    # A single layer shrinks to zero continuously: at the threshold nothing is open.
    if depth > 1 and np.any(tied):
        spectra = ["product_eigenvalues", "layer_singular_values", "logit_singular_values"]
        return spectra + of_classes
    return of_classes if np.any(cut) else []
