"""Features held near a given matrix: the response of a collapsed optimum, and rates along the flow.

Source: Tirer, Huang, Niles-Weed, "Perturbation Analysis of Neural Collapse", ICML 2023, arXiv
2210.16658. The theorems are the paper's; the exact factors for any beta and the exact rates are
derived from its objective. All is checked numerically.

K classes of n samples, N = K n, H d x N grouped by class, Y = I_K (x) 1_n^T, no bias. The model
(Eq. 2) penalises the distance of H from a given H_0 with beta; without that term its minimisers are
H* = sqrt(rho) R (x) 1_n^T and W* = q sqrt(rho) R^T with R^T R = I_K, c = sqrt(weight_decay
feature_decay) < 1, q = sqrt(feature_decay/weight_decay) and rho = (1 - c)/q. A small change of
H_0 = H* moves the minimiser of the model by a linear map F, symmetric, whose eigenspaces are the
components of `predict`. As beta grows the minimiser takes a step of 1/beta of the central-path
flow (Eq. 4) dH/dt = -K n grad L(H), L the objective with W eliminated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from collapse.errors import InputError
from collapse.theory.hyperparameters import Hyperparameter, check_range, integer, number, parse

OBJECTIVE = (
    "min 1/(2Kn) ||W H - Y||_F^2 + weight_decay/(2K) ||W||_F^2 + feature_decay/(2Kn) ||H||_F^2"
    " + beta/(2Kn) ||H - H_0||_F^2, K classes of n samples, no bias; H_0 near a minimiser of the"
    " first three terms, no fewer features than classes, weight_decay * feature_decay < 1"
)
"""The objective whose units the decays and beta are in."""

KEYS = {
    "classes": Hyperparameter(integer(2, 10**6), "number of classes K"),
    "dim": Hyperparameter(integer(1, 10**9), "dimension d of the features, at least K"),
    "samples_per_class": Hyperparameter(integer(1, 10**9), "samples n of each class"),
    "weight_decay": Hyperparameter(number(0), "penalty of W in units of 1/(2K) ||W||_F^2"),
    "feature_decay": Hyperparameter(
        number(0), "penalty of the features in units of 1/(2Kn) ||H||_F^2, a mean over samples"
    ),
    "beta": Hyperparameter(
        number(0), "penalty of the distance from H_0 in units of 1/(2Kn) ||H - H_0||_F^2"
    ),
}
"""The hyperparameters of `predict`."""

ROUNDING = 1e-13
"""Deviations from a mean below it, relative to the features, are none."""


def predict(**hyperparameters: object) -> dict[str, object]:
    """Return how the model's minimiser responds to a small change of a collapsed H_0.

    Parameters
    ----------
    **hyperparameters
        As described in `KEYS`; the decays and beta are in the units of `OBJECTIVE`.

    Returns
    -------
    dict
        ``factors``
            For each component of the change that exists its ``factor``, for any beta, the one to
            first order in 1/beta (``factor_first_order``) and its ``multiplicity``; these sum to
            d K n. ``within_in_span`` and ``within_orthogonal``: within-class, in the span of the
            class means and orthogonal to it; ``mean_symmetric``: of the class means M, the
            symmetric part of R^T dM; ``mean_rotation``: its antisymmetric part and what is
            orthogonal to the means.
        ``nc1_ratio_response``
            tr Sigma_W / tr Sigma_B of the minimiser over that of H_0, to leading order, for
            isotropic noise within classes; the share K/d of it lies in the span of the means.
        ``nc1_ratio_response_in_span``
            tr(Sigma_W Sigma_B^+), which sees the span only, over that of H_0.
        ``nc2_ratio_response``
            NC2, the distance of the centred means from a simplex ETF, over that of H_0.
        ``f_kk``
            Singular values of the d n x d n block of F of one class with itself, descending, with
            their ``multiplicity``.
        ``f_kl``
            The one non-zero singular value of the block of two classes.

        With one sample a class there is nothing within: the responses of NC1 are None.

    Raises
    ------
    InputError
        A hyperparameter is unknown, missing or out of range, there are fewer features than
        classes, or weight_decay * feature_decay >= 1, where H* = 0.

    Notes
    -----
    Tirer et al. 2023 (arXiv 2210.16658), Theorem 4.2 to first order; exact in beta by derivation.
    """
    values = parse(KEYS, hyperparameters)
    classes, dim, samples = (values[key] for key in ("classes", "dim", "samples_per_class"))
    feature_decay, beta = values["feature_decay"], values["beta"]
    pulls = _pulls(values["weight_decay"], feature_decay)
    if dim < classes:
        raise InputError(f"dim: found {dim}, allowed: {classes} or more, the number of classes")
    multiplicity = {
        "within_in_span": classes * classes * (samples - 1),
        "within_orthogonal": (dim - classes) * classes * (samples - 1),
        "mean_symmetric": classes * (classes + 1) // 2,
        "mean_rotation": classes * (classes - 1) // 2 + (dim - classes) * classes,
    }
    factor = {name: beta / (beta + pull) for name, pull in pulls.items()}
    first_order = {name: 1 - pull / beta for name, pull in pulls.items()}
    check_range({"factor_first_order": list(first_order.values())})
    in_span, symmetric = factor["within_in_span"], factor["mean_symmetric"]
    share = classes / dim
    isotropic = share * in_span**2 + (1 - share) * factor["within_orthogonal"] ** 2
    shift = pulls["mean_symmetric"] / (beta + pulls["mean_symmetric"])
    blocks = [
        (1.0, dim - classes),
        (1 - shift / 2, classes - 1),
        (symmetric, 1),
        (factor["within_orthogonal"], (dim - classes) * (samples - 1)),
        (in_span, classes * (samples - 1)),
    ]
    return {
        "factors": [
            {
                "component": name,
                "factor": factor[name],
                "factor_first_order": first_order[name],
                "multiplicity": count,
            }
            for name, count in multiplicity.items()
            if count
        ],
        "nc1_ratio_response": isotropic if samples > 1 else None,
        "nc1_ratio_response_in_span": in_span**2 if samples > 1 else None,
        "nc2_ratio_response": symmetric,
        "f_kk": [
            {"value": value, "multiplicity": count}
            for value, count in sorted(blocks, reverse=True)
            if count
        ],
        "f_kl": shift / 2,
    }


def optimal_length(weight_decay: float, feature_decay: float) -> float | None:
    """Return sqrt(rho), the norm of the minimiser's orthogonal class means, no beta holding it.

    None where nothing is collapsed onto a frame: H* is 0, or without decay unbounded.
    """
    decay = math.sqrt(weight_decay) * math.sqrt(feature_decay)
    if decay >= 1 or decay == 0:
        return None
    return math.sqrt((1 - decay) * math.sqrt(weight_decay) / math.sqrt(feature_decay))


def _pulls(weight_decay: float, feature_decay: float) -> dict[str, float]:
    """Return what holds each component back: its factor is beta/(beta + pull)."""
    decay = math.sqrt(weight_decay) * math.sqrt(feature_decay)
    # Either may round to just below 1 where the other does not.
    if decay >= 1 or weight_decay * feature_decay >= 1:
        raise InputError(
            f"weight_decay, feature_decay: sqrt of their product is {decay:.6g}, allowed: below 1;"
            " from 1 on the optimum H* is 0, which is no collapse"
        )
    return {
        "within_in_span": math.sqrt(feature_decay) / math.sqrt(weight_decay),
        "within_orthogonal": feature_decay,
        "mean_symmetric": 4 * feature_decay * (1 - decay),
        "mean_rotation": 0.0,
    }


def of_run(config: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, object]:
    """Return the response of a run whose H_0 is the optimum, or near it, number by number.

    Parameters
    ----------
    config
        The config of a run.
    facts
        ``near_optimum``, of a problem whether it starts at or near a known optimum.

    Returns
    -------
    dict
        Of `predict` the responses and ``f_kl``.

        Of a run besides:

        ``factor_within_in_span``, ``factor_within_orthogonal``,
        ``factor_mean_symmetric``, ``factor_mean_rotation``
            The ``factor`` of each component of the change, for any beta.

    Raises
    ------
    InputError
        It is a network, or H_0 is another one, or is not held: the theory is about a collapsed
        optimum.
    """
    if not facts.get("near_optimum") or config["problem"].get("beta") is None:
        raise InputError("no problem, or H_0 is not near a collapsed optimum, or beta is null")
    shape = {key: config["problem"][key] for key in ("classes", "samples_per_class", "dim", "beta")}
    decays = {key: config[key] for key in ("weight_decay", "feature_decay")}
    prediction = predict(**shape, **decays)
    factors = {f"factor_{part['component']}": part["factor"] for part in prediction["factors"]}
    responses = {name: prediction[name] for name in prediction if name.startswith("nc")}
    return factors | responses | {"f_kl": prediction["f_kl"]}


def log_rates(
    features: ArrayLike, classes: int, weight_decay: float, feature_decay: float
) -> dict[str, float | None]:
    """Return the exact rates along the central-path flow (Eq. 4) at given features.

    Parameters
    ----------
    features : array_like
        H, d x N, in K = `classes` groups of neighbouring columns of equal size.
    classes : int
        Number of classes K, which divides N.
    weight_decay, feature_decay : float
        In the units of `OBJECTIVE`; weight_decay > 0, feature_decay >= 0.

    Returns
    -------
    dict
        As for `log_rates_of_traces`; None for the rates of tr Sigma_W where it is 0, up to the
        rounding of the class means.

    Raises
    ------
    InputError
        The shape or a decay does not fit, a number is not finite, or Sigma_B = 0.

    Notes
    -----
    Derived from Eq. 4 of Tirer et al. 2023 (arXiv 2210.16658) and checked numerically.
    """
    features = _checked(features, classes, weight_decay, feature_decay)
    dim, total = features.shape
    samples = total // classes
    groups = features.reshape(dim, classes, samples)
    means = groups.mean(2)
    within = (groups - means[:, :, None]).reshape(dim, total)
    centred = means - means.mean(1, keepdims=True)
    between = float(np.sum(centred**2)) / classes
    spread = float(np.sum(within**2)) / total
    nothing = ROUNDING**2 * float(np.sum(features**2)) / total
    if not between > nothing:
        raise InputError("features: all class means are equal, allowed: Sigma_B other than 0")
    gram = features @ features.T + samples * weight_decay * np.eye(dim)
    try:
        weight = samples * np.linalg.solve(gram, means).T
    except np.linalg.LinAlgError:
        raise InputError(
            f"weight_decay: {weight_decay:g} found, allowed: enough for H H^T + n weight_decay I to"
            " have an inverse"
        ) from None
    logits = weight @ means
    projector = np.eye(classes) - 1 / classes
    return log_rates_of_traces(
        within=spread if spread > nothing else 0.0,
        between=between,
        within_logits=float(np.sum((weight @ within) ** 2)) / total,
        between_growth=float(np.trace(projector @ logits @ (np.eye(classes) - logits))) / classes,
        feature_decay=feature_decay,
    )


def _checked(
    features: ArrayLike, classes: int, weight_decay: float, feature_decay: float
) -> NDArray[np.float64]:
    array = np.asarray(features, dtype=np.float64)
    # True counts as an integer.
    if isinstance(classes, bool) or not isinstance(classes, Integral) or classes < 1:
        raise InputError(f"classes: {classes} found, allowed: an integer from 1 on")
    if array.ndim != 2 or array.shape[1] % classes or not array.size:
        raise InputError(
            f"features: shape {array.shape} found, allowed: d x N, N a multiple of {classes}"
        )
    if not np.all(np.isfinite(array)):
        raise InputError("features: a number that is not finite found")
    if not 0 < weight_decay < math.inf or not 0 <= feature_decay < math.inf:
        raise InputError(
            f"weight_decay, feature_decay: {weight_decay:g} and {feature_decay:g} found, allowed:"
            " finite, above 0 and from 0 on"
        )
    return array


def log_rates_of_traces(
    within: ArrayLike,
    between: ArrayLike,
    within_logits: ArrayLike,
    between_growth: ArrayLike,
    feature_decay: ArrayLike,
) -> dict[str, Any]:
    """Return the rates of the logarithms along the flow, from what is measured of its features.

    With W = W*(H), H_w the within-class part, G = W M of the class means M and P = I - 11^T/K:
    d/dt log tr Sigma_W = -2 feature_decay - 2 within_logits/within,
    d/dt log tr Sigma_B = -2 feature_decay + 2 between_growth/between;
    of their quotient NC1_ratio the feature decay cancels.

    Parameters
    ----------
    within, between : array_like
        tr Sigma_W and tr Sigma_B > 0.
    within_logits : array_like
        ||W H_w||_F^2/(K n).
    between_growth : array_like
        tr(P G (I - G))/K.
    feature_decay : array_like
        In the units of `OBJECTIVE`.

    Returns
    -------
    dict
        ``trace_within``, ``trace_between`` and ``NC1_ratio``: rates per unit of t; of the first and
        the last None where tr Sigma_W is 0.

    Notes
    -----
    Derived and checked numerically.
    """
    grows = 2 * np.asarray(between_growth) / between
    rates = {"trace_between": grows - 2 * np.asarray(feature_decay)}
    if np.any(np.asarray(within) == 0):
        return rates | {"trace_within": None, "NC1_ratio": None}
    falls = 2 * np.asarray(within_logits) / within
    rates |= {"trace_within": -falls - 2 * np.asarray(feature_decay), "NC1_ratio": -falls - grows}
    return {name: float(value) if np.ndim(value) == 0 else value for name, value in rates.items()}
