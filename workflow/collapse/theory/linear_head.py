"""The deep linear unconstrained-features model in closed form, shared by two studies.

Source: Dang, Tran, Osher, Tran-The, Ho, Nguyen, "Neural Collapse in Deep Linear Networks: From
Balanced to Imbalanced Data", ICML 2023, arXiv 2301.00437. The formulas are derived from the
objective and checked numerically.

With K classes of n_k samples, N = sum n_k, W_m of shape d_(m+1) x d_m, P = W_M...W_1 (K x d_1)
and H of shape d_1 x N, the squared-error problem splits along the singular directions of the
labels, of squared length nu: the classes themselves (nu = n_k) without a bias, the K - 1
eigenvectors of diag(n) - n n^T/N to non-zero eigenvalues nu with one. In each direction x >= 0
minimises 1/(1 + x^M) + (b/nu) x, where b is the scaled decay times the class size; a direction is
collapsed (x = 0) from b/nu = threshold(M) on. An imbalanced problem with a bias extends the paper.

The scalar problem of one direction is that of `collapse.theory.direction`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit

from collapse.errors import InputError
from collapse.theory.decay import root_of_product, scaled_decay
from collapse.theory.direction import metastable_threshold, residual_fraction, threshold
from collapse.theory.frame import lengths
from collapse.theory.hyperparameters import (
    Hyperparameter,
    boolean,
    check_range,
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
"""The hyperparameters of `global_minimum`."""

TIE = 1e-12
"""Relative distance below which a scaled decay counts as equal to the threshold: rounding."""


def global_minimum(**hyperparameters: object) -> dict[str, object]:
    """Return what the closed form says of the global minimum; `deep_linear.predict` says it all."""
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


def hyperparameters(config: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters of `KEYS` that a run has.

    Parameters
    ----------
    config
        The config of a run: a problem's with ``problem``, a network's with ``head`` and ``loss``.
    facts
        Of a network ``class_sizes``, the samples of each class, and ``width``, its features'
        dimension, or None where that is not known.
    """
    given = {key: config[key] for key in ("weight_decay", "feature_decay")}
    if "problem" in config:
        names = ("class_sizes", "depth", "widths", "loss", "bias")
        return given | {name: config["problem"][name] for name in names}
    given |= {"loss": config["loss"]["kind"], "class_sizes": facts["class_sizes"]}
    given |= {name: config["head"][name] for name in ("depth", "bias")}
    return given | ({"widths": facts["width"]} if facts["width"] else {})


def sweep_thresholds(config: Mapping[str, Any]) -> dict[str, float]:
    """Return the scaled decays at which the directions of a sweep vanish; empty without a sweep."""
    if not config.get("sweep"):
        return {}
    depth = config["problem"]["depth"]
    return {
        "threshold": float(threshold(depth)),
        "metastable_threshold": float(metastable_threshold(depth)),
    }


def frame_of_run(
    config: Mapping[str, Any], facts: Mapping[str, Any]
) -> dict[str, NDArray[np.float64]]:
    """Return the general orthogonal frame that a run is measured against.

    ``weight_norm`` and ``feature_norm``, the norms of the rows of P and of the class means, K each,
    in class order. Empty where the minimum is no such frame: with a bias, with cross-entropy, with
    a width below K or a decay of zero.

    Parameters
    ----------
    config, facts
        As for `hyperparameters`.
    """
    try:
        problem = read_problem(hyperparameters(config, facts))
    except InputError:
        return {}
    sizes = problem.class_sizes
    if problem.bias or problem.loss != "mse" or problem.width < len(sizes):
        return {}
    found = lengths(sizes, problem.total, problem.weight_decay, problem.feature_decay)
    return {"weight_norm": found.weights, "feature_norm": found.features}


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
    constant = total * root_of_product(decays, depth + 1) / strengths ** (depth / (depth + 1))
    residual = np.where(alive, residual_fraction(constant, depth), 1.0)
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
    decays = root_of_product([*problem.weight_decay, problem.feature_decay], order)
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
        coefficient=(classes - 1)
        * root_of_product([*weight_decay, feature_decay, class_size], depth + 1),
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
        coefficient=classes
        / 2
        * root_of_product([*weight_decay, feature_decay, 4, class_size], depth + 1),
    )


def _predict_cross_entropy(problem: Problem) -> dict[str, object]:
    """Return the global minimum for M = 1, where the problem is convex in the logits."""
    classes, size = len(problem.class_sizes), float(problem.class_sizes[0])
    level = root_of_product([size, problem.weight_decay[0], problem.feature_decay], 2)
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
