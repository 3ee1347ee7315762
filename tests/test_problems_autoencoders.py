"""Linear autoencoders as problems: objective, gradient, minima and Adam, against other ways."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapse import config, jobs
from collapse.artifacts import read_table
from collapse.errors import InputError
from collapse.probes import State
from collapse.probes.posterior import rows
from collapse.problems import linear_cvae, linear_mhvae, linear_vae
from collapse.problems.base import Problem
from collapse.problems.linear_cvae import LinearCVAE
from collapse.problems.moments import conditional, correlated_moment, root, second_moment
from collapse.problems.solvers.adam import adam
from collapse.problems.solvers.lbfgs import lbfgs
from collapse.problems.solvers.newton import newton
from collapse.theory.posterior_collapse import of_run, predict
from conftest import FEW
from test_procedures_problem import CONFIG, make, measured, states_of

SHAPE = {"covariance_eigenvalues": [3.0, 1.5, 0.4], "latent_dim": 2, "prior_std": 1.2}
VAE = SHAPE | {"kind": "linear_vae", "beta": 1.0, "decoder_std": 0.8, "encoder_std": None}
CVAE = VAE | {"kind": "linear_cvae", "correlation": 0.5}
MHVAE = SHAPE | {
    "kind": "linear_mhvae", "beta_1": 1.0, "beta_2": 0.7, "decoder_std": 0.8, "encoder_std": 0.6,
    "latent_dim_2": None,
}  # fmt: skip
MODULES = {"linear_vae": linear_vae, "linear_cvae": linear_cvae, "linear_mhvae": linear_mhvae}


def build(*problems):
    return MODULES[problems[0]["kind"]].build([{"problem": each} for each in problems])


numbers = st.floats(0.2, 3.0)


@st.composite
def batches(draw):
    """Problems of one shape with hyperparameters of their own, and a random start."""
    kind = draw(st.sampled_from(["linear_vae", "linear_cvae", "linear_mhvae"]))
    values = draw(st.lists(st.floats(0, 4), min_size=1, max_size=4))
    dim = draw(st.integers(1, len(values)))
    held = kind == "linear_mhvae" or draw(st.booleans())
    above = draw(st.integers(1, dim))
    problems = []
    for _ in range(draw(st.integers(1, 3))):
        names = ("decoder_std", "prior_std", "beta", "beta_1", "beta_2")
        problem = {"kind": kind, "covariance_eigenvalues": values, "latent_dim": dim}
        problem |= {name: draw(numbers) for name in names}
        problem["encoder_std"] = draw(numbers) if held else None
        problem["correlation"] = draw(st.floats(0, 1))
        problem["latent_dim_2"] = above
        problems.append(problem)
    problem = build(*problems)
    return problems, problem, problem.initial(range(problem.batch), 0.7)


def samples_of(moment):
    """Points of exactly this second moment, as rows."""
    values, vectors = np.linalg.eigh(moment)
    return (vectors * np.sqrt(np.clip(values, 0, None) * len(values))).T


def normal_kl(mean, variance, other):
    """Twice the divergence of N(mean, variance) from N(0, other), coordinate by coordinate."""
    return mean**2 / other + variance / other - np.log(variance / other) - 1


def numpy_objective(problem, named):
    """By samples of the population, one term after the other."""
    e2, p2 = problem["decoder_std"] ** 2, problem["prior_std"] ** 2
    moment = second_moment(problem["covariance_eigenvalues"]).numpy()
    if problem["kind"] == "linear_mhvae":
        s2, dim = problem["encoder_std"] ** 2, problem["latent_dim"]
        variance = np.exp(2 * named["log_std"])
        total = 0.0
        for x in (points := samples_of(moment)):
            mean = named["W1"] @ x
            total += np.sum((x - named["U1"] @ mean) ** 2) / e2 / len(points)
            # Of the mean of z1, then of its noise.
            left = mean - named["U2"] @ named["W2"] @ mean
            total += problem["beta_1"] * np.sum(left**2) / e2 / len(points)
            means = named["W2"] @ mean
            total += problem["beta_2"] * np.sum(means**2) / p2 / len(points)
        left = np.eye(dim) - named["U2"] @ named["W2"]
        total += s2 * np.sum(named["U1"] ** 2) / e2
        lower = (s2 * np.sum(left**2) + np.sum(named["U2"] ** 2 * variance)) / e2
        total += problem["beta_1"] * (lower + dim * (math.log(e2 / s2) - 1))
        total += problem["beta_2"] * s2 * np.sum(named["W2"] ** 2) / p2
        return total + problem["beta_2"] * normal_kl(0, variance, p2).sum()
    held = problem["encoder_std"]
    dim = problem["latent_dim"]
    variance = np.full(dim, held**2) if held else np.exp(2 * named["log_std"])
    if problem["kind"] == "linear_vae":
        pairs = [(np.zeros(0), y) for y in samples_of(moment)]
        first, second = np.zeros((dim, 0)), named["W1"]
        direct = np.zeros((len(moment), 0))
    else:
        r = problem["correlation"]
        both = np.block([[moment, r * moment], [r * moment, moment]])
        pairs = [np.split(point, 2) for point in samples_of(both)]
        first, second, direct = named["W1"], named["W2"], named["U2"]
    total = np.sum(named["U1"] ** 2 * variance) / e2
    for x, y in pairs:
        mean = first @ x + second @ y
        error = y - named["U1"] @ mean - direct @ x
        kl = normal_kl(mean, variance, p2).sum()
        total += (np.sum(error**2) / e2 + problem["beta"] * kl) / len(pairs)
    return total


@FEW
@given(batches())
def test_the_objective_is_an_expectation_over_points(batch):
    problems, problem, start = batch
    for place, value in enumerate(problem.objective(start)):
        named = {name: tensor[place].numpy() for name, tensor in start.named.items()}
        assert value == pytest.approx(numpy_objective(problems[place], named), rel=1e-8)


@FEW
@given(batches())
def test_the_gradient_is_that_of_autograd(batch):
    _, problem, start = batch
    found, expected = problem.gradient(start), Problem.gradient(problem, start)
    assert list(found.named) == list(expected.named)
    for one, other in zip(found.tensors(), expected.tensors(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_x_may_have_other_dimensions_than_y():
    numbers = torch.randn(5, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    moment = numbers @ numbers.T
    ones = torch.ones(2, dtype=torch.float64)
    problem = LinearCVAE(moment.expand(2, -1, -1), 2, 0.3 * ones, 0.7 * ones, ones, given=2)
    end = lbfgs(problem, problem.initial([0, 1], 0.3), 1e-10, 4000)
    left = conditional(moment, 2)
    inverse = torch.linalg.inv(moment)
    # The inverse of the conditional second moment is a block of that of all.
    torch.testing.assert_close(left, torch.linalg.inv(inverse[2:, 2:]))
    values = torch.linalg.eigvalsh(left).tolist()
    answer = predict(
        model="cvae", conditional_covariance_eigenvalues=values, latent_dim=2, beta=0.3,
        decoder_std=0.7,
    )  # fmt: skip
    assert end.objective[:, -1].tolist() == pytest.approx([answer["loss"]] * 2, abs=1e-9)


@pytest.mark.parametrize("problem", [VAE, VAE | {"encoder_std": 0.5}, CVAE, MHVAE,
                                     MHVAE | {"latent_dim_2": 1}])  # fmt: skip
def test_a_minimum_is_the_closed_form_and_is_measured_as_it(problem):
    batch = build(*[problem] * 3)
    end = lbfgs(batch, batch.initial([0, 1, 2], 0.3), 1e-11, 5000).state(-1)
    answer = of_run({"problem": problem}, {})
    assert batch.objective(end).tolist() == pytest.approx([answer["loss"]] * 3, abs=1e-9)
    for name, values in batch.posterior(end):
        if name in answer:
            expected = torch.tensor(answer[name], dtype=torch.float64)
            found = values.double()
            torch.testing.assert_close(found, expected.expand_as(found), rtol=1e-4, atol=1e-4)
    measured_names = {name for name, _ in batch.posterior(end)}
    assert set(answer) - measured_names <= {"loss", "margin", "case", "omega", "lambda"}


def test_newton_follows_narrow_valleys_to_the_closed_form():
    # Second derivatives of 1e-3 beside 1e3, and saddles on the way.
    problem = CVAE | {"decoder_std": 0.25, "beta": 0.1}
    batch = build(*[problem] * 8)
    end = newton(batch, batch.initial(range(8), 0.3), 1e-9, 100).state(-1)
    assert max(slope.abs().max() for slope in batch.gradient(end).tensors()) < 1e-9
    loss = of_run({"problem": problem}, {})["loss"]
    assert batch.objective(end).tolist() == pytest.approx([loss] * 8, abs=1e-12)


def test_where_x_is_y_nothing_is_left_to_latents():
    batch = build(*[CVAE | {"correlation": 1.0}] * 2)
    end = lbfgs(batch, batch.initial([0, 1], 0.3), 1e-11, 5000).state(-1)
    found = dict(batch.posterior(end))
    assert found["active"].tolist() == [0, 0] and found["KL"].max() < 1e-10
    assert batch.objective(end).max() < 1e-10


def test_a_slice_is_the_same_problems_alone():
    problems = [CVAE | {"beta": beta} for beta in (0.5, 1.0, 2.0)]
    batch = build(*problems)
    start = batch.initial([4, 5, 6], 0.3)
    alone = batch.select(slice(1, 3))
    part = start.map(lambda tensor: tensor[1:3])
    assert alone.batch == 2 and alone.given == batch.given
    assert torch.equal(alone.objective(part), batch.objective(start)[1:3])


# Moments


def test_moments_are_what_they_are_called():
    moment = second_moment([4.0, 1.0, 0.25])
    assert torch.equal(moment, second_moment([4.0, 1.0, 0.25])) and torch.equal(moment, moment.T)
    values = torch.linalg.eigvalsh(moment)
    torch.testing.assert_close(values, torch.tensor([0.25, 1.0, 4.0], dtype=torch.float64))
    assert moment[0, 1].abs() > 1e-3
    torch.testing.assert_close(root(moment) @ root(moment), moment)
    for r in (0.0, 0.6, 1.0):
        both = correlated_moment(moment, r)
        torch.testing.assert_close(conditional(both, 3), (1 - r**2) * moment)


# Adam


def test_adam_is_that_of_pytorch():
    batch = build(MHVAE, MHVAE | {"beta_1": 0.3})
    start, rates = batch.initial([0, 1], 0.3), torch.tensor([0.02, 0.05], dtype=torch.float64)
    found = adam(batch, start, rates, 40, [0, 1, 7, 40])
    assert found.steps == (0, 1, 7, 40)
    for place, rate in enumerate(rates.tolist()):
        single = batch.select(slice(place, place + 1))
        leaves = start.map(lambda t, p=place: t[p : p + 1].clone().requires_grad_())
        optimiser = torch.optim.Adam(leaves.tensors(), lr=rate)
        for _ in range(40):
            optimiser.zero_grad()
            single.objective(leaves).sum().backward()
            optimiser.step()
        for name, tensor in leaves.named.items():
            last = found.parameters.named[name][place, -1]
            torch.testing.assert_close(last, tensor[0].detach(), rtol=1e-7, atol=1e-9)
    assert torch.equal(found.objective[:, 0], batch.objective(start))


def test_adam_notes_a_divergence_of_one_problem_alone():
    batch = build(VAE, VAE)
    start = batch.initial([0, 1], 0.3)
    start = start.replaced(U1=start.named["U1"] * torch.tensor([1.0, 1e200]).view(2, 1, 1))
    found = adam(batch, start, torch.full((2,), 0.01, dtype=torch.float64), 150, [0, 1, 150])
    assert found.diverged_step.tolist() == [-1, 0]
    assert found.objective[0].isfinite().all() and not found.objective[1].isfinite().any()


# From the config


def atlas_of(**changes):
    problem = {
        "kind": "linear_cvae", "covariance_eigenvalues": [3.0, 1.0], "latent_dim": 2,
        "correlation": 0.5,
    } | changes.pop("problem", {})  # fmt: skip
    block = {
        "problem": problem,
        "optimiser": [
            {"kind": "adam", "learning_rate": 0.05, "steps": 200},
            {"kind": "lbfgs", "steps": 500, "tolerance": 1e-10},
        ],
        "seeds": 2,
    } | changes  # fmt: skip
    user = {"scale": "smoke", "first_seed": 1, "posterior_collapse": {"mine": block}}
    return config.load(CONFIG, user, "my.yaml")


def test_from_config_to_tables_problems_of_all_numbers_share_a_job(tmp_path):
    grid = {"problem.beta": [0.5, 2.0], "problem.correlation": [0.0, 0.9],
            "problem.prior_std": [0.5, 2.0]}  # fmt: skip
    atlas = atlas_of(grid=grid)
    table = measured(tmp_path, atlas, "posterior_collapse", "mine")
    states, runs, history = states_of(tmp_path, "mine", "posterior_collapse")
    assert len(runs) == 16 and set(history.columns) >= {"objective", "gradient_norm"}
    job = jobs.predictions(atlas, "posterior_collapse", "mine")
    make(tmp_path, "posterior_collapse/mine/predictions.parquet", job)
    closed = read_table(tmp_path / "posterior_collapse/mine/predictions.parquet")
    keys = ["beta", "correlation", "prior_std", "seed"]
    last = table[table["step"] == table.groupby(keys)["step"].transform("max")]
    assert (table["layer"] == "all").all()
    for name, tolerance in (("KL", 1e-6), ("active", 0), ("decoder_singular_values[0]", 1e-5)):
        pairs = last[last["metric"] == name].merge(
            closed[closed["metric"] == name], on=keys, suffixes=("", "_closed")
        )
        assert len(pairs) == 16
        np.testing.assert_allclose(pairs["value"], pairs["value_closed"], atol=tolerance)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        ({"latent_dim": 3}, ["mine.problem.latent_dim: 3 found", "up to 2"]),
        ({"correlation": 1.1}, ["mine.problem.correlation", "less than or equal to 1"]),
        ({"beta": 0}, ["mine.problem.beta", "greater than 0"]),
        ({"decoder_std": -1.0}, ["mine.problem.decoder_std", "greater than 0"]),
        ({"prior_std": 0.0}, ["mine.problem.prior_std", "greater than 0"]),
        ({"encoder_std": 0.0}, ["mine.problem.encoder_std", "greater than 0"]),
        ({"covariance_eigenvalues": []}, ["mine.problem.covariance_eigenvalues"]),
        ({"covariance_eigenvalues": [1.0, -0.1]}, ["covariance_eigenvalues"]),
        ({"beta_1": 1.0}, ["mine.problem.beta_1"]),
    ],
)
def test_what_makes_no_problem_is_refused_at_planning_in_one_line(problem, words):
    with pytest.raises(InputError) as error:
        atlas_of(problem=problem)
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words), error.value


def test_two_levels_have_no_more_variables_above_than_below():
    two = {k: v for k, v in MHVAE.items() if k != "kind"} | {"latent_dim_2": 3}
    block = {"problem": two | {"kind": "linear_mhvae"}, "seeds": 1,
             "optimiser": {"kind": "lbfgs", "steps": 5}}  # fmt: skip
    user = {"scale": "smoke", "posterior_collapse": {"mine": block}}
    with pytest.raises(InputError, match="latent_dim_2: 3 found, allowed are up to latent_dim, 2"):
        config.load(CONFIG, user, "my.yaml")


def test_the_probe_wants_a_linear_autoencoder():
    network = {
        "data": {"name": "digits"}, "model": {"kind": "mlp", "hidden": [4]}, "loss": "mse",
        "head": {"depth": 1}, "weight_decay": 0.0, "feature_decay": 0.0, "probes": ["posterior"],
        "training": {"optimiser": "adam", "learning_rate": 0.1, "epochs": 1, "batch_size": 8},
        "seeds": 1,
    }  # fmt: skip
    user = {"scale": "smoke", "posterior_collapse": {"mine": network}}
    with pytest.raises(InputError, match=r"probes.0.kind: posterior found, it measures problems"):
        config.load(CONFIG, user, "my.yaml")
    free = {"kind": "perturbation", "classes": 2, "samples_per_class": 2, "dim": 2, "beta": 1.0}
    config_of_free = {"problem": free, "weight_decay": 0.1, "feature_decay": 0.1}
    state = State(config=config_of_free, tensors={})
    with pytest.raises(InputError, match="a state of a linear autoencoder is needed"):
        list(rows(state, {}))
