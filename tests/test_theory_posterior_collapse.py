"""Closed forms of linear autoencoders, against optimisation over populations of points."""

import json
import math

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse.cli import main
from collapse.errors import InputError
from collapse.theory.posterior_collapse import (
    KEYS,
    best_std,
    conditional_eigenvalues,
    of_run,
    predict,
)

SOME = settings(derandomize=True, max_examples=12, deadline=None, database=None)
LEARNED = {"model": "cvae", "conditional_covariance_eigenvalues": [3.0, 1.0, 0.5], "latent_dim": 2}
TWO = {
    "model": "mhvae", "covariance_eigenvalues": [4.0, 1.0, 0.3], "latent_dim": 2,
    "beta_1": 1.0, "beta_2": 2.0, "encoder_std": 0.5, "decoder_std": 0.7, "prior_std": 1.2,
}  # fmt: skip


# An optimum of one's own: expectations as means over points, divergences by torch.distributions


def points_of(moment):
    """Points of exactly this second moment, as rows."""
    values, vectors = np.linalg.eigh(moment)
    return torch.from_numpy((vectors * np.sqrt(np.clip(values, 0, None) * len(values))).T)


def covariance(eigenvalues, seed=0):
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(eigenvalues),) * 2))[0]
    return basis * np.array(eigenvalues) @ basis.T


def least(loss, shapes, starts=3):
    """The least loss over starts, and the parameters there, by L-BFGS on autograd."""
    sizes = [math.prod(shape) for shape in shapes]

    def split(vector):
        parts = torch.from_numpy(vector).split(sizes)
        return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]

    def value(vector):
        leaves = [part.clone().requires_grad_() for part in split(vector)]
        total = loss(*leaves)
        slopes = torch.autograd.grad(total, leaves)
        return total.item(), torch.cat([slope.flatten() for slope in slopes]).numpy()

    best = None
    for seed in range(starts):
        start = np.random.default_rng(seed).normal(0, 0.5, sum(sizes))
        options = {"maxiter": 4000, "maxfun": 8000, "ftol": 1e-15, "gtol": 1e-9}
        end = scipy.optimize.minimize(value, start, jac=True, method="L-BFGS-B", options=options)
        best = end if best is None or end.fun < best.fun else best
    return best.fun, split(best.x)


def twice_kl(mean, log_std, prior_std):
    """Twice the mean divergence of rows of means with one std each from the prior."""
    posterior = torch.distributions.Normal(mean, log_std.exp().expand_as(mean))
    prior = torch.distributions.Normal(torch.zeros_like(mean), prior_std)
    return 2 * torch.distributions.kl_divergence(posterior, prior).sum(1).mean()


def conditional_optimum(moment, given_dim, dim, beta, e, p, held=None):
    """The least objective of a linear conditional autoencoder and U1, W2, log_std."""
    points = points_of(moment)
    x, y = points[:, :given_dim], points[:, given_dim:]

    def loss(first, second, decoder, direct, log_std):
        log_std = log_std if held is None else log_std * 0 + math.log(held)
        mean = x @ first.T + y @ second.T
        error = y - mean @ decoder.T - x @ direct.T
        # The noise of z adds tr U S U^T.
        noise = (decoder.square() * (2 * log_std).exp()).sum()
        fit = error.square().sum(1).mean() + noise
        return fit / e**2 + beta * twice_kl(mean, log_std, p)

    outputs = len(moment) - given_dim
    shapes = [(dim, given_dim), (dim, outputs), (outputs, dim), (outputs, given_dim), (dim,)]
    value, (_, second, decoder, _, log_std) = least(loss, shapes)
    return value, decoder, second, log_std


def hierarchical_optimum(moment, first_dim, second_dim, b1, b2, e, p, s):
    points = points_of(moment)
    size = len(points)
    # z1 = W1 x + s noise over points x and the noise's axes, both signs: exact second moments.
    axes = torch.eye(first_dim, dtype=torch.float64) * math.sqrt(first_dim)
    axes = torch.cat([axes, -axes])

    def loss(encoder, second, decoder, upper, log_std):
        means = points @ encoder.T
        z1 = (means[:, None] + s * axes[None]).reshape(-1, first_dim)
        x = points[:, None].expand(size, len(axes), size).reshape(-1, size)
        m2 = z1 @ second.T
        noise = (upper.square() * (2 * log_std).exp()).sum()
        distance = (z1 - m2 @ upper.T).square().sum(1).mean() + noise
        lower = distance / e**2 + first_dim * (2 * math.log(e / s) - 1)
        fit = (x - z1 @ decoder.T).square().sum(1).mean() / e**2
        return fit + b1 * lower + b2 * twice_kl(m2, log_std, p)

    shapes = [
        (first_dim, size), (second_dim, first_dim), (size, first_dim), (first_dim, second_dim),
        (second_dim,),
    ]  # fmt: skip
    value, (encoder, _, decoder, upper, _) = least(loss, shapes, starts=4)
    root = torch.from_numpy(scipy.linalg.sqrtm(moment).real)
    singular = [torch.linalg.svdvals(m).numpy() for m in (encoder @ root, upper, decoder)]
    return value, *singular


stds = st.floats(0.4, 2.0)
eigenvalue_lists = st.lists(st.floats(0.05, 6.0), min_size=1, max_size=4)


@SOME
@given(data=st.data(), values=eigenvalue_lists, beta=stds, e=stds, p=stds)
def test_a_vanilla_optimum_is_the_closed_form(data, values, beta, e, p):
    dim = data.draw(st.integers(1, len(values)))
    held = data.draw(st.none() | stds)
    answer = predict(
        model="vae", covariance_eigenvalues=values, latent_dim=dim, beta=beta, decoder_std=e,
        prior_std=p, encoder_std=held,
    )  # fmt: skip
    moment = covariance(values)
    value, decoder, second, log_std = conditional_optimum(moment, 0, dim, beta, e, p, held)
    assert value == pytest.approx(answer["loss"], abs=1e-5)
    if answer["margin"] > 0.05:
        found = torch.linalg.svdvals(decoder).numpy()
        np.testing.assert_allclose(found, answer["decoder_singular_values"], atol=5e-3)
        root = torch.from_numpy(scipy.linalg.sqrtm(moment).real)
        found = torch.linalg.svdvals(second @ root).numpy()
        np.testing.assert_allclose(found, answer["encoder_singular_values"], atol=5e-3)
        if held is None:
            found = np.sort(log_std.exp().numpy())
            np.testing.assert_allclose(found, answer["encoder_std"], atol=5e-3)
    assert answer["omega"] == answer["decoder_singular_values"]
    assert answer["lambda"] == answer["encoder_singular_values"]


@SOME
@given(data=st.data(), given_dim=st.integers(1, 3), outputs=st.integers(1, 3), beta=stds, e=stds)
def test_a_conditional_optimum_is_that_of_the_conditional_covariance(
    data, given_dim, outputs, beta, e
):
    dim = data.draw(st.integers(1, outputs))
    p = data.draw(stds)
    seed = data.draw(st.integers(0, 1000))
    numbers = np.random.default_rng(seed).normal(size=(given_dim + outputs, given_dim + outputs))
    moment = numbers @ numbers.T
    xx, yx = moment[:given_dim, :given_dim], moment[given_dim:, :given_dim]
    left = moment[given_dim:, given_dim:] - yx @ np.linalg.solve(xx, yx.T)
    values = np.clip(np.linalg.eigvalsh(left), 0, None)
    answer = predict(
        model="cvae", conditional_covariance_eigenvalues=values.tolist(), latent_dim=dim,
        beta=beta, decoder_std=e, prior_std=p,
    )  # fmt: skip
    value, decoder, _, log_std = conditional_optimum(moment, given_dim, dim, beta, e, p)
    assert value == pytest.approx(answer["loss"], abs=1e-5)
    if answer["margin"] > 0.05:
        found = torch.linalg.svdvals(decoder).numpy()
        np.testing.assert_allclose(found, answer["decoder_singular_values"], atol=5e-3)
        found = np.sort(log_std.exp().numpy())
        np.testing.assert_allclose(found, answer["encoder_std"], atol=5e-3)


def test_the_released_threshold_is_wrong_between_both():
    # theta = 2.27 is above sqrt(4) and below 4: the released code says std 1.33.
    answer = predict(
        model="cvae", conditional_covariance_eigenvalues=[2.27], latent_dim=1, beta=4.0
    )
    assert answer["active"] == 0 and answer["encoder_std"] == [1.0]
    wrong = math.sqrt(4 / 2.27)
    assert wrong == pytest.approx(1.33, abs=0.01)
    value, *_, log_std = conditional_optimum(np.array([[2.27]]), 0, 1, 4.0, 1.0, 1.0)
    assert value == pytest.approx(2.27) and log_std.exp().item() == pytest.approx(1, abs=1e-3)


CASES = {
    "wide, all active": dict(b1=1.0, b2=0.3, s=0.9, values=[4.0, 1.5, 0.2], d=2, d2=2),
    "wide, z2 of noise": dict(b1=1.0, b2=1.0, s=0.9, values=[3.0, 0.1], d=2, d2=2),
    "narrow, both regimes": dict(b1=1.0, b2=2.0, s=0.4, values=[9.0, 1.0, 0.1], d=3, d2=3),
    "narrow, z2 collapsed": dict(b1=1.0, b2=6.0, s=0.4, values=[2.0, 1.0], d=2, d2=2),
    "narrow, z1 collapsed": dict(b1=3.0, b2=9.0, s=0.6, values=[0.3, 0.2], d=2, d2=2),
    "fewer in z2": dict(b1=1.0, b2=0.5, s=0.5, values=[5.0, 2.0, 1.0], d=3, d2=1),
    "fewer in z1": dict(b1=2.0, b2=0.5, s=0.6, values=[5.0, 2.0, 1.0], d=1, d2=1),
    "an eigenvalue of zero": dict(b1=1.0, b2=0.4, s=0.8, values=[2.0, 0.0], d=2, d2=2),
    "equal eigenvalues": dict(b1=1.0, b2=0.4, s=0.5, values=[2.0, 2.0, 2.0], d=2, d2=2),
}


@pytest.mark.parametrize("name", CASES)
def test_an_optimum_of_two_levels_is_the_closed_form(name):
    case, e, p = CASES[name], 0.7, 1.3
    answer = predict(
        model="mhvae", covariance_eigenvalues=case["values"], latent_dim=case["d"],
        latent_dim_2=case["d2"], beta_1=case["b1"], beta_2=case["b2"], encoder_std=case["s"],
        decoder_std=e, prior_std=p,
    )  # fmt: skip
    value, lambdas, omegas, decoder = hierarchical_optimum(
        covariance(case["values"]), case["d"], case["d2"], case["b1"], case["b2"], e, p, case["s"]
    )
    assert value == pytest.approx(answer["loss"], abs=1e-6)
    np.testing.assert_allclose(lambdas, answer["lambda"], atol=3e-3)
    np.testing.assert_allclose(omegas, answer["omega"], atol=3e-3)
    np.testing.assert_allclose(decoder, answer["decoder_singular_values"], atol=3e-3)
    assert answer["active"] == np.count_nonzero(answer["lambda"])
    assert answer["active_2"] == np.count_nonzero(answer["omega"])


def test_the_cases_of_two_levels_are_the_papers():
    cases = {name: set() for name in CASES}
    for name, case in CASES.items():
        answer = predict(
            model="mhvae", covariance_eigenvalues=case["values"], latent_dim=case["d"],
            latent_dim_2=case["d2"], beta_1=case["b1"], beta_2=case["b2"], encoder_std=case["s"],
            decoder_std=0.7, prior_std=1.3,
        )  # fmt: skip
        cases[name] = answer["case"]
    assert cases["wide, all active"] == [1, 1] and cases["narrow, z2 collapsed"] == [2, 2]
    assert cases["narrow, both regimes"] == [3, 2, 2] and cases["fewer in z2"] == [1, 0, 0]


@settings(derandomize=True, max_examples=200, deadline=None, database=None)
@given(theta=st.floats(0, 9), b1=stds, b2=stds, e=stds, p=stds, s=stds)
def test_two_levels_of_one_variable_are_the_minimum_over_a_fine_grid(theta, b1, b2, e, p, s):
    answer = predict(
        model="mhvae", covariance_eigenvalues=[theta], latent_dim=1, beta_1=b1, beta_2=b2,
        decoder_std=e, prior_std=p, encoder_std=s,
    )  # fmt: skip
    spread = np.geomspace(s**2, s**2 + 100 * (1 + theta), 20001)
    threshold = b2 * e**2 / b1
    upper = np.where(
        spread > threshold, b2 * (1 + np.log(np.maximum(spread / threshold, 1))),
        b1 * spread / e**2,
    )  # fmt: skip
    cost = theta * s**2 / (spread * e**2) + upper + b1 * (2 * math.log(e / s) - 1)
    assert answer["loss"] == pytest.approx(cost.min(), abs=1e-4)
    assert answer["loss"] <= cost.min() + 1e-9
    # The paper's formulas, as its released code has them.
    root = math.sqrt(theta)
    one = s**2 * theta / (b2 * e**2) - s**2
    if s**2 >= threshold:
        case, square = 1, max(0, one)
    elif s**2 * theta < b2**2 / b1 * e**4:
        case, square = 2, max(0, s / math.sqrt(b1) * (root - math.sqrt(b1) * s))
    else:
        case, square = 3, one
    # Equal but for rounding is equal there, and may be either here.
    if min(abs(s**2 / threshold - 1), abs(s**2 * theta / (b2**2 / b1 * e**4) - 1)) > 1e-12:
        assert answer["case"] == [case]
    assert answer["lambda"][0] ** 2 == pytest.approx(square, abs=1e-9)
    omega = max(0, square + s**2 - threshold) / p**2 if case != 2 else 0
    assert answer["omega"][0] ** 2 == pytest.approx(omega, abs=1e-9)


@pytest.mark.parametrize("beta,e", [(0.1, 1.0), (3.0, 0.1), (0.7, 0.3), (1.0, 1.0), (2.5, 1.7)])
def test_an_eigenvalue_at_the_threshold_is_collapsed(beta, e):
    theta = beta * e**2
    for value in (theta, np.nextafter(theta, 10)):
        answer = predict(
            model="cvae", conditional_covariance_eigenvalues=[value, 0.0], latent_dim=2, beta=beta,
            decoder_std=e,
        )  # fmt: skip
        assert answer["active"] == 0 and answer["decoder_singular_values"] == [0, 0]
        assert answer["encoder_std"] == [1, 1] and answer["KL"] == 0
        assert answer["loss"] == pytest.approx(beta)
    above = predict(
        model="cvae", conditional_covariance_eigenvalues=[theta * (1 + 1e-8)], latent_dim=1,
        beta=beta, decoder_std=e,
    )  # fmt: skip
    assert above["active"] == 1
    expected = math.sqrt(1e-8 * theta)
    assert above["decoder_singular_values"][0] == pytest.approx(expected, rel=1e-5)
    assert above["margin"] == pytest.approx(1e-8, rel=1e-5)


def test_two_levels_at_the_threshold_of_noise_and_prior():
    # s^2 = T*, and a direction that z1 does not encode: z2 has nothing of it.
    answer = predict(**TWO | {"beta_2": 1.0, "encoder_std": 0.7, "covariance_eigenvalues": [2, 0]})
    assert answer["case"] == [1, 1] and answer["omega"][1] == 0 and answer["active_2"] == 1
    assert answer["margin"] == 0


def test_the_loss_falls_to_that_of_a_map_without_noise_as_beta_vanishes():
    answer = predict(**LEARNED | {"beta": 1e-9})
    assert answer["loss"] == pytest.approx(0.5, abs=1e-6)
    np.testing.assert_allclose(answer["decoder_singular_values"], [3**0.5, 1], rtol=1e-6)


@SOME
@given(values=eigenvalue_lists, scale=st.floats(0.1, 10))
def test_units_scale_together(values, scale):
    dim = len(values)
    one = predict(model="vae", covariance_eigenvalues=values, latent_dim=dim, decoder_std=0.7)
    other = predict(
        model="vae", covariance_eigenvalues=[v * scale**2 for v in values[::-1]], latent_dim=dim,
        decoder_std=0.7 * scale, prior_std=scale,
    )  # fmt: skip
    assert other["loss"] == pytest.approx(one["loss"], rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(
        other["decoder_singular_values"], one["decoder_singular_values"], atol=1e-6
    )


def test_a_conditional_model_of_nothing_is_a_vanilla_one():
    plain = predict(model="vae", covariance_eigenvalues=[2.0, 1.5], latent_dim=1, beta=1.2)
    other = predict(model="vae", conditional_covariance_eigenvalues=[1.5, 2.0], latent_dim=1,
                    beta=1.2)  # fmt: skip
    assert plain == other
    conditional = predict(model="cvae", conditional_covariance_eigenvalues=[2.0, 1.5],
                          latent_dim=1, beta=1.2)  # fmt: skip
    assert {key: plain[key] for key in conditional} == conditional


def test_correlated_data_keep_a_share_of_each_eigenvalue():
    moment = covariance([3.0, 1.0])
    for r in (0.0, 0.3, 0.9):
        left = moment - r**2 * moment
        expected = np.sort(np.linalg.eigvalsh(left))
        np.testing.assert_allclose(np.sort(conditional_eigenvalues([3.0, 1.0], r)), expected)
    assert conditional_eigenvalues([3.0], 1.0) == [0.0]


# Input


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"latent_dim": 4}, ["latent_dim: found 4", "up to 3"]),
        ({"latent_dim": 0}, ["latent_dim: found 0"]),
        ({"latent_dim": 1.5}, ["latent_dim: found 1.5"]),
        ({"beta": 0}, ["beta: found 0"]),
        ({"beta": -1.0}, ["beta: found -1.0"]),
        ({"decoder_std": 0.0}, ["decoder_std: found 0.0"]),
        ({"prior_std": -2}, ["prior_std: found -2"]),
        ({"prior_std": math.inf}, ["prior_std"]),
        ({"encoder_std": 0}, ["encoder_std: found 0"]),
        ({"model": "gan"}, ["model: found", "vae or cvae or mhvae"]),
        ({"conditional_covariance_eigenvalues": []}, ["conditional_covariance_eigenvalues"]),
        ({"conditional_covariance_eigenvalues": [1, -1]}, ["conditional_covariance_eigenvalues"]),
        ({"conditional_covariance_eigenvalues": 3.0}, ["conditional_covariance_eigenvalues"]),
        ({"covariance_eigenvalues": [1.0]}, ["covariance_eigenvalues: found with model=cvae"]),
        ({"beta_1": 1.0}, ["beta_1: found with model=cvae", "mhvae"]),
        ({"latent_dim_2": 1}, ["latent_dim_2: found with model=cvae"]),
        ({"betta": 1.0}, ["betta", "did you mean beta?"]),
        ({"conditional_covariance_eigenvalues": [1e308] * 3, "prior_std": 1e-300}, ["range"]),
        ({"encoder_std": 1e200}, ["KL: leaves the range"]),
        ({"encoder_std": 1e-200, "prior_std": 1e200}, ["KL: leaves the range"]),
    ],
)
def test_bad_input_ends_in_one_line(changes, words):
    with pytest.raises(InputError) as caught:
        predict(**LEARNED | changes)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({k: v for k, v in LEARNED.items() if "eigen" not in k}, "conditional_covariance_eigen"),
        ({"model": "vae", "latent_dim": 1}, "covariance_eigenvalues: missing"),
        ({k: v for k, v in TWO.items() if k != "encoder_std"}, "encoder_std: missing"),
        (TWO | {"latent_dim_2": 3}, "latent_dim_2: found 3"),
        (TWO | {"conditional_covariance_eigenvalues": [1.0]}, "found beside"),
        ({k: v for k, v in LEARNED.items() if k != "model"}, "model: missing"),
        ({k: v for k, v in LEARNED.items() if k != "latent_dim"}, "latent_dim: missing"),
    ],
)
def test_what_is_missing_is_said(given, word):
    with pytest.raises(InputError, match=word):
        predict(**given)


def test_the_command_line_prints_it(capsys):
    words = ["--set", "model=cvae", "--set", "conditional_covariance_eigenvalues=[3,1,.5]"]
    words += ["--set", "latent_dim=2", "--set", "beta=1", "--set", "decoder_std=1"]
    assert main(["predict", "posterior_collapse", *words, "--set", "prior_std=1"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["active"] == 1 and printed["encoder_std"] == [pytest.approx(3**-0.5), 1]
    assert printed["decoder_singular_values"] == [pytest.approx(2**0.5), 0]
    assert printed["loss"] == pytest.approx(1.5 + 1 + math.log(3))
    assert main(["predict", "posterior_collapse", *words, "--set", "prior_std=0"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "prior_std: found 0" in error


def test_two_betas_default_to_one():
    both = predict(**TWO | {"beta_1": 0.7, "beta_2": 0.7})
    one = {k: v for k, v in TWO.items() if not k.startswith("beta")} | {"beta": 0.7}
    assert predict(**one) == both


def test_runs_are_recognised_by_what_they_hold():
    shape = {"covariance_eigenvalues": [2.0, 1.0], "latent_dim": 2, "decoder_std": 1.0,
             "prior_std": 1.0, "encoder_std": None, "kind": "any"}  # fmt: skip
    vae = of_run({"problem": shape | {"beta": 0.5}}, {})
    assert vae == predict(model="vae", covariance_eigenvalues=[2.0, 1.0], latent_dim=2, beta=0.5)
    cvae = of_run({"problem": shape | {"beta": 0.5, "correlation": 0.6}}, {})
    np.testing.assert_allclose(cvae["loss"], predict(
        model="cvae", conditional_covariance_eigenvalues=[1.28, 0.64], latent_dim=2, beta=0.5
    )["loss"])  # fmt: skip
    two = shape | {"beta_1": 1.0, "beta_2": 2.0, "encoder_std": 0.5, "latent_dim_2": 1}
    assert len(of_run({"problem": two}, {})["omega"]) == 1
    for config in ({}, {"problem": {"kind": "dufm"}}):
        with pytest.raises(InputError, match="no linear autoencoder"):
            of_run(config, {})
    assert set(KEYS) >= {"model", "beta", "latent_dim"}


@pytest.mark.parametrize("norm", [0.0, 0.3, 2.0])
def test_the_best_std_of_a_latent_is_where_its_share_of_the_objective_is_least(norm):
    beta, decoder_std, prior_std = 0.7, 1.3, 0.8
    problem = {"beta": beta, "decoder_std": decoder_std, "prior_std": prior_std}
    latent = torch.distributions.Normal
    stds = np.linspace(0.05, 1, 9501)
    share = [
        norm**2 * std**2 / decoder_std**2
        + 2
        * beta
        * torch.distributions.kl_divergence(latent(0.4, std), latent(0, prior_std)).item()
        for std in stds[::10]
    ]
    assert best_std(np.array([norm]), problem) == pytest.approx(
        stds[::10][np.argmin(share)], abs=1e-3
    )
