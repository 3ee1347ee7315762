"""Closed form of neural regression collapse: features free, real targets, one linear layer.

Source: Andriopoulos, Dong, Guo, Zhao, Ross, "The Prevalence of Neural Collapse in Neural
Multivariate Regression", NeurIPS 2024, arXiv 2409.04180. The formulas are derived from the
objective and checked numerically.

With targets Y (n x M), W (n x d), H (d x M), d >= n, and Sigma = Q diag(lambda) Q^T the covariance
of the targets, the problem splits along the columns of Q. In each the deviation sqrt(lambda)
leaves the residual m = min(sqrt(c), sqrt(lambda)), c = weight_decay feature_decay, and the signal
r = sqrt(lambda) - m; a direction is collapsed (r = 0) from c = lambda on. At the global minimum

- W W^T = sqrt(feature_decay/weight_decay) Q diag(r) Q^T,
- H = sqrt(weight_decay/feature_decay) W^T Sigma^(-1/2) (Y - Ybar), the inverse taken where
  lambda > 0, and the bias is Ybar.

Where c lies between the eigenvalues the paper keeps the first columns of the root of
Sigma^(1/2) - sqrt(c) I, one for each eigenvalue above c. That is the minimum only if Sigma is
diagonal with descending entries; Q diag(r) Q^T holds for every Sigma.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from collapse.errors import InputError
from collapse.theory.covariance import ROUNDING, principal_axes, symmetric
from collapse.theory.hyperparameters import (
    Hyperparameter,
    Kind,
    boolean,
    check_range,
    list_of,
    number,
    parse,
)

OBJECTIVE = (
    "min 1/(2M) ||W H + bias - Y||_F^2 + feature_decay/(2M) ||H||_F^2"
    " + weight_decay/2 ||W||_F^2, M samples: feature_decay penalises the mean over samples;"
    " bias not penalised, no fewer features than targets"
)
"""The objective whose units the decays are in."""


def _covariance() -> Kind:
    """Return the kind of a list of lists of numbers; `symmetric` says what else is wrong."""
    # Any finite number: what makes the matrix a covariance is checked on the whole.
    rows = list_of(list_of(number(-math.inf, math.inf)))

    def parse(value: Any) -> list[list[float]]:
        return rows.parse(value.tolist() if isinstance(value, np.ndarray) else value)

    return Kind(
        "a symmetric positive semidefinite matrix, as a list of n lists of n finite numbers", parse
    )


KEYS = {
    "target_covariance": Hyperparameter(
        _covariance(),
        "n x n covariance of the targets, (1/M)(Y - Ybar)(Y - Ybar)^T; without a bias, the second"
        " moment Y Y^T/M",
    ),
    "weight_decay": Hyperparameter(number(0), "penalty of W in units of 1/2 ||W||_F^2"),
    "feature_decay": Hyperparameter(
        number(0), "penalty of the features in units of 1/(2M) ||H||_F^2, a mean over samples"
    ),
    "bias": Hyperparameter(
        boolean(),
        "bias, not penalised; without one no formula changes, but target_covariance, r2 and"
        " explained_variance_ratio are about zero instead of the mean",
        default=True,
    ),
}
"""The hyperparameters of `predict`."""

TIE = 1e-12
"""Relative distance above sqrt(c) within which a deviation counts as equal to it: rounding."""


def predict(**hyperparameters: object) -> dict[str, object]:
    """Return what the closed form says of the global minimum.

    Hyperparameters are described in `KEYS`; the decays are in the units of `OBJECTIVE`.

    Returns
    -------
    dict
        With c = weight_decay feature_decay, lambda the eigenvalues of the targets' covariance
        Sigma = Q diag(lambda) Q^T, m = min(sqrt(c), sqrt(lambda)) and r = sqrt(lambda) - m:

        ``gram``
            W W^T, n x n.
        ``loss``
            Objective at the minimum, sum_j m_j (sqrt(lambda_j) - m_j/2).
        ``mse_sum``
            (1/M) ||E||_F^2 = sum_j min(c, lambda_j) with E = W H + bias - Y: mean over samples,
            summed over outputs, without the factor 1/2. E E^T/M = Q diag(min(c, lambda)) Q^T.
        ``r2``
            1 - mse_sum / tr Sigma, pooled over outputs; None if the targets do not vary.
        ``explained_variance_ratio``
            r_j / sum r, the shares of the features' variance along their principal components;
            descending, zero-padded to length n; None at rank 0.
        ``weight_norm_squared``
            ||W||_F^2 = sqrt(feature_decay/weight_decay) sum r.
        ``feature_norm_squared_mean``
            ||H||_F^2/M = sqrt(weight_decay/feature_decay) sum r.
        ``rank``
            Number of eigenvalues of Sigma above c, the rank of W and of H.
        ``gamma``
            c, the gamma at which NRC3 vanishes if it is below all eigenvalues.

        Without a bias r2 compares with the mean squared target, and the variance of the features
        is their second moment: both differ from those about the mean unless Ybar = 0.

    Raises
    ------
    InputError
        A hyperparameter is unknown, missing or out of range, the covariance is not one, or the
        result leaves the range of double precision.

    Notes
    -----
    Andriopoulos et al. 2024 (arXiv 2409.04180); for c between the eigenvalues derived. Checked
    numerically.
    """
    values = parse(KEYS, hyperparameters)
    weight_decay, feature_decay = values["weight_decay"], values["feature_decay"]
    deviations, axes = principal_axes(symmetric(values["target_covariance"]))
    # One root a decay, here and below: their product and ratio alone may leave double precision.
    level = math.sqrt(weight_decay) * math.sqrt(feature_decay)
    # A deviation at the threshold is exactly collapsed: its signal is zero, not rounding.
    residuals = np.where(deviations <= level * (1 + TIE), deviations, level)
    # A value out of range becomes infinite or NaN, and `check_range` names it.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        balance = np.sqrt(feature_decay) / np.sqrt(weight_decay)
        signal = deviations - residuals
        # By a root of it, so that the Gram matrix is exactly symmetric.
        root = axes * np.sqrt(balance * signal)
        total = signal.sum()
        prediction = {
            "gram": (root @ root.T).tolist(),
            "loss": float(np.sum(residuals * (deviations - residuals / 2))),
            "mse_sum": float(np.sum(residuals**2)),
            "r2": _explained(deviations, residuals),
            "explained_variance_ratio": (signal / total).tolist() if total else None,
            "weight_norm_squared": float(balance * total),
            "feature_norm_squared_mean": float(total / balance),
            "rank": int(np.count_nonzero(signal)),
            "gamma": weight_decay * feature_decay,
        }
    check_range(prediction)
    return prediction


def of_run(config: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, object]:
    """Return what the closed form says of a run: a problem's config, or a network's with its facts.

    The facts are ``target_mean`` (n) and ``target_covariance`` (n x n, 1/M) of a network's data.
    What has the name of a metric is what that measures, which may be more than `predict` says: r2
    and explained_variance_ratio are about the mean, whether there is a bias or not, and gamma is
    there where NRC3 vanishes, which then is its minimum.

    Raises
    ------
    InputError
        The run has no closed form: the backbone is penalised, so the features are not free; or it
        is no regression.
    """
    if config.get("backbone_decay"):
        raise InputError("backbone_decay: the closed form is that of free features, it knows none")
    problem = config["problem"] if "problem" in config else {**config["head"], **facts}
    if "target_covariance" not in problem:
        raise InputError("no regression: the closed form is that of real targets")
    mean, covariance = problem["target_mean"], np.asarray(problem["target_covariance"], dtype=float)
    # Without a bias the head has to produce the mean too: the second moment takes the covariance's
    # place.
    if not problem["bias"] and mean is not None:
        covariance = covariance + np.outer(mean, mean)
    # A list holds a decay for each layer, of which a regression has one.
    layer_decay = config["weight_decay"]
    prediction = predict(
        target_covariance=covariance,
        weight_decay=layer_decay[0] if isinstance(layer_decay, list) else layer_decay,
        feature_decay=config["feature_decay"],
        bias=problem["bias"],
    )
    centred = np.asarray(problem["target_covariance"], dtype=float)
    # Of standardised targets the mean is rounding.
    if not problem["bias"] and mean is not None and _matters(np.asarray(mean), centred):
        return prediction | _about_the_mean(prediction, covariance, centred)
    least = principal_axes(symmetric(covariance.tolist()))[0][-1]
    return prediction if prediction["gamma"] < least**2 else prediction | {"gamma": None}


def _matters(mean: NDArray[np.float64], covariance: NDArray[np.float64]) -> bool:
    """Return whether a mean (n) is more than rounding beside the deviations of a covariance."""
    return bool(np.any(mean**2 > ROUNDING * np.diag(covariance)))


def _about_the_mean(
    prediction: Mapping[str, Any], moment: NDArray[np.float64], covariance: NDArray[np.float64]
) -> dict[str, object]:
    """Return what a bias-free optimum for this second moment is about the mean, n x n both.

    H = sqrt(weight_decay/feature_decay) W^T S^(-1/2) Y, S the second moment: the covariance of H
    has, up to a factor, the eigenvalues of R^T S^(-1/2) W W^T S^(-1/2) R, R R^T that of Y.
    """
    deviations, axes = principal_axes(symmetric(moment.tolist()))
    inverse = np.divide(1, deviations, out=np.zeros_like(deviations), where=deviations > 0)
    spread, along = principal_axes(symmetric(covariance.tolist()))
    loadings = (axes * inverse) @ axes.T @ (along * spread)
    variances = np.linalg.eigvalsh(loadings.T @ prediction["gram"] @ loadings)[::-1].clip(min=0)
    total, varied = variances.sum(), np.trace(covariance)
    return {
        "r2": float(1 - prediction["mse_sum"] / varied) if varied else None,
        "explained_variance_ratio": (variances / total).tolist() if total else None,
        # W W^T has the shape of S, not of the covariance that NRC3 holds it against.
        "gamma": None,
    }


def gram(
    target_covariance: ArrayLike, weight_decay: float, feature_decay: float
) -> NDArray[np.float64]:
    """Return W W^T at the global minimum, sqrt(feature_decay/weight_decay) Q diag(r) Q^T, n x n.

    ``target_covariance`` is Sigma = Q diag(lambda) Q^T, n x n, with the factor 1/M; r_j =
    sqrt(lambda_j) - sqrt(weight_decay feature_decay), or 0 if negative. The decays are in the
    units of `OBJECTIVE`.

    Raises
    ------
    InputError
        As `predict`.

    Notes
    -----
    Andriopoulos et al. 2024 (arXiv 2409.04180); for c between the eigenvalues derived. Checked
    numerically.
    """
    prediction = predict(
        target_covariance=np.asarray(target_covariance),
        weight_decay=weight_decay,
        feature_decay=feature_decay,
    )
    return np.array(prediction["gram"])


def nrc3(gram: ArrayLike, target_covariance: ArrayLike, gamma: ArrayLike) -> NDArray[np.float64]:
    """Return the distance of W W^T to its closed form's shape, NRC3, as a function of gamma.

    ``norm(G/norm(G) - A/norm(A))^2`` with G = ``gram`` and A = Sigma^(1/2) - gamma^(1/2) I, n x n
    both, in Frobenius norms; Sigma has the factor 1/M. ``gamma``, from 0 to the smallest eigenvalue
    of Sigma, has any shape, and the result the same; NaN where A is zero.

    Andriopoulos et al. 2024 (arXiv 2409.04180), whose code logs the root of it.
    """
    gram, gamma = np.asarray(gram, dtype=float), np.asarray(gamma, dtype=float)
    deviations, axes = principal_axes(symmetric(np.asarray(target_covariance).tolist()))
    root = (axes * deviations) @ axes.T
    frame = root - np.sqrt(gamma)[..., None, None] * np.eye(len(root))
    with np.errstate(invalid="ignore"):
        frame = frame / np.linalg.norm(frame, axis=(-2, -1), keepdims=True)
    return np.square(frame - gram / np.linalg.norm(gram)).sum((-2, -1))


def truncated_gram(
    target_covariance: ArrayLike, weight_decay: float, feature_decay: float
) -> NDArray[np.float64]:
    """Return W W^T by the paper's formula for c between the eigenvalues, which is wrong there.

    sqrt(feature_decay/weight_decay) R R^T with R the first j* columns of the symmetric root of
    Sigma^(1/2) - c^(1/2) I, j* the number of eigenvalues above c; where the root is complex, its
    conjugate transpose is taken. Equal to `gram`, whose arguments it takes, for c below all
    eigenvalues, and for diagonal Sigma with descending entries.

    Andriopoulos et al. 2024 (arXiv 2409.04180); here to show where it fails.
    """
    deviations, axes = principal_axes(symmetric(np.asarray(target_covariance).tolist()))
    lengths = deviations - math.sqrt(weight_decay * feature_decay)
    # Complex: collapsed directions have negative lengths.
    root = (axes * np.sqrt(lengths.astype(complex))) @ axes.T
    columns = root[:, : np.count_nonzero(lengths > 0)]
    return math.sqrt(feature_decay / weight_decay) * (columns @ columns.conj().T).real


def _explained(deviations: NDArray[np.float64], residuals: NDArray[np.float64]) -> float | None:
    """Return 1 - sum residuals^2 / sum deviations^2, None if there are no deviations."""
    if not deviations[0]:
        return None
    # Over the largest, whose square may overflow.
    total, remainder = deviations / deviations[0], residuals / deviations[0]
    return float(1 - np.sum(remainder**2) / np.sum(total**2))
