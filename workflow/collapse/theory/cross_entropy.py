"""Minima under cross-entropy of equal classes: simplex ETF and cross-polytope.

For M = 1 the problem is convex in the logits and the simplex ETF is its minimum; for M >= 2 that
need not be (Dang et al. 2023, arXiv 2301.00437; derived and checked numerically).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from collapse.errors import InputError
from collapse.theory.decay import root_of_product
from collapse.theory.linear_head import TIE, LinearHead


def minimum(head: LinearHead) -> dict[str, object]:
    """Return what `collapse.theory.deep_linear.predict` says of the minimum with loss=ce."""
    return _convex(head) if head.depth == 1 else _families(head)


def etf_loss(
    alpha: ArrayLike,
    class_size: float,
    classes: int,
    weight_decay: Sequence[float],
    feature_decay: float,
) -> NDArray[np.float64]:
    """Return the least cross-entropy objective with logits alpha (I - 11^T/K).

    ln(1 + (K-1) e^-alpha) + (K-1) (M+1)/2 (weight_decay_1...feature_decay n alpha^2)^(1/(M+1)),
    in the shape of ``alpha`` >= 0, the gap between the logit of the class and the others;
    ``class_size`` n samples in each of K ``classes``, decays in units of 1/2 ||W_m||_F^2 and
    1/2 ||H||_F^2.

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
    + (K/2) (M+1)/2 (weight_decay_1...feature_decay 4 n alpha^2)^(1/(M+1)), in the shape of
    ``alpha`` >= 0, the logit of the class; minus that of its partner, the others' are zero. The
    other arguments are those of `etf_loss`.

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
        # The pull's slope lies between -2 and 0: near zero power/alpha outweighs it, and at ln K +
        # 2, where the softmax is almost saturated, it outweighs power/alpha.
        peak = scipy.optimize.brentq(
            lambda alpha: self.log_pull_slope(alpha) + power / alpha, 1e-3 * power, flat
        )
        if excess(peak) <= 0:
            return at_zero, 0.0
        # -D' <= K e^-alpha and ln alpha <= alpha/2: beyond 2 (ln K - ln C) the excess is negative.
        end = max(peak, 2 * (at_zero - level)) + 1
        # The relative tolerance alone decides; SciPy takes none below 4 eps.
        alpha = scipy.optimize.brentq(excess, peak, end, xtol=1e-300, rtol=1e-15, maxiter=1000)
        loss = float(self.loss(alpha))
        # At the jump from alpha > 0 to 0 rounding would choose the side.
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
        # log1p and logaddexp keep the digits of a loss far below eps, at a large alpha.
        data_term=lambda alpha: np.log1p((classes - 1) * np.exp(-alpha)),
        log_pull=lambda alpha: -np.logaddexp(0, alpha - shift),
        log_pull_slope=lambda alpha: -scipy.special.expit(alpha - shift),
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
        # Two classes have no others: logaddexp takes ln 0 for minus infinity.
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


def _convex(head: LinearHead) -> dict[str, object]:
    """Return the global minimum for M = 1, where the problem is convex in the logits."""
    classes, size = len(head.class_sizes), float(head.class_sizes[0])
    level = root_of_product([size, head.weight_decay[0], head.feature_decay], 2)
    # At alpha = 0 the data term falls with slope (K-1)/K, the penalty rises with (K-1) level: from
    # K level = 1 on nothing is gained.
    below = classes * level < 1
    # The logits have rank K - 1.
    if below and head.width < classes - 1:
        return {"loss": None, "alpha": None}
    alpha = float(np.log1p((1 - classes * level) / level)) if below else 0.0
    loss = etf_loss(alpha, size, classes, head.weight_decay, head.feature_decay)
    return {"loss": float(loss), "alpha": alpha}


def _families(head: LinearHead) -> dict[str, object]:
    """Return the best ETF and the best cross-polytope, each where the widths hold it."""
    classes, size = len(head.class_sizes), float(head.class_sizes[0])
    arguments = (size, classes, head.weight_decay, head.feature_decay)
    etf = cross_polytope = (None, None)
    # The ranks of the two frames: K - 1 and K/2.
    if head.width >= classes - 1:
        etf = _etf(*arguments).minimum()
    if classes % 2 == 0 and head.width >= classes / 2:
        cross_polytope = _cross_polytope(*arguments).minimum()
    return {
        "loss_etf": etf[0],
        "alpha_etf": etf[1],
        "loss_cross_polytope": cross_polytope[0],
        "alpha_cross_polytope": cross_polytope[1],
    }
