"""Closed form of the last-layer features of mixed samples, the classifier a simplex ETF.

Source: Fisher, Meng, Papyan, "Pushing Boundaries: Mixup's Influence on Neural Collapse", ICLR 2024,
arXiv 2402.06171, for the question and the assumption that the classifier is a simplex ETF. The
formulas are derived from the objective and checked numerically.

K classes, rows w_c of W with norm m and <w_c, w_l> = -m^2/(K - 1), and

- sigma = m^2 K/(K - 1), the one eigenvalue of W W^T; a = 1/sigma; kappa = sigma/feature_decay.

With W fixed each pair of classes and each mix lambda has a problem of its own, strictly convex in
its feature h. Its minimiser is h = a (u w_i + v w_j), with u and v the logits of i and j less that
of each other class:

- Same class: u = t, v = 0 for every lambda. With cross-entropy t (e^t + K - 1) = kappa K.
- Different classes, cross-entropy: k (e^u - 1) + u = kappa lambda, k (e^v - 1) + v = kappa (1 -
  lambda) and u + v = K k. The probabilities are k e^u/kappa, k e^v/kappa and k/kappa each.
  k e^u is the Lambert function of k e^(kappa lambda + k).
- MSE: u = t lambda, v = t (1 - lambda), t = sigma/(sigma + feature_decay): a convex combination.

The amplification (u + v)/t is the length along the decision boundary of i and j over that of the
convex combination of the two classes' features. With two classes there is no such direction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from collapse.errors import InputError
from collapse.quadrature import beta_nodes
from collapse.theory.hyperparameters import Hyperparameter, choice, integer, number, parse

OBJECTIVE = (
    "min 1/K^2 sum_{i,j} E_lambda[loss(W h_ij, lambda e_i + (1 - lambda) e_j)"
    " + feature_decay/2 ||h_ij||^2] + weight_decay/2 ||W||_F^2, over a feature h_ij for each"
    " ordered pair of K classes and each lambda ~ Beta(alpha, alpha); W a simplex ETF with rows of"
    " norm classifier_norm, no bias; loss cross-entropy, or mse: half the squared error"
)
"""The objective whose units the decays are in; with W fixed weight_decay plays no part."""

KEYS = {
    "classes": Hyperparameter(
        integer(2, 10**6), "number of classes K, at least 3: two have no channel between them"
    ),
    "classifier_norm": Hyperparameter(number(0), "norm m of each row of W"),
    "feature_decay": Hyperparameter(
        number(0), "penalty of each feature in units of 1/2 ||h||^2, its loss having weight 1"
    ),
    "mix": Hyperparameter(
        number(0, 1, closed=True),
        "weight lambda of class i in a pair i, j of different classes; absent: same class only",
        default=None,
    ),
    "loss": Hyperparameter(choice("ce", "mse"), "loss of the mixed label", default="ce"),
    "alpha": Hyperparameter(
        number(0), "lambda ~ Beta(alpha, alpha); absent: nothing is averaged", default=None
    ),
}
"""The hyperparameters of `predict`."""

LINEAR = 1e-6
"""Below it a logit is that of the linear equation, up to this relative error."""

SMALL_ALPHA = 0.01
"""Below it twelve terms of the mean entropy's power series give all digits."""

ROUNDING = 1e-12
"""Decays this close to those at which W vanishes, relatively, count as these."""


def predict(**hyperparameters: object) -> dict[str, object]:
    """Return the minimiser of the features, the classifier a simplex ETF.

    Hyperparameters are described in `KEYS`; units are those of `OBJECTIVE`.

    Returns
    -------
    dict
        ``t``
            Logit of the true class less that of each other one, of a same-class pair.
        ``feature_norm_same_class``
            Norm of the feature of a same-class pair, a t m.

        With ``mix``, of a pair of different classes i and j, lambda the weight of i:

        ``u``, ``v``
            Logits of i and of j, less that of each other class.
        ``feature_norm``
            Norm of the feature.
        ``amplification``
            (u + v)/t.
        ``p_i``, ``p_j``, ``p_other``
            Probabilities of i, of j and of each other class; with cross-entropy only.
        ``coefficients``
            [a u, a v]: the feature is a u w_i + a v w_j.

        With ``alpha``, whatever the loss, of the mixed labels:

        ``entropy_floor``
            Their mean entropy in nats, the least cross-entropy there is.
        ``ideal_confidence``
            Mean confidence, on pairs of different classes, of a network that outputs them.

    Raises
    ------
    InputError
        A hyperparameter is unknown, missing or out of range, there are fewer than three classes,
        or the result leaves the range of double precision.

    Notes
    -----
    Derived under the assumption of Fisher et al. 2024 (arXiv 2402.06171) that W is a simplex ETF.
    """
    values = parse(KEYS, hyperparameters)
    classes, mix, alpha, loss = (values[key] for key in ("classes", "mix", "alpha", "loss"))
    _check_classes(classes)
    place = classes, values["classifier_norm"], values["feature_decay"]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        inverse = 1 / _stretch(*place[:2])
        t = same_class_gap(*place, loss)
        prediction: dict[str, object] = {
            "t": float(t),
            "feature_norm_same_class": float(inverse * t * place[1]),
        }
        if mix is not None:
            u, v = coordinates(*place, mix, loss)
            prediction |= {
                "u": float(u),
                "v": float(v),
                "feature_norm": float(feature_norm(*place, mix, loss)),
                "amplification": float((u + v) / t),
            }
            if loss == "ce":
                names = ("p_i", "p_j", "p_other")
                prediction |= zip(names, map(float, probabilities(*place, mix)), strict=True)
            prediction["coefficients"] = [float(inverse * u), float(inverse * v)]
    _check_range(prediction)
    if alpha is not None:
        prediction["entropy_floor"] = entropy_floor(classes, alpha)
        prediction["ideal_confidence"] = ideal_confidence(alpha)
    return prediction


def _check_classes(classes: int) -> None:
    if classes < 3:
        raise InputError(
            f"classes: found {classes}, allowed: 3 or more; two rows of W are opposite, so that no"
            " channel runs between them"
        )


def _check_range(prediction: Mapping[str, Any]) -> None:
    numbers = np.hstack([np.ravel(value) for value in prediction.values()])
    # A norm is 0 only where its square is too small for a number.
    if not np.all(np.isfinite(numbers)) or not prediction["feature_norm_same_class"] > 0:
        raise InputError(
            "classifier_norm, feature_decay: found values with which the features leave the range"
            " of double precision, allowed: less extreme ones"
        )


def of_run(config: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, object]:
    """Return what the closed form says of a run of the mixup problem, number by number.

    `config` is the run's; `facts` are not needed.

    Returns
    -------
    dict
        ``entropy_floor`` and ``ideal_confidence`` of `predict`, where the norm of the classifier
        is not 0 also ``t`` and ``feature_norm_same_class``.

        Of a run besides:

        ``classifier_norm``
            Norm m of the centred rows of W: the config's, of a free W the one at which the
            penalties balance.
        ``mean_square_norm``
            Mean over pairs and mixes of ||h||^2; over lambda it is over the run's own nodes.
        ``amplification_half``
            ``amplification`` at lambda = 1/2; only where the norm of the classifier is not 0.

    Raises
    ------
    InputError
        It is a network or another problem, or with MSE and a free W its dimension is below the
        number of classes: W is no ETF then, as the logits' mean takes a dimension of its own.
    """
    # Only that of mixup has nodes.
    if "nodes" not in config.get("problem", {}):
        raise InputError("no problem of kind mixup: the closed form is that of its free features")
    problem, decay = config["problem"], config["feature_decay"]
    classes, alpha, loss = (problem[key] for key in ("classes", "alpha", "loss"))
    free, nodes = problem["classifier"] == "free", problem["nodes"]
    if free and loss == "mse" and problem["dim"] < classes:
        raise InputError("problem.dim: fewer than the classes, W is no simplex ETF with mse")
    norm = problem["classifier_norm"]
    if free:
        # Null: as weight_decay.
        decay = config["weight_decay"] if decay is None else decay
        norm = balanced_norm(classes, config["weight_decay"], decay, alpha, loss, nodes)
    shift = _mean_shift(classes, config["weight_decay"], decay) if free and loss == "mse" else 0.0
    numbers = {"classifier_norm": norm, "mean_square_norm": shift}
    numbers |= {
        "entropy_floor": entropy_floor(classes, alpha),
        "ideal_confidence": ideal_confidence(alpha),
    }
    if norm:
        place = classes, norm, decay
        numbers["mean_square_norm"] += mean_square_norm(*place, alpha, loss, nodes)
        half = predict(
            classes=classes, classifier_norm=norm, feature_decay=decay, mix=0.5, loss=loss
        )
        numbers |= {key: half[key] for key in ("t", "feature_norm_same_class")}
        numbers["amplification_half"] = half["amplification"]
    return numbers


def _stretch(classes: int, classifier_norm: ArrayLike) -> NDArray[np.float64]:
    """Return sigma, the eigenvalue of W W^T."""
    return np.square(classifier_norm) * classes / (classes - 1)


def _kappa(
    classes: int, classifier_norm: ArrayLike, feature_decay: ArrayLike
) -> NDArray[np.float64]:
    return _stretch(classes, classifier_norm) / np.asarray(feature_decay, dtype=float)


def same_class_gap(
    classes: int, classifier_norm: ArrayLike, feature_decay: ArrayLike, loss: str = "ce"
) -> NDArray[np.float64]:
    """Return t, the logit of the true class less that of each other one, of a same-class pair.

    Cross-entropy: the root of t (e^t + K - 1) = kappa K; MSE: sigma/(sigma + feature_decay).
    Arguments are as in `coordinates`; the result has the shape of the arrays' broadcast.
    """
    kappa = _kappa(classes, classifier_norm, feature_decay)
    if loss == "mse":
        return kappa / (kappa + 1)
    # Each term alone bounds t from above; from there Newton's steps on a convex function fall.
    t = np.minimum(kappa, scipy.special.wrightomega(np.log(kappa) + math.log(classes)))
    for _ in range(100):
        slope = 1 + (np.expm1(t) + t * np.exp(t)) / classes
        step = (t * (1 + np.expm1(t) / classes) - kappa) / slope
        t = t - step
        if not np.any(np.abs(step) > 1e-15 * t):
            break
    return t


def decay_at_gap(classes: int, gap: ArrayLike) -> NDArray[np.float64]:
    """Return the feature decay at which `same_class_gap` of cross-entropy is `gap`, rows of norm 1.

    From kappa = t (e^t + K - 1)/K; NaN where the gap is not positive: there is none.
    """
    t = np.asarray(gap, dtype=float)
    t = np.where(t > 0, t, np.nan)
    return _stretch(classes, 1.0) / (t * (np.exp(t) + classes - 1) / classes)


def coordinates(
    classes: int,
    classifier_norm: ArrayLike,
    feature_decay: ArrayLike,
    mix: ArrayLike,
    loss: str = "ce",
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return u and v, the logits of i and of j less that of each other class, at the minimiser.

    Parameters
    ----------
    classes : int
        K >= 3.
    classifier_norm, feature_decay : array_like
        m > 0 and the decay > 0 in the units of `OBJECTIVE`; numbers, or arrays that broadcast
        with `mix`.
    mix : array_like
        lambda in [0, 1], the weight of i.
    loss : {"ce", "mse"}
        Cross-entropy, or half the squared error.

    Returns
    -------
    u, v : ndarray
        In the shape of the arrays' broadcast; (t, 0) at mix 1 and (0, t) at mix 0. Of relative
        error about 1e-15 for kappa from 1e-3 to 1e12 and any mix.

    Notes
    -----
    Derived under the assumption of Fisher et al. 2024 (arXiv 2402.06171) that W is a simplex ETF.
    """
    mix = np.asarray(mix, dtype=float)
    if loss == "mse":
        t = same_class_gap(classes, classifier_norm, feature_decay, loss)
        return t * mix, t * (1 - mix)
    kappa = _kappa(classes, classifier_norm, feature_decay)
    k = _other(classes, classifier_norm, feature_decay, mix)
    return _logit(k, kappa * mix), _logit(k, kappa * (1 - mix))


def _other(
    classes: int, classifier_norm: ArrayLike, feature_decay: ArrayLike, mix: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return k = kappa p_other, the root of u(k) + v(k) = K k."""
    kappa = _kappa(classes, classifier_norm, feature_decay)
    # u and v are convex and fall as k grows, and u + v >= t: from t/K Newton's steps rise to it.
    t = same_class_gap(classes, classifier_norm, feature_decay)
    k = np.broadcast_to(t / classes, np.broadcast_shapes(t.shape, mix.shape))
    for _ in range(100):
        logits = [_logit(k, kappa * mix), _logit(k, kappa * (1 - mix))]
        slope = classes + sum(np.expm1(z) / (k * np.exp(z) + 1) for z in logits)
        step = (sum(logits) - classes * k) / slope
        k = k + step
        if not np.any(np.abs(step) > 1e-15 * k):
            break
    return k


def _logit(k: NDArray[np.float64], pull: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the root z >= 0 of k (e^z - 1) + z = pull.

    w = k e^z solves w + log w = log k + pull + k, whose terms do not overflow; z = pull + k - w
    would lose all digits where pull is large, z = log(w/k) where it is small.
    """
    linear = pull / (1 + k)
    z = np.where(
        linear < LINEAR, linear, np.log(scipy.special.wrightomega(np.log(k) + pull + k) / k)
    )
    for _ in range(2):
        z = z - (k * np.expm1(z) + z - pull) / (k * np.exp(z) + 1)
    return z


def probabilities(
    classes: int, classifier_norm: ArrayLike, feature_decay: ArrayLike, mix: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the probabilities of i, of j and of each other class, with cross-entropy.

    Arguments are as in `coordinates`. The three are positive, p_i + p_j + (K - 2) p_other = 1.
    """
    mix = np.asarray(mix, dtype=float)
    kappa = _kappa(classes, classifier_norm, feature_decay)
    k = _other(classes, classifier_norm, feature_decay, mix)
    # kappa p_i = k e^u by its own equation: of full precision, where lambda - p_i is small too.
    p_i, p_j = (
        scipy.special.wrightomega(np.log(k) + kappa * x + k) / kappa for x in (mix, 1 - mix)
    )
    return p_i, p_j, k / kappa


def amplification(
    classes: int,
    classifier_norm: ArrayLike,
    feature_decay: ArrayLike,
    mix: ArrayLike,
    loss: str = "ce",
) -> NDArray[np.float64]:
    """Return (u + v)/t, the length along the channel over that of the convex combination.

    Arguments are as in `coordinates`. 1 at mix 0 and 1, largest at 1/2 and below 2; with MSE 1.
    The paper's own measure of amplification (arXiv 2402.06171) is not known: this one is ours.
    """
    u, v = coordinates(classes, classifier_norm, feature_decay, mix, loss)
    return (u + v) / same_class_gap(classes, classifier_norm, feature_decay, loss)


def feature_norm(
    classes: int,
    classifier_norm: ArrayLike,
    feature_decay: ArrayLike,
    mix: ArrayLike,
    loss: str = "ce",
) -> NDArray[np.float64]:
    """Return ||h|| of a pair of different classes; arguments are as in `coordinates`."""
    u, v = coordinates(classes, classifier_norm, feature_decay, mix, loss)
    return np.hypot(*channel(u, v, classes, classifier_norm))


def channel(
    u: ArrayLike, v: ArrayLike, classes: int, classifier_norm: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where h = a (u w_i + v w_j) lies along w_i + w_j and along w_i - w_j.

    Both directions have unit length; the second coordinate is 0 on the decision boundary of i and
    j. ``a (u + v)/2 m sqrt(2 (K - 2)/(K - 1))`` and ``a (u - v)/2 m sqrt(2 K/(K - 1))`` with
    K = `classes` and m = `classifier_norm`; u, v and m are arrays that broadcast.
    """
    # m a: W W^T has the eigenvalue 1/a.
    scale = np.asarray(classifier_norm, dtype=float) / _stretch(classes, classifier_norm)
    along = (np.asarray(u, dtype=float) + v) / 2 * math.sqrt(2 * (classes - 2) / (classes - 1))
    across = (np.asarray(u, dtype=float) - v) / 2 * math.sqrt(2 * classes / (classes - 1))
    return scale * along, scale * across


def entropy_floor(classes: int, alpha: float) -> float:
    """Return the mean entropy of mixed labels in nats, the least cross-entropy there is.

    (1 - 1/K)(psi(2 alpha + 1) - psi(alpha + 1)) for lambda ~ Beta(alpha, alpha) and partners of
    any of K = `classes` equally frequent classes, psi the digamma function.
    """
    return (1 - 1 / classes) * _entropy(alpha)


def _entropy(alpha: float) -> float:
    """Return psi(2 alpha + 1) - psi(alpha + 1), to a few last digits whatever alpha is."""
    if alpha < SMALL_ALPHA:
        # psi(1 + z) = -gamma + zeta(2) z - zeta(3) z^2 + ...: of near numbers, without their
        # difference.
        orders = np.arange(2, 14)
        terms = -((-alpha) ** (orders - 1)) * (2.0 ** (orders - 1) - 1)
        return float(np.sum(terms * scipy.special.zeta(orders)))
    # From there on it is log 2 to the last digit, while digamma would lose digits, then overflow.
    alpha = min(alpha, 1e15)
    return float(scipy.special.digamma(2 * alpha + 1) - scipy.special.digamma(alpha + 1))


def ideal_confidence(alpha: float) -> float:
    """Return E max(lambda, 1 - lambda) = 1/2 + 2^(-2 alpha)/(alpha B(alpha, alpha)).

    The mean confidence, on pairs of different classes, of a network that outputs its mixed labels.
    """
    # Gamma(alpha + 1/2)/(2 sqrt(pi) Gamma(alpha + 1)): no difference of large numbers.
    return float(0.5 + 0.5 / (math.sqrt(math.pi) * scipy.special.poch(alpha + 0.5, 0.5)))


def mean_square_norm(
    classes: int,
    classifier_norm: float,
    feature_decay: float,
    alpha: float,
    loss: str = "ce",
    nodes: int = 200,
) -> float:
    """Return the mean of ||h||^2 over all K^2 ordered pairs of classes and lambda.

    1/K of the pairs are of one class. lambda ~ Beta(alpha, alpha) by Gauss quadrature of so many
    `nodes`, `collapse.quadrature.beta_nodes`; the rest is as in `coordinates`.
    """
    rule = beta_nodes(alpha, nodes)
    return _mean_square_norm(classes, classifier_norm, feature_decay, loss, rule)


def _mean_square_norm(
    classes: int,
    classifier_norm: float,
    feature_decay: float,
    loss: str,
    rule: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> float:
    place, (mix, weights) = (classes, classifier_norm, feature_decay), rule
    same = feature_norm(*place, 1.0, loss) ** 2
    different = np.sum(weights * feature_norm(*place, mix, loss) ** 2)
    return float(same / classes + (1 - 1 / classes) * different)


def balanced_norm(
    classes: int,
    weight_decay: float,
    feature_decay: float,
    alpha: float,
    loss: str = "ce",
    nodes: int = 200,
) -> float:
    """Return the norm m of each row at which a simplex ETF is best, W being free.

    There weight_decay K m^2 = feature_decay E||h||^2, the mean of `mean_square_norm`.

    Parameters
    ----------
    classes, alpha, loss, nodes
        As in `mean_square_norm`.
    weight_decay, feature_decay : float
        Above 0, in the units of `OBJECTIVE`.

    Returns
    -------
    float
        0 from weight_decay feature_decay = (alpha + 1)/(K (2 alpha + 1)) on. With MSE it is the
        norm of the centred rows: there the mean of the logits is fitted too.

    Notes
    -----
    For an ETF the objective, minimised over the features, is convex in m^2, so that the balance
    has one solution. That the best W is an ETF at all is an observation, no theorem.
    """
    # The mean square of the labels along each direction of the ETF's plane.
    variance = (alpha + 1) / (2 * alpha + 1) / classes
    if weight_decay * feature_decay >= variance * (1 - ROUNDING):
        return 0.0
    if loss == "mse":
        stretch = math.sqrt(feature_decay / weight_decay * variance) - feature_decay
        return math.sqrt(stretch * (classes - 1) / classes)
    rule = beta_nodes(alpha, nodes)

    def imbalance(log_norm: float) -> float:
        mean = _mean_square_norm(classes, math.exp(log_norm), feature_decay, loss, rule)
        return math.log(feature_decay / weight_decay / classes * mean) - 2 * log_norm

    # E||h||^2/m^2 falls as m grows.
    low = high = 0.0
    while imbalance(low) < 0:
        low -= 1
    while imbalance(high) > 0:
        high += 1
    return math.exp(scipy.optimize.brentq(imbalance, low, high, xtol=1e-15, rtol=1e-14))


def _mean_shift(classes: int, weight_decay: float, feature_decay: float) -> float:
    """Return ||h||^2 of what all features share with MSE and a free W: it fits the mean logit.

    Along the vector of ones every label is 1/sqrt(K), so that W W^T has the eigenvalue s there with
    s + feature_decay = sqrt(feature_decay/(K weight_decay)); 0 where that s is not positive.
    """
    total = math.sqrt(feature_decay / weight_decay / classes)
    stretch = max(total - feature_decay, 0.0)
    return stretch / classes / (stretch + feature_decay) ** 2
