"""Posterior collapse in linear variational autoencoders: plain, conditional and with two levels.

Source: Dang, Nguyen, Tran, Tran, Ho, "Beyond vanilla variational autoencoders: detecting posterior
collapse in conditional and hierarchical variational autoencoders", ICLR 2024, arXiv 2306.05023. The
formulas are derived from the objectives and checked by independent optimisation.

With theta_1 >= theta_2 >= ... the eigenvalues of the (conditional) second moment of the data, e =
decoder_std, p = prior_std and latents in this order, a latent of a linear VAE or CVAE with a
learned encoder is active iff theta > beta e^2. Then, with t = theta/(beta e^2),

- the decoder's singular value is sqrt(theta - beta e^2)/p, the encoder's std p/sqrt(t),
- it costs beta (1 + log t) instead of theta/e^2, and its KL is log(t)/2 nats.

A collapsed latent has 0, p, theta/e^2 and 0. The released code
(``calculate_lambda_sigma_cvae_beta``) decides by theta >= sqrt(beta) e instead, which is wrong
wherever an eigenvalue lies between the two thresholds: at beta = 4, e = p = 1 and theta = 2.27 it
has the encoder's std at 1.33, above the prior's; the latent is collapsed and its std is 1. It is
not copied here.

With the encoder's std held at s the same threshold is at sqrt(theta) = sqrt(beta) s e/p, and the
product of both maps shrinks sqrt(theta) by that much.

Of two levels with s = encoder_std, that of z1, held and that of z2 learned, T = lambda^2 + s^2 is
the variance of z1 along a direction, lambda what the data give of it. z2 is a VAE of z1: it is
active there iff T > T* = beta_2 e^2/beta_1, and omega^2 = (T - T*)/p^2. The least of

    theta s^2/(e^2 T) + beta_1 T/e^2             (T <= T*)
    theta s^2/(e^2 T) + beta_2 (1 + log(T/T*))   (T >= T*)

is at T = sqrt(theta) s/sqrt(beta_1) if that is below T*, else at theta s^2/(beta_2 e^2), and at s^2
where it would be less. Both are one function, convex in log T with a continuous slope, so that the
minimum is one. The paper's case 1 is s^2 >= T*, its cases 2 and 3 are the two lines otherwise. In
case 1 a direction that z1 does not encode has omega > 0 all the same where s^2 > T*: z2 then
encodes the noise of z1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collapse.errors import InputError
from collapse.theory.hyperparameters import Hyperparameter, choice, integer, list_of, number, parse

OBJECTIVE = (
    "min (1/decoder_std^2) E||y - U1 z - U2 x||^2 + beta [E||z||^2/prior_std^2 - log det S + 2 d"
    " log prior_std - d], z ~ N(W1 x + W2 y, S), S diagonal: twice the negative log-likelihood, in"
    " expectation and without its constant, and twice the KL divergence; vae has no x, and x in"
    " the place of y. mhvae: (1/decoder_std^2)"
    " [E||x - U1 z1||^2 + beta_1 E||z1 - U2 z2||^2] + beta_1 d (2 log(decoder_std/encoder_std) - 1)"
    " + beta_2 [E||z2||^2/prior_std^2 - log det S2 + 2 d_2 log prior_std - d_2], z1 ~ N(W1 x,"
    " encoder_std^2 I), z2 ~ N(W2 z1, S2). Second moments are about zero"
)
"""The objective whose units everything is in."""

_EIGENVALUES = list_of(number(0, closed=True))
_POSITIVE = number(0)

KEYS = {
    "model": Hyperparameter(choice("vae", "cvae", "mhvae"), "the linear model"),
    "conditional_covariance_eigenvalues": Hyperparameter(
        _EIGENVALUES,
        "eigenvalues of E[yy^T] - E[yx^T] E[xx^T]^+ E[xy^T], all of them, in any order; needed by"
        " cvae. The others condition on nothing, so that they may be given theirs by either name",
        default=None,
    ),
    "covariance_eigenvalues": Hyperparameter(
        _EIGENVALUES,
        "eigenvalues of E[xx^T] of the data of vae or mhvae, all of them, in any order",
        default=None,
    ),
    "latent_dim": Hyperparameter(
        integer(1, 10**6),
        "latent variables d, of mhvae those of z1; at most as many as eigenvalues",
    ),
    "latent_dim_2": Hyperparameter(
        integer(1, 10**6),
        "mhvae: variables of z2, at most those of z1; absent, as many",
        default=None,
    ),
    "beta": Hyperparameter(_POSITIVE, "weight of the KL divergence (mhvae: of both)", default=1.0),
    "beta_1": Hyperparameter(
        _POSITIVE, "mhvae: weight of KL(q(z1|x) || p(z1|z2)); absent, beta", default=None
    ),
    "beta_2": Hyperparameter(
        _POSITIVE, "mhvae: weight of KL(q(z2|z1) || p(z2)); absent, beta", default=None
    ),
    "decoder_std": Hyperparameter(
        _POSITIVE,
        "standard deviation of each output given the latents; of mhvae also of z1 given z2",
        default=1.0,
    ),
    "prior_std": Hyperparameter(
        _POSITIVE, "standard deviation of the prior of each latent (mhvae: of z2)", default=1.0
    ),
    "encoder_std": Hyperparameter(
        _POSITIVE,
        "standard deviation of each latent given the data, held fixed: of mhvae that of z1,"
        " required; of the others absent where it is learned",
        default=None,
    ),
}
"""The hyperparameters of `predict`."""

TIE = 8 * np.finfo(np.float64).eps
"""Relative distance above a threshold within which a number counts as equal to it: rounding."""


def predict(**hyperparameters: object) -> dict[str, object]:
    """Return the global minimum of the population objective of a linear model.

    Parameters
    ----------
    **hyperparameters
        As described in `KEYS`, in the units of `OBJECTIVE`.

    Returns
    -------
    dict
        Lists are in the order of descending eigenvalues, one number a latent. For vae and cvae:

        ``decoder_singular_values``
            Those of U1.
        ``encoder_singular_values``
            Those of W2 E^(1/2), E the (conditional) second moment: the root of the variance of
            each posterior mean.
        ``encoder_std``
            Roots of the diagonal of S.
        ``active``
            How many latents have a decoder singular value above 0.
        ``KL_latent``, ``KL``
            KL divergence of each latent and of all, in nats. The former is absent with an encoder's
            std that is held: latents may then be turned, and share it otherwise.
        ``loss``
            The objective.
        ``margin``
            Smallest relative distance of an eigenvalue of a latent from the threshold: where it is
            small the minimum is flat, and descent far from it for long.
        ``omega``, ``lambda``
            vae only: decoder and encoder singular values by the paper's letters.

        For mhvae:

        ``lambda``, ``omega``
            Singular values of W1 E[xx^T]^(1/2) and of U2; the latter are ``latent_dim_2``.
        ``case``
            The paper's case, 1, 2 or 3; 0 where no variable of z2 is left.
        ``decoder_singular_values``
            Those of U1, descending: the largest need not be of the largest eigenvalue.
        ``encoder_std_2``
            Roots of the diagonal of S2.
        ``active``, ``active_2``
            How many of lambda and of omega are above 0.
        ``KL_1``, ``KL_2``
            KL divergences of z1 (from p(z1|z2), expected over z2) and of z2, in nats.
        ``loss``
            The objective.
        ``margin``
            As above, of variances of z1 from the noise and from T*, too.

    Raises
    ------
    InputError
        A hyperparameter is unknown, missing, out of range or of another model; there are more
        latents than eigenvalues; or the result leaves the range of double precision.
    """
    # Null is as good as absent.
    given = {name: value for name, value in hyperparameters.items() if value is not None}
    values = parse(KEYS, given)
    # What overflows becomes infinite or NaN, and is refused below; Python's own floats would raise.
    values |= {name: np.float64(v) for name, v in values.items() if isinstance(v, float)}
    # Deviations: their squares may leave double precision where they do not.
    deviations = np.sqrt(np.sort(_eigenvalues(values, given))[::-1])
    dim = values["latent_dim"]
    if dim > len(deviations):
        raise InputError(
            f"latent_dim: found {dim}, allowed: up to {len(deviations)}, as many as eigenvalues"
        )
    _check_model(values, given)
    with np.errstate(all="ignore"):
        if values["model"] == "mhvae":
            prediction = _two_levels(deviations, values)
        elif values["encoder_std"] is None:
            prediction = _learned(deviations, values)
        else:
            prediction = _held(deviations, values)
    if values["model"] == "vae":
        prediction["omega"] = prediction["decoder_singular_values"]
        prediction["lambda"] = prediction["encoder_singular_values"]
    for name, value in prediction.items():
        if not np.all(np.isfinite(value)):
            raise InputError(
                f"{name}: leaves the range of double precision, allowed: less extreme"
                " eigenvalues, beta and standard deviations"
            )
    return prediction


def _eigenvalues(values: Mapping[str, Any], given: Mapping[str, object]) -> NDArray[np.float64]:
    conditional, plain = "conditional_covariance_eigenvalues", "covariance_eigenvalues"
    names = (conditional,) if values["model"] == "cvae" else (plain, conditional)
    if values["model"] == "cvae" and plain in given:
        raise InputError(f"{plain}: found with model=cvae, allowed: {conditional}")
    found = [name for name in names if values[name] is not None]
    if not found:
        raise InputError(f"{names[0]}: missing, allowed: {_EIGENVALUES.allowed}")
    if len(found) > 1:
        raise InputError(f"{found[1]}: found beside {found[0]}, allowed: one of them")
    return np.array(values[found[0]])


def _check_model(values: Mapping[str, Any], given: Mapping[str, object]) -> None:
    """Refuse what the model does not have, and what it lacks."""
    if values["model"] != "mhvae":
        for name in ("beta_1", "beta_2", "latent_dim_2"):
            if name in given:
                raise InputError(f"{name}: found with model={values['model']}, allowed: with mhvae")
        return
    if values["encoder_std"] is None:
        raise InputError(f"encoder_std: missing with model=mhvae, allowed: {_POSITIVE.allowed}")
    upper, lower = values["latent_dim_2"], values["latent_dim"]
    if upper is not None and upper > lower:
        raise InputError(f"latent_dim_2: found {upper}, allowed: up to latent_dim, {lower}")


def _above(values: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """Return which values are above a threshold by more than rounding."""
    return values > threshold * (1 + TIE)


def _reaches(values: NDArray[np.float64] | float, threshold: float) -> Any:
    """Return which values are at a threshold, up to rounding, or above."""
    return np.asarray(values) >= threshold * (1 - TIE)


def _difference(large: NDArray[np.float64], small: Any, where: NDArray[np.bool_]) -> NDArray:
    """Return the root of large^2 - small^2 where asked for, else 0; without the squares."""
    return np.where(where, np.sqrt(np.maximum(large - small, 0)) * np.sqrt(large + small), 0.0)


def _margin(ratios: NDArray[np.float64]) -> float:
    """Return the smallest relative distance from 1 of the squares of ratios, at most 1 if below."""
    return float(np.min(np.abs(ratios - 1) * (ratios + 1)))


def _learned(deviations: NDArray[np.float64], values: Mapping[str, Any]) -> dict[str, object]:
    """Return the minimum with a learned S."""
    decoder, prior, beta = values["decoder_std"], values["prior_std"], values["beta"]
    chosen = deviations[: values["latent_dim"]]
    level = np.sqrt(beta) * decoder
    active = _above(chosen, level)
    # sqrt(t), 1 for a collapsed latent.
    ratio = np.where(active, chosen / level, 1.0)
    divergences = np.log(ratio)
    rest = np.concatenate([chosen[~active], deviations[len(chosen) :]]) / decoder
    return {
        "decoder_singular_values": (_difference(chosen, level, active) / prior).tolist(),
        # (1 - 1/t) as a product, exact near the threshold.
        "encoder_singular_values": (prior * np.sqrt((1 - 1 / ratio) * (1 + 1 / ratio))).tolist(),
        "encoder_std": (prior / ratio).tolist(),
        "active": int(active.sum()),
        "KL_latent": divergences.tolist(),
        "KL": float(divergences.sum()),
        "loss": float(np.sum(rest**2) + beta * np.sum((1 + 2 * divergences)[active])),
        "margin": _margin(chosen / level),
    }


def _held(deviations: NDArray[np.float64], values: Mapping[str, Any]) -> dict[str, object]:
    """Return the minimum with S = encoder_std^2 I.

    Of a latent (product - deviation)^2 + s^2 omega^2 + beta (e/p)^2 lambda^2, over e^2, whose least
    value at a given product omega lambda is 2 sqrt(beta) s e/p times it.
    """
    decoder, prior, beta = values["decoder_std"], values["prior_std"], values["beta"]
    std, dim = values["encoder_std"], values["latent_dim"]
    chosen = deviations[:dim]
    # omega s = lambda balance at the least cost of a product.
    balance = np.sqrt(beta) * decoder / prior
    level = balance * std
    active = _above(chosen, level)
    product = np.where(active, chosen - level, 0.0)
    encoder = np.sqrt(product * (std / balance))
    noise = std / prior
    # 2 KL of a posterior of the prior's mean.
    constant = noise**2 - 2 * np.log(noise) - 1
    divergences = (encoder**2 / prior**2 + constant) / 2
    fits = np.where(active, level * (2 * chosen - level), chosen**2)
    rest = np.concatenate([fits, deviations[dim:] ** 2])
    return {
        "decoder_singular_values": np.sqrt(product * (balance / std)).tolist(),
        "encoder_singular_values": encoder.tolist(),
        "encoder_std": [float(std)] * dim,
        "active": int(active.sum()),
        "KL": float(divergences.sum()),
        "loss": float(np.sum(rest) / decoder**2 + beta * dim * constant),
        "margin": _margin(chosen / level),
    }


def _two_levels(deviations: NDArray[np.float64], values: Mapping[str, Any]) -> dict[str, object]:
    """Return the minimum with two levels, the first encoder's std held."""
    decoder, prior, std = values["decoder_std"], values["prior_std"], values["encoder_std"]
    lower, upper = (values[key] or values["beta"] for key in ("beta_1", "beta_2"))
    dim, above = values["latent_dim"], values["latent_dim_2"] or values["latent_dim"]
    chosen = deviations[:dim]
    # The largest directions get z2: its gain grows with theta.
    served = np.arange(dim) < above
    # Deviations of z1: the threshold of z2, what one level wants, and what two do.
    threshold = np.sqrt(upper) / np.sqrt(lower) * decoder
    alone = np.sqrt(chosen * std) / lower**0.25
    both = chosen * (std / (np.sqrt(upper) * decoder))
    wide = _reaches(std, threshold)
    beyond = served & (wide | _reaches(alone, threshold))
    wanted = np.where(beyond, both, alone)
    encodes = _above(wanted, std)
    spread = np.where(encodes, wanted, std)
    active = served & _above(spread, threshold)
    ratio = np.where(active, spread / threshold, 1.0)
    # What z2 leaves of z1, over the decoder's std.
    left = np.where(active, threshold, spread) / decoder
    own = 2 * np.log(decoder / std) - 1
    missed = (chosen * (std / spread), deviations[dim:])
    fit = sum(float(np.sum((part / decoder) ** 2)) for part in missed)
    divergence = float(np.sum(np.log(ratio)))
    signal = _difference(spread, std, encodes)
    omega = _difference(spread, threshold, active) / prior
    return {
        "lambda": signal.tolist(),
        "omega": omega[:above].tolist(),
        "case": np.where(served, np.where(wide, 1, np.where(beyond, 3, 2)), 0).tolist(),
        "decoder_singular_values": np.sort(chosen / spread * (signal / spread))[::-1].tolist(),
        "encoder_std_2": (prior / ratio)[:above].tolist(),
        "active": int(encodes.sum()),
        "active_2": int(active.sum()),
        "KL_1": float(np.sum(left**2) + dim * own) / 2,
        "KL_2": divergence,
        "loss": fit + lower * float(np.sum(left**2) + dim * own) + upper * 2 * divergence,
        "margin": _margin(np.concatenate([wanted / std, (spread / threshold)[served]])),
    }


def of_run(config: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, object]:
    """Return what the closed form says of a run of a linear problem.

    Raises
    ------
    InputError
        It is no linear autoencoder, or one with more latents than the data have dimensions.
    """
    problem = config.get("problem", {})
    if not {"covariance_eigenvalues", "decoder_std", "prior_std"} <= problem.keys():
        raise InputError("no linear autoencoder: the closed forms are those of one")
    given = {name: problem[name] for name in KEYS if problem.get(name) is not None}
    if "correlation" in problem:
        del given["covariance_eigenvalues"]
        given["conditional_covariance_eigenvalues"] = conditional_eigenvalues(
            problem["covariance_eigenvalues"], problem["correlation"]
        )
        return predict(model="cvae", **given)
    return predict(model="mhvae" if "beta_1" in problem else "vae", **given)


def conditional_eigenvalues(eigenvalues: list[float], correlation: float) -> list[float]:
    """Return the eigenvalues of E[yy^T] - E[yx^T] E[xx^T]^-1 E[xy^T] for x = r y + sqrt(1-r^2) n.

    `eigenvalues` are those of E[yy^T] = E[nn^T], n independent of y: every direction of y has
    `correlation` r with the same one of x, and keeps 1 - r^2 of its variance.
    """
    # As a product, exact near r = 1.
    kept = (1 - correlation) * (1 + correlation)
    return [kept * value for value in eigenvalues]


def best_std(norms: NDArray[np.float64], problem: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return the std of a latent's posterior that is best for a column of the decoder.

    ``(1/prior_std^2 + norm^2/(beta decoder_std^2))^(-1/2)``, where the objective is stationary in
    it, whatever else the autoencoder is; one level of latents.

    Parameters
    ----------
    norms
        Norms of columns of U1, any shape.
    problem
        With ``beta``, ``decoder_std`` and ``prior_std``.
    """
    level = problem["beta"] * problem["decoder_std"] ** 2
    return (problem["prior_std"] ** -2.0 + norms**2 / level) ** -0.5
