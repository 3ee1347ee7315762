"""Closed forms of the deep linear unconstrained-features model.

Source: Dang, Tran, Osher, Tran-The, Ho, Nguyen, "Neural Collapse in Deep Linear Networks: From
Balanced to Imbalanced Data", ICML 2023, arXiv 2301.00437. The formulas are derived from the
objective and checked numerically.

With K classes of n_k samples, N = sum n_k, W_m of shape d_(m+1) x d_m, P = W_M...W_1 (K x d_1)
and H of shape d_1 x N, the squared-error problem splits along the singular directions of the
labels, of squared length nu: the classes themselves (nu = n_k) without a bias, the K - 1
eigenvectors of diag(n) - n n^T/N to non-zero eigenvalues nu with one. In each direction x >= 0
minimises 1/(1 + x^M) + (b/nu) x, where b is the scaled decay times the class size; a direction is
collapsed (x = 0) from b/nu = threshold(M) on. An imbalanced problem with a bias extends the paper.

The code works with the residual fraction y = 1/(1 + x^M), since its stationarity
y (1 - y)^((M-1)/(M+1)) = (b/(M nu))^(M/(M+1)) neither overflows nor cancels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit

from collapse.errors import InputError
from collapse.theory.hyperparameters import (
    Hyperparameter,
    boolean,
    choice,
    integer,
    list_of,
    number,
    one_or_list,
    parse,
)

OBJECTIVE = (
    "min 1/(2N) ||W_M...W_1 H + bias - Y||_F^2 + sum_m weight_decay_m/2 ||W_m||_F^2"
    " + feature_decay/2 ||H||_F^2, H summed over all N samples, bias not penalised;"
    " with loss=ce the first term is 1/N sum_i CE"
)
"""The objective whose units the decays are in."""

_DECAY = number(0)
_WIDTH = integer(1, 10**9)

KEYS = {
    "class_sizes": Hyperparameter(
        list_of(integer(1, 10**15), at_least=2), "samples per class n_1 to n_K; K is the length"
    ),
    "weight_decay": Hyperparameter(
        one_or_list(_DECAY),
        "penalty of W_1 to W_M in units of 1/2 ||W_m||_F^2; one number holds for all layers",
    ),
    "depth": Hyperparameter(
        integer(1, 1000),
        "linear layers M; if left out, the length of weight_decay (1 for one number)",
        default=None,
    ),
    "feature_decay": Hyperparameter(
        _DECAY, "penalty of the features in units of 1/2 ||H||_F^2, summed over samples"
    ),
    "loss": Hyperparameter(
        choice("mse", "ce"), "squared error, or cross-entropy of equal class sizes", default="mse"
    ),
    "bias": Hyperparameter(boolean(), "last-layer bias, not penalised", default=False),
    "widths": Hyperparameter(
        one_or_list(_WIDTH),
        "input widths d_1 to d_M of W_1 to W_M, or one number; if left out, at least K",
        default=None,
    ),
}
"""The hyperparameters of `predict`."""

TIE = 1e-12
"""Relative distance below which a scaled decay counts as equal to the threshold: rounding."""


def predict(**hyperparameters: object) -> dict[str, object]:
    """Return what the closed form says of the global minimum.

    Parameters
    ----------
    **hyperparameters
        As described in `KEYS`; the decays are in the units of `OBJECTIVE`.

    Returns
    -------
    dict
        With loss=mse:

        ``loss``
            Objective at the minimum.
        ``product_eigenvalues``, ``layer_singular_values``, ``logit_singular_values``
            Of P P^T, of W_1 and of the K x N logits P H without the bias; descending,
            zero-padded to length K.
        ``feature_norms_squared``
            Squared norms of the K class-mean features, in class order.
        ``threshold``
            The scaled decay at which a class collapses.
        ``scaled_decay``
            b/n_k of each class, what is compared with the threshold; None for unequal classes
            with a bias, whose directions are not classes.
        ``collapsed_classes``
            Classes (from 0) whose features, and row of P, are zero.

        What the minimum leaves open is None: the two keys of features where a bottleneck cuts
        through directions of equal strength, and besides the three spectra at the threshold
        itself for depth >= 2. The loss always stands.

        With loss=ce and depth 1: ``loss`` and ``alpha``, logits alpha (I - 11^T/K) for each
        sample; None where a width below K - 1 cannot hold them.

        With loss=ce and more depth, where the simplex ETF is not the global minimum in general:
        ``loss_etf`` with ``alpha_etf``, the best of the ETF family (widths >= K - 1), and
        ``loss_cross_polytope`` with ``alpha_cross_polytope``, the best of the cross-polytope
        family (even K, widths >= K/2); None where a family does not exist. A bias, constant
        over classes at either, changes neither. An alpha is None where zero ties with it.

    Raises
    ------
    InputError
        A hyperparameter is unknown, missing, out of range or at odds with another, or the
        result leaves the range of double precision.

    Notes
    -----
    Dang et al. 2023 (arXiv 2301.00437); derived and checked numerically.
    """
    problem = read_problem(hyperparameters)
    with np.errstate(over="ignore", invalid="ignore"):
        if problem.loss == "mse":
            prediction = _predict_squared_error(problem)
        elif problem.depth == 1:
            prediction = _predict_cross_entropy(problem)
        else:
            prediction = _predict_cross_entropy_families(problem)
    check_range(prediction)
    return prediction


def check_range(prediction: Mapping[str, object]) -> None:
    """Refuse a prediction that holds a number beyond double precision; None is allowed.

    Raises
    ------
    InputError
        A value is infinite or not a number.
    """
    for name, value in prediction.items():
        if value is not None and not np.all(np.isfinite(value)):
            raise InputError(
                f"weight_decay, feature_decay: found decays with which {name} leaves the range of"
                " double precision, allowed: less extreme ones"
            )


@dataclass(frozen=True)
class Problem:
    """The hyperparameters of `KEYS`, read: one decay per layer, and the smallest width."""

    class_sizes: NDArray[np.float64]
    weight_decay: list[float]
    feature_decay: float
    loss: str
    bias: bool
    width: int

    @property
    def depth(self) -> int:
        """The number of layers M."""
        return len(self.weight_decay)

    @property
    def total(self) -> float:
        """The number of samples N."""
        return float(self.class_sizes.sum())

    @property
    def balanced(self) -> bool:
        """Whether all classes have the same size."""
        return bool(np.all(self.class_sizes == self.class_sizes[0]))


def read_problem(hyperparameters: Mapping[str, object]) -> Problem:
    """Check the hyperparameters of `KEYS`.

    Raises
    ------
    InputError
        One is unknown, missing, out of range or at odds with another.
    """
    values = parse(KEYS, hyperparameters)
    decay, depth, widths = values["weight_decay"], values["depth"], values["widths"]
    if isinstance(decay, float):
        decay = [decay] * (depth or 1)
    if depth not in (None, len(decay)):
        raise InputError(f"depth: found {depth}, allowed: {len(decay)}, the length of weight_decay")
    if isinstance(widths, list) and len(widths) != len(decay):
        raise InputError(
            f"widths: found {len(widths)} numbers, allowed: one, or {len(decay)} (one per layer)"
        )
    classes = len(values["class_sizes"])
    if values["loss"] == "ce" and len(set(values["class_sizes"])) > 1:
        raise InputError("class_sizes: found unequal sizes, allowed with loss=ce: equal sizes")
    return Problem(
        class_sizes=np.array(values["class_sizes"], dtype=np.float64),
        weight_decay=decay,
        feature_decay=values["feature_decay"],
        loss=values["loss"],
        bias=values["bias"],
        width=classes if widths is None else int(np.min(widths)),
    )


# Squared error: one scalar problem per direction of the labels.


def threshold(depth: ArrayLike) -> NDArray[np.float64]:
    """Return the scaled decay at which a class collapses, tau_M = (M-1)^((M-1)/M) / M.

    Parameters
    ----------
    depth : array_like of int
        Number of layers M.

    Returns
    -------
    ndarray
        tau_M, of the shape of ``depth``. At it the logits fall to zero from the fraction
        (M-1)/M of the label: continuously for M = 1, with a jump for M >= 2.

    Notes
    -----
    Dang et al. 2023 (arXiv 2301.00437); derived and checked numerically.
    """
    depth = np.asarray(depth, dtype=np.float64)
    return (depth - 1) ** ((depth - 1) / depth) / depth


def metastable_threshold(depth: ArrayLike) -> NDArray[np.float64]:
    """Return the scaled decay up to which a non-zero stationary point exists.

    tau_loc = (M+1)^2/(4M) ((M-1)/(M+1))^((M-1)/M), equal to `threshold` for M = 1.

    Parameters
    ----------
    depth : array_like of int
        Number of layers M.

    Returns
    -------
    ndarray
        tau_loc, of the shape of ``depth``.

    Notes
    -----
    Derived and checked numerically.
    """
    depth = np.asarray(depth, dtype=np.float64)
    below = ((depth - 1) / (depth + 1)) ** ((depth - 1) / depth)
    return (depth + 1) ** 2 / (4 * depth) * below


def scaled_decay(
    class_size: ArrayLike, total: ArrayLike, weight_decay: Sequence[float], feature_decay: float
) -> NDArray[np.float64]:
    """Return what is compared with the threshold: (M N/n) (N weight_decay_1...feature_decay)^(1/M).

    Parameters
    ----------
    class_size, total : array_like
        Samples n of the class (or squared singular value of the labels) and N of all classes.
    weight_decay : sequence of float
        Decays of W_1 to W_M.
    feature_decay : float
        Decay of the features.

    Returns
    -------
    ndarray
        b/n, of the shape of ``class_size`` and ``total`` together.

    Notes
    -----
    Dang et al. 2023 (arXiv 2301.00437); derived and checked numerically.
    """
    depth = len(weight_decay)
    total = np.asarray(total, dtype=np.float64)
    product = _root([*weight_decay, feature_decay], depth)
    return depth * total / np.asarray(class_size) * total ** (1 / depth) * product


def decay_at(
    scaled_decay: ArrayLike, class_size: ArrayLike, total: ArrayLike, depth: ArrayLike
) -> NDArray[np.float64]:
    """Return the decay, equal for all layers and the features, of a given scaled decay.

    [(b/n n/(M N))^M / N]^(1/(M+1)): the inverse of `scaled_decay`.

    Parameters
    ----------
    scaled_decay : array_like
        b/n.
    class_size, total : array_like
        Samples n of the class and N of all classes.
    depth : array_like of int
        Number of layers M.

    Returns
    -------
    ndarray
        The decay, of the common shape of the arguments.

    Notes
    -----
    Derived and checked numerically.
    """
    depth, total = np.asarray(depth), np.asarray(total, dtype=np.float64)
    base = np.asarray(scaled_decay) * np.asarray(class_size) / (depth * total)
    return base ** (depth / (depth + 1)) * total ** (-1 / (depth + 1))


def largest_root(scaled_decay: ArrayLike, depth: ArrayLike) -> NDArray[np.float64]:
    """Return the largest stationary x: that of M x^(M-1) / (1 + x^M)^2 = b/n.

    Between `threshold` and `metastable_threshold` it is a local minimum above that of x = 0.

    Parameters
    ----------
    scaled_decay : array_like
        b/n > 0.
    depth : array_like of int
        Number of layers M.

    Returns
    -------
    ndarray
        x, of the common shape; nan beyond `metastable_threshold`.

    Notes
    -----
    Dang et al. 2023 (arXiv 2301.00437); derived and checked numerically.
    """
    decay, depth = np.broadcast_arrays(np.asarray(scaled_decay, dtype=np.float64), depth)
    residual = _residual((decay / depth) ** (depth / (depth + 1)), depth)
    root = ((1 - residual) / residual) ** (1 / depth)
    return np.where(decay <= metastable_threshold(depth), root, np.nan)


def minimiser(scaled_decay: ArrayLike, depth: ArrayLike) -> NDArray[np.float64]:
    """Return the x >= 0 that minimises 1/(1 + x^M) + (b/n) x.

    Parameters
    ----------
    scaled_decay : array_like
        b/n > 0.
    depth : array_like of int
        Number of layers M.

    Returns
    -------
    ndarray
        x, of the common shape: `largest_root` below `threshold`, zero from it on.

    Notes
    -----
    Dang et al. 2023 (arXiv 2301.00437); derived and checked numerically.
    """
    below = np.asarray(scaled_decay) < threshold(depth)
    return np.where(below, largest_root(scaled_decay, depth), 0.0)


def logit_fraction(x: ArrayLike, depth: ArrayLike) -> NDArray[np.float64]:
    """Return the logit's fraction of the label, x^M / (1 + x^M): singular value over sqrt(n).

    Parameters
    ----------
    x : array_like
        As `minimiser` or `largest_root` returns it.
    depth : array_like of int
        Number of layers M.

    Returns
    -------
    ndarray
        The fraction, of the common shape.

    Notes
    -----
    Dang et al. 2023 (arXiv 2301.00437); derived and checked numerically.
    """
    with np.errstate(divide="ignore"):
        return expit(np.asarray(depth) * np.log(x))


def _root(factors: Sequence[float], order: int) -> float:
    """Return the root of a product whose value may lie outside the range of double precision."""
    mantissas, exponents = np.frexp(np.asarray(factors, dtype=np.float64))
    whole, rest = divmod(int(exponents.sum()), order)
    return float(np.ldexp((np.prod(mantissas) * 2.0**rest) ** (1 / order), whole))


def _residual(constant: NDArray[np.float64], depth: ArrayLike) -> NDArray[np.float64]:
    """Return the smallest root y of y (1 - y)^a = constant, a = (M-1)/(M+1).

    Newton's method from below on a concave increasing function: it ascends to the root without
    passing it. Where there is no root the result is the y of the largest left-hand side.
    """
    constant, depth = np.broadcast_arrays(np.asarray(constant, dtype=np.float64), depth)
    power = (depth - 1) / (depth + 1)
    top = (depth + 1) / (2 * depth)
    residual = np.minimum(constant, top)
    single = depth == 1
    rest = np.where(single, 1.0, 1 - residual)
    for _ in range(100):
        value = residual - constant * rest**-power
        slope = 1 - power * constant * rest ** (-power - 1)
        steps = np.divide(value, slope, out=np.full(value.shape, -1.0), where=slope > 0)
        updated = np.minimum(residual - steps, top)
        converged = np.all(np.abs(updated - residual) <= 4e-16 * residual)
        residual = updated
        rest = np.where(single, 1.0, 1 - residual)
        if converged:
            break
    return residual


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
    own = (group == np.arange(len(sizes))[:, None]).astype(np.float64)
    if not bias:
        return _Directions(sizes[::-1], members[::-1], own[::-1])
    # Within a group of equal sizes only the directions that sum to zero remain; each gap
    # between neighbouring sizes holds one direction across groups.
    tied = members > 1
    across = [_direction_across(sizes, members, gap) for gap in range(len(sizes) - 1)]
    strengths = np.array([*sizes[tied], *(strength for strength, _ in across)])
    counts = np.array([*(members[tied] - 1), *(1 for _ in across)])
    inside = (own * (1 - 1 / members)[:, None])[tied]
    weights = np.array([*inside, *(weight[group] for _, weight in across)])
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
        return float(offset * others - masses[~poles][0])

    half = (sizes[gap + 1] - sizes[gap]) / 2
    nearer_low = secular(half, sizes - sizes[gap]) >= 0
    origin, end = (sizes[gap], half) if nearer_low else (sizes[gap + 1], -half)
    distances = sizes - origin
    offset = brentq(secular, 0, end, args=(distances,), xtol=1e-300, rtol=1e-15, maxiter=1000)
    components = (sizes / (distances - offset)) ** 2
    return float(origin + offset), components / np.sum(members * components)


def _predict_squared_error(problem: Problem) -> dict[str, object]:
    depth, total, classes = problem.depth, problem.total, len(problem.class_sizes)
    directions = _directions(problem.class_sizes, problem.bias)
    strengths, counts = directions.strengths, directions.counts
    decays = [*problem.weight_decay, problem.feature_decay]

    tau = float(threshold(depth))
    compared = scaled_decay(strengths, total, problem.weight_decay, problem.feature_decay)
    survivors = np.clip(min(problem.width, classes) - (np.cumsum(counts) - counts), 0, counts)
    tied = np.abs(compared / tau - 1) <= TIE
    alive = (compared < tau) & ~tied
    constant = total * _root(decays, depth + 1) / strengths ** (depth / (depth + 1))
    residual = np.where(alive, _residual(constant, depth), 1.0)
    fraction = 1 - residual

    per_direction = counts - survivors + survivors * residual * (1 + depth * fraction)
    norms = fraction * residual / (total * problem.feature_decay)
    active = alive & (survivors > 0)
    per_class = (norms * strengths**2 * active) @ directions.weights / problem.class_sizes**2
    collapsed = ~np.any(directions.weights[active] > 0, axis=0)
    per_size = scaled_decay(problem.class_sizes, total, problem.weight_decay, problem.feature_decay)
    aligned = not problem.bias or problem.balanced

    def spectrum(values: NDArray[np.float64]) -> list[float]:
        padded = np.zeros(classes)
        padded[: survivors.sum()] = np.repeat(np.where(alive, values, 0.0), survivors)
        return padded.tolist()

    prediction: dict[str, object] = {
        "loss": float(np.sum(strengths * per_direction) / (2 * total)),
        "product_eigenvalues": spectrum(total * problem.feature_decay * fraction / residual),
        "layer_singular_values": spectrum(_layer_singular_values(problem, strengths, fraction)),
        "logit_singular_values": spectrum(np.sqrt(strengths) * fraction),
        "feature_norms_squared": per_class.tolist(),
        "threshold": tau,
        "scaled_decay": per_size.tolist() if aligned else None,
        "collapsed_classes": np.flatnonzero(collapsed).tolist(),
    }
    open_keys = _open_keys(depth, tied & (survivors > 0), active & (survivors < counts))
    return prediction | dict.fromkeys(open_keys)


def _layer_singular_values(
    problem: Problem, strengths: NDArray[np.float64], fraction: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return s with weight_decay_1 s^2 = (product of all decays times logit^2)^(1/(M+1))."""
    order = problem.depth + 1
    decays = _root([*problem.weight_decay, problem.feature_decay], order)
    balance = decays * (strengths * fraction**2) ** (1 / order)
    return np.sqrt(balance / problem.weight_decay[0])


def _open_keys(depth: int, tied: NDArray[np.bool_], cut: NDArray[np.bool_]) -> list[str]:
    """Return the keys that the minimum leaves open, at the threshold or in a bottleneck."""
    of_classes = ["feature_norms_squared", "collapsed_classes"]
    if depth > 1 and np.any(tied):
        spectra = ["product_eigenvalues", "layer_singular_values", "logit_singular_values"]
        return spectra + of_classes
    return of_classes if np.any(cut) else []


# Cross-entropy of equal classes.


def etf_loss(
    alpha: ArrayLike,
    class_size: float,
    classes: int,
    weight_decay: Sequence[float],
    feature_decay: float,
) -> NDArray[np.float64]:
    """Return the least cross-entropy objective with logits alpha (I - 11^T/K).

    ln(1 + (K-1) e^-alpha) + (K-1) (M+1)/2 (weight_decay_1...feature_decay n alpha^2)^(1/(M+1)).

    Parameters
    ----------
    alpha : array_like
        Gap >= 0 between the logit of the class and the others.
    class_size : float
        Samples n of each class.
    classes : int
        Number of classes K.
    weight_decay : sequence of float
        Decays of W_1 to W_M, in units of 1/2 ||W_m||_F^2.
    feature_decay : float
        Decay of the features, in units of 1/2 ||H||_F^2.

    Returns
    -------
    ndarray
        The objective, of the shape of ``alpha``.

    Notes
    -----
    Derived and checked numerically. The global minimum for M = 1; a local one in general.
    """
    return _etf(class_size, classes, weight_decay, feature_decay).loss(alpha)


def cross_polytope_loss(
    alpha: ArrayLike,
    class_size: float,
    classes: int,
    weight_decay: Sequence[float],
    feature_decay: float,
) -> NDArray[np.float64]:
    """Return the least cross-entropy objective with the classes paired as +-e_i, logits +-alpha.

    ln(1 + (K-2) e^-alpha + e^-2alpha)
    + (K/2) (M+1)/2 (weight_decay_1...feature_decay 4 n alpha^2)^(1/(M+1)).

    Parameters
    ----------
    alpha : array_like
        Logit >= 0 of the class; minus that of its partner, the others' are zero.
    class_size : float
        Samples n of each class.
    classes : int
        Number of classes K, even.
    weight_decay : sequence of float
        Decays of W_1 to W_M, in units of 1/2 ||W_m||_F^2.
    feature_decay : float
        Decay of the features, in units of 1/2 ||H||_F^2.

    Returns
    -------
    ndarray
        The objective, of the shape of ``alpha``.

    Raises
    ------
    InputError
        ``classes`` is odd.

    Notes
    -----
    Derived and checked numerically: a counter-example to the global optimality of the simplex
    ETF for M >= 2, of rank K/2.
    """
    if classes % 2:
        raise InputError(f"classes: found {classes}, allowed: an even number")
    return _cross_polytope(class_size, classes, weight_decay, feature_decay).loss(alpha)


@dataclass(frozen=True)
class _Family:
    """Logits that scale with alpha: data term D(alpha) plus penalty C (M+1)/2 alpha^(2/(M+1)).

    ``log_pull`` is ln(-D'), concave, and ``log_pull_slope`` its derivative; ``coefficient`` is C.
    """

    depth: int
    classes: int
    data_term: Callable[[ArrayLike], NDArray[np.float64]]
    log_pull: Callable[[float], float]
    log_pull_slope: Callable[[float], float]
    coefficient: float

    def loss(self, alpha: ArrayLike) -> NDArray[np.float64]:
        """Return the objective at alpha."""
        order = self.depth + 1
        penalty = order / 2 * self.coefficient * np.asarray(alpha) ** (2 / order)
        return self.data_term(np.asarray(alpha)) + penalty

    def minimum(self) -> tuple[float, float | None]:
        """Return the least objective over alpha >= 0, and alpha (None if zero ties with it).

        Stationarity is ln(-D') + (1-q) ln alpha = ln C with q = 2/(M+1) < 1. The left side is
        concave, so that its larger root lies beyond its peak and is the only local minimum
        besides alpha = 0.
        """
        power = 1 - 2 / (self.depth + 1)
        level = np.log(self.coefficient)

        def excess(alpha: float) -> float:
            return self.log_pull(alpha) + power * np.log(alpha) - level

        at_zero = float(np.log(self.classes))
        flat = at_zero + 2
        peak = brentq(lambda alpha: self.log_pull_slope(alpha) + power / alpha, 1e-3 * power, flat)
        if excess(peak) <= 0:
            return at_zero, 0.0
        end = max(peak, 2 * (at_zero - level)) + 1
        alpha = brentq(excess, peak, end, xtol=1e-300, rtol=1e-15, maxiter=1000)
        loss = float(self.loss(alpha))
        if abs(loss / at_zero - 1) <= TIE:
            return at_zero, None
        return (loss, alpha) if loss < at_zero else (at_zero, 0.0)


def _etf(
    class_size: float, classes: int, weight_decay: Sequence[float], feature_decay: float
) -> _Family:
    depth = len(weight_decay)
    shift = np.log(classes - 1)
    return _Family(
        depth=depth,
        classes=classes,
        data_term=lambda alpha: np.log1p((classes - 1) * np.exp(-alpha)),
        log_pull=lambda alpha: -np.logaddexp(0, alpha - shift),
        log_pull_slope=lambda alpha: -expit(alpha - shift),
        coefficient=(classes - 1) * _root([*weight_decay, feature_decay, class_size], depth + 1),
    )


def _cross_polytope(
    class_size: float, classes: int, weight_decay: Sequence[float], feature_decay: float
) -> _Family:
    depth = len(weight_decay)
    others = classes - 2

    def excluded(alpha: ArrayLike) -> NDArray[np.float64]:
        return others * np.exp(-alpha) + np.exp(-2 * alpha)

    def log_pull(alpha: float) -> float:
        log_others = np.log(others) if others else -np.inf
        return np.logaddexp(log_others, np.log(2) - alpha) - alpha - np.log1p(excluded(alpha))

    def log_pull_slope(alpha: float) -> float:
        partner = 2 * np.exp(-alpha)
        chance = (1 - np.exp(-2 * alpha)) / (1 + excluded(alpha))
        return -partner / (others + partner) - chance

    return _Family(
        depth=depth,
        classes=classes,
        data_term=lambda alpha: np.log1p(excluded(alpha)),
        log_pull=log_pull,
        log_pull_slope=log_pull_slope,
        coefficient=classes / 2 * _root([*weight_decay, feature_decay, 4, class_size], depth + 1),
    )


def _predict_cross_entropy(problem: Problem) -> dict[str, object]:
    """Return the global minimum for M = 1, where the problem is convex in the logits."""
    classes, size = len(problem.class_sizes), float(problem.class_sizes[0])
    level = _root([size, problem.weight_decay[0], problem.feature_decay], 2)
    below = classes * level < 1
    if below and problem.width < classes - 1:
        return {"loss": None, "alpha": None}
    alpha = float(np.log1p((1 - classes * level) / level)) if below else 0.0
    loss = etf_loss(alpha, size, classes, problem.weight_decay, problem.feature_decay)
    return {"loss": float(loss), "alpha": alpha}


def _predict_cross_entropy_families(problem: Problem) -> dict[str, object]:
    classes, size = len(problem.class_sizes), float(problem.class_sizes[0])
    arguments = (size, classes, problem.weight_decay, problem.feature_decay)
    etf = cross_polytope = (None, None)
    if problem.width >= classes - 1:
        etf = _etf(*arguments).minimum()
    if classes % 2 == 0 and problem.width >= classes / 2:
        cross_polytope = _cross_polytope(*arguments).minimum()
    return {
        "loss_etf": etf[0],
        "alpha_etf": etf[1],
        "loss_cross_polytope": cross_polytope[0],
        "alpha_cross_polytope": cross_polytope[1],
    }
