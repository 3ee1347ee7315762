"""The regression study's machinery: free features, metrics, data, training, config and stages."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from collapse import config, jobs
from collapse.artifacts import read_table, read_tensors, write_tensors
from collapse.cli import main
from collapse.config.sections.procedure import problem as problem_procedure
from collapse.config.slots import kinds
from collapse.data import dataset
from collapse.errors import InputError
from collapse.grid import expand, tied
from collapse.metrics import checks, measure, targets
from collapse.metrics.regression import nrc3_at
from collapse.metrics.targets import (
    fit_readings,
    regression_readings,
    residual_points,
    target_readings,
)
from collapse.models.network import build
from collapse.problems import regression
from collapse.problems.chunks import chunks
from collapse.problems.solvers.lbfgs import lbfgs
from collapse.problems.solvers.sgd import gradient_descent
from collapse.schedule import log_spaced
from collapse.theory.regression import predict
from collapse.training import ensemble as ensemble_module
from collapse.training import history as history_module
from collapse.training.checkpoints import Checkpoints
from collapse.training.ensemble import Ensemble
from collapse.training.objective import Objective
from collapse.training.samples import Samples, held_out, training_set
from collapse.training.trainer import Trainer, train
from conftest import write_spec

CPU = torch.device("cpu")
FEW = settings(derandomize=True, max_examples=25, deadline=None, database=None)


# The problem over free features


@st.composite
def covariances(draw, most=4, singular=True):
    """Draw an n x n covariance Q diag(lambda) Q^T; singular ones have variances of zero."""
    n = draw(st.integers(1, most))
    generator = np.random.default_rng(draw(st.integers(0, 2**31)))
    least = -1 if singular else 0
    powers = draw(st.lists(st.integers(least, 3), min_size=n, max_size=n))
    variances = np.array([0.0 if power < 0 else 0.1 * 3.0**power for power in powers])
    axes = np.linalg.qr(generator.standard_normal((n, n))).Q
    matrix = (axes * variances) @ axes.T
    return (matrix + matrix.T) / 2


def problem_of(covariance, samples=20, dim=6, mean=None, bias=True):
    return {
        "kind": "regression",
        "target_covariance": np.asarray(covariance).tolist(),
        "target_mean": mean,
        "samples": samples,
        "dim": dim,
        "bias": bias,
        "init_scale": 0.3,
    }


def built(problem, decays):
    """A batch of problems, one for each (weight_decay, feature_decay)."""
    configs = [
        {"problem": problem, "weight_decay": weight, "feature_decay": feature}
        for weight, feature in decays
    ]
    return regression.build(configs)


@FEW
@given(covariances(), st.integers(1, 30), st.booleans())
def test_targets_have_exactly_the_mean_and_covariance(covariance, more, centred):
    n = len(covariance)
    mean = None if centred else np.linspace(-3, 2, n).tolist()
    targets = regression.draw_targets(problem_of(covariance, n + more, mean=mean)).numpy()
    assert targets.shape == (n, n + more) and targets.dtype == np.float64
    tolerance = 1e-13 * (1 + np.trace(covariance))
    np.testing.assert_allclose(targets.mean(1), mean or [0.0] * n, rtol=0, atol=tolerance)
    np.testing.assert_allclose(
        np.atleast_2d(np.cov(targets, ddof=0)), covariance, rtol=0, atol=tolerance
    )


def test_targets_are_the_same_for_every_seed_and_are_the_answers():
    problem = problem_of([[1.0, 0.3], [0.3, 0.5]], mean=[1.0, -1.0])
    batch = built(problem, [(0.1, 0.2), (0.3, 0.4)])
    answers = regression.answers({"problem": problem})
    assert answers.shape == (20, 2) and answers.is_contiguous()
    assert torch.equal(answers.T, batch.targets)
    starts = batch.initial([0, 1], 0.3)
    assert not torch.equal(starts.features[0], starts.features[1])


def formula(w, h, bias, y, weight_decay, feature_decay):
    """1/(2M) ||W H + b 1' - Y||^2 + feature_decay/(2M) ||H||^2 + weight_decay/2 ||W||^2."""
    samples = y.shape[1]
    error = w @ h + (0 if bias is None else bias[:, None]) - y
    return (
        np.sum(error**2) / (2 * samples)
        + feature_decay / (2 * samples) * np.sum(h**2)
        + weight_decay / 2 * np.sum(w**2)
    )


@FEW
@given(
    covariances(), st.integers(1, 30), st.integers(0, 4), st.booleans(), st.integers(0, 2**31 - 9)
)
def test_objective_is_the_formula_before_and_after_reduction(covariance, more, wider, bias, seed):
    n, decays = len(covariance), [(0.3, 0.7), (0.0, 0.05)]
    mean = np.linspace(1, 2, n).tolist()
    problem = built(problem_of(covariance, n + more, n + wider, mean, bias), decays)
    start = problem.initial([seed, seed + 1], 0.8)
    assert (start.bias is None) == (not bias)
    smaller, inside, basis = problem.reduced(start)
    # The reduction's own columns hold at most Y, 1 and H, in units of sqrt(M).
    assert smaller.targets.shape[1] <= min(n + more, 2 * n + wider + 1)
    torch.testing.assert_close(inside.features @ basis, start.features, rtol=1e-11, atol=1e-11)
    generator = torch.Generator().manual_seed(seed)
    random = inside.map(lambda t: torch.randn(t.shape, generator=generator, dtype=t.dtype))
    y = problem.targets.numpy()
    for point in (inside, random):
        full = point.replaced(H=point.features @ basis)
        found, small = problem.objective(full), smaller.objective(point)
        for index, decay in enumerate(decays):
            b = full.bias[index].numpy() if bias else None
            w, h = full.weights[0][index].numpy(), full.features[index].numpy()
            expected = formula(w, h, b, y, *decay)
            assert found[index].item() == pytest.approx(expected, rel=1e-12)
            assert small[index].item() == pytest.approx(expected, rel=1e-11)


@settings(FEW, max_examples=15)
@given(
    covariances(),
    st.sampled_from(["bias", "mean", "centred"]),
    st.sampled_from([1, 0.2, 9]),
    st.floats(0.05, 1.3),
    st.integers(0, 2**31),
)
def test_lbfgs_reaches_the_closed_form(covariance, kind, balance, share, seed):
    n, bias = len(covariance), kind == "bias"
    assume(covariance.any())
    mean = None if kind == "centred" else np.linspace(-1, 0.5, n).tolist()
    moment = covariance if bias or mean is None else covariance + np.outer(mean, mean)
    variances = np.linalg.eigvalsh(moment)
    c = share * variances[-1]
    # At a threshold the optimum is degenerate and W W^T settles slowly.
    assume((np.abs(variances - c) > 0.05 * c).all())
    decays = np.sqrt(c * balance), np.sqrt(c / balance)
    problem = built(problem_of(covariance, 25, n + 2, mean, bias), [decays])
    found = lbfgs(problem, problem.initial([seed], 0.3), 1e-11, 5000)
    expected = predict(
        target_covariance=moment.tolist(),
        weight_decay=decays[0],
        feature_decay=decays[1],
        bias=bias,
    )
    assert found.objective[0, -1].item() == pytest.approx(expected["loss"], rel=1e-10)
    state = found.state(len(found.steps) - 1)
    w, h = state.weights[0][0].numpy(), state.features[0].numpy()
    scale = np.sqrt(variances[-1] * decays[1] / decays[0])
    np.testing.assert_allclose(w @ w.T, expected["gram"], rtol=0, atol=1e-6 * scale)
    b = state.bias[0].numpy() if bias else None
    if bias and mean is not None:
        np.testing.assert_allclose(b + w @ h.mean(1), mean, rtol=0, atol=1e-7)
    value = formula(w, h, b, problem.targets.numpy(), *decays)
    assert value == pytest.approx(expected["loss"], rel=1e-10)


def drift(rate, decay):
    """How far gradient descent over one time carries W^T W - H H^T/M from where it began."""
    problem = built(problem_of([[1.0, 0.3], [0.3, 0.5]], 30, 5), [(decay, 0.0)])
    start = problem.initial([4], 0.5)
    steps = round(2 / rate)
    path = gradient_descent(problem, start, torch.tensor([rate]).double(), 0.0, steps, [0, steps])
    conserved, moved = [], []
    for state in (path.state(0), path.state(1)):
        w, h = state.weights[0][0], state.features[0]
        conserved.append(w.T @ w - h @ h.T / 30)
        moved.append(w.T @ w)
    return [(after - before).norm().item() for before, after in (conserved, moved)]


def test_without_decay_small_steps_conserve_the_imbalance():
    (coarse, moved), (fine, _), (finest, _) = (drift(rate, 0.0) for rate in (0.02, 0.01, 0.005))
    assert 0 < finest < fine < coarse < 0.02 * moved
    # An error of first order in the step.
    assert coarse / fine == pytest.approx(2, rel=0.1)
    assert fine / finest == pytest.approx(2, rel=0.1)
    assert drift(0.005, 0.1)[0] > 20 * finest


def cores_of(problem, runs, **optimiser):
    """What a job of so many runs asks for."""
    asked = problem_procedure.Section(
        problem=problem, optimiser=optimiser, weight_decay=0.1, feature_decay=0.1, seeds=1
    )
    return asked.resources(runs).cores


@pytest.mark.parametrize(
    ("samples", "dim", "runs", "cores"),
    [(12, 10, 100, 1), (5000, 10, 1600, 1), (5000, 10, 1650, 2), (5000, 200, 20, 3)],
)
def test_cores_of_a_regression_are_the_chunks_of_its_reduction(samples, dim, runs, cores):
    problem = problem_of(np.eye(4), samples, dim)
    batch = built(problem, [(0.1, 0.1)] * runs)
    _, start, _ = batch.select(slice(0, 1)).reduced(batch.select(slice(0, 1)).initial([0], 0.1))
    each = 2 * sum(tensor.nbytes for tensor in start.tensors())
    assert len(chunks(runs, each)) == cores
    assert cores_of(problem, runs, kind="sgd", learning_rate=0.1, steps=9) == cores
    assert cores_of(problem, runs, kind="lbfgs", steps=9) == 1


# Metrics


def readings(found):
    """Readings by layer and metric; none may come twice."""
    found = list(found)
    named = {(layer, metric): value for layer, metric, value in found}
    assert len(named) == len(found) and all(type(value) is float for value in named.values())
    return named


def upper(name, matrix):
    """The entries of a symmetric matrix as readings spell them."""
    return {
        f"{name}[{i},{j}]": matrix[i, j] for i in range(len(matrix)) for j in range(i, len(matrix))
    }


def unit(matrix):
    return matrix / np.linalg.norm(matrix)


def nrc3_reference(gram, sigma, c):
    """NRC3 at c: the closed form's frame, directions below c left out."""
    values, axes = np.linalg.eigh(sigma)
    frame = (axes * np.maximum(np.sqrt(np.maximum(values, 0)) - np.sqrt(c), 0)) @ axes.T
    return np.linalg.norm(unit(gram) - unit(frame)) ** 2


@FEW
@given(
    st.integers(1, 4),
    st.integers(0, 4),
    st.integers(6, 40),
    st.booleans(),
    st.sampled_from([(0.0, 0.0), (0.3, 0.02), (0.0, 0.5)]),
    st.integers(0, 2**31),
)
def test_readings_of_a_head_are_their_definitions(n, wider, samples, bias, decays, seed):
    generator = np.random.default_rng(seed)
    h = generator.standard_normal((samples, n + wider)) + generator.standard_normal(n + wider)
    y = generator.standard_normal((samples, n)) @ generator.standard_normal((n, n)) + 1
    w, b = generator.standard_normal((n, n + wider)), generator.standard_normal(n)
    given = [torch.from_numpy(each) for each in (h, y, w)]
    found = readings(regression_readings(*given, torch.from_numpy(b) if bias else None, decays))
    error = h @ w.T + (b if bias else 0) - y
    squares = np.sum(h**2) / samples
    centred = y - y.mean(0)
    total = formula(w, h.T, b if bias else None, y.T, *decays)
    expected = {
        "r2": 1 - np.sum(error**2) / np.sum(centred**2),
        "mse": np.mean(error**2),
        "mse_sum": np.sum(error**2) / samples,
        "loss": total,
        **upper("residual_covariance", error.T @ error / samples),
    }
    everywhere = {metric: value for (layer, metric), value in found.items() if layer == "all"}
    assert everywhere == pytest.approx(expected, rel=1e-9, abs=1e-12)
    own = {metric: value for (layer, metric), value in found.items() if layer == "H1"}
    assert len(own) + len(everywhere) == len(found)
    lengths = np.linalg.norm(h, axis=1).mean()
    expected = {
        "weight_norm_squared": np.sum(w**2),
        "feature_norm_squared_mean": squares,
        "mean_feature_ratio": np.linalg.norm(h.mean(0)) / lengths,
        **upper("gram", w @ w.T),
    }
    assert {name: own.pop(name) for name in expected} == pytest.approx(expected, rel=1e-9)
    moment = centred.T @ centred / samples if bias else y.T @ y / samples
    c = decays[0] * decays[1]
    at_c = own.pop("NRC3_c", None)
    if n == 1 or np.linalg.eigvalsh(moment)[-1] <= c:
        assert at_c is None
    else:
        assert at_c == pytest.approx(nrc3_reference(w @ w.T, moment, c), rel=1e-8, abs=1e-12)
    # The rest is what `measure` says of the same tensors, lists entry by entry.
    told = measure(given[0], targets=given[1], weight=given[2], bias=torch.from_numpy(b))
    shares = told.pop("explained_variance_ratio")
    told |= {f"explained_variance_ratio[{k}]": share for k, share in enumerate(shares)}
    for name in ("r2", "mse"):
        told.pop(name)
    assert own == pytest.approx({name: value for name, value in told.items() if value is not None})
    assert ("NRC3" in own) == (n > 1)


def optimum(covariance, decays, samples=30, dim=6, mean=None):
    """The global minimum in numpy: features, targets, weight; the bias is the mean."""
    weight_decay, feature_decay = decays
    problem = problem_of(covariance, samples, dim, mean)
    y = regression.draw_targets(problem).numpy()
    values, axes = np.linalg.eigh(np.asarray(covariance))
    signal = np.maximum(np.sqrt(values) - np.sqrt(weight_decay * feature_decay), 0)
    frame = np.linalg.qr(np.random.default_rng(1).standard_normal((dim, len(values)))).Q.T
    w = (feature_decay / weight_decay) ** 0.25 * (axes * np.sqrt(signal)) @ frame
    centre = y.mean(1, keepdims=True)
    inverse = (axes / np.sqrt(values)) @ axes.T
    h = np.sqrt(weight_decay / feature_decay) * w.T @ inverse @ (y - centre)
    return h.T, y.T, w


# Eigenvalues 0.2 and 1.2, axes that are no coordinate axes.
SIGMA = np.array([[0.84, 0.48], [0.48, 0.56]])
AXES = np.linalg.qr(np.random.default_rng(7).standard_normal((3, 3))).Q
# Eigenvalues 0.2, 0.6 and 1.2.
THREE = (AXES * [0.2, 0.6, 1.2]) @ AXES.T


@pytest.mark.parametrize(
    ("sigma", "decays", "rank"),
    [
        (SIGMA, (0.1, 0.4), 2),
        (SIGMA, (0.5, 0.3), 2),
        (SIGMA, (1.0, 0.3), 1),
        (SIGMA, (2.0, 0.55), 1),
        (THREE, (0.5, 0.3), 3),
        (THREE, (1.0, 0.4), 2),
        (THREE, (2.0, 0.55), 1),
    ],
)
def test_at_the_optimum_all_readings_are_the_closed_form(sigma, decays, rank):
    sigma, c = (sigma + sigma.T) / 2, decays[0] * decays[1]
    mean = [1.0, -2.0, 0.5][: len(sigma)]
    h, y, w = (torch.from_numpy(each) for each in optimum(sigma, decays, mean=mean))
    found = readings(regression_readings(h, y, w, y.mean(0), decays))
    expected = predict(
        target_covariance=sigma.tolist(), weight_decay=decays[0], feature_decay=decays[1]
    )
    assert expected["rank"] == rank
    for name in ("NRC3_c", "NRC1", "NRC2"):
        assert found["H1", name] == pytest.approx(0, abs=1e-20)
    if rank == len(sigma):
        # Within its range of gamma NRC3 finds c.
        assert found["H1", "NRC3"] < 1e-20
        assert found["H1", "gamma"] == pytest.approx(c, rel=1e-6)
    elif len(sigma) == 3:
        # Beyond it only NRC3_c knows the closed form.
        assert found["H1", "NRC3"] > 1e-3
    for name in ("weight_norm_squared", "feature_norm_squared_mean"):
        assert found["H1", name] == pytest.approx(expected[name])
    for name in ("loss", "mse_sum", "r2"):
        assert found["all", name] == pytest.approx(expected[name])
    values, axes = np.linalg.eigh(sigma)
    left = (axes * np.minimum(values, c)) @ axes.T
    for name, value in upper("residual_covariance", left).items():
        assert found["all", name] == pytest.approx(value, abs=1e-12)
    for name, value in upper("gram", np.array(expected["gram"])).items():
        assert found["H1", name] == pytest.approx(value, abs=1e-12)


def test_nrc3_at_c_is_undefined_where_nothing_is_left():
    weight, sigma = torch.eye(2, 3).double(), torch.from_numpy(SIGMA)
    for gamma in (0.0, 1.19):
        assert nrc3_at(weight, sigma, gamma) == pytest.approx(
            nrc3_reference(np.eye(2), SIGMA, gamma)
        )
    assert nrc3_at(weight, sigma, 1.21) is None
    assert nrc3_at(0 * weight, sigma, 0.1) is None
    assert nrc3_at(weight[:1], sigma[:1, :1], 0.1) is None


def test_nrc3_at_c_of_a_singular_covariance():
    sigma = torch.tensor([[1.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    along = torch.tensor([[2.0, 0.0], [2.0, 0.0]], dtype=torch.float64)
    assert nrc3_at(along, sigma, 0.3) == pytest.approx(0, abs=1e-14)
    # G/|G| = I/sqrt(2) against (1 1')/2: 2 - 2 <., .> = 2 - sqrt(2).
    assert nrc3_at(torch.eye(2).double(), sigma, 0.3) == pytest.approx(2 - np.sqrt(2))


@FEW
@given(st.integers(1, 3), st.integers(2, 30), st.integers(0, 2**31))
def test_fit_and_targets_are_their_definitions(n, samples, seed):
    generator = np.random.default_rng(seed)
    z, y = generator.standard_normal((2, samples, n)) + 3
    found = readings(fit_readings(torch.from_numpy(z).float(), torch.from_numpy(y)))
    z = z.astype(np.float32).astype(np.float64)
    r2 = 1 - np.sum((z - y) ** 2) / np.sum((y - y.mean(0)) ** 2)
    assert found == pytest.approx(
        {("all", "test_mse"): np.mean((z - y) ** 2), ("all", "test_r2"): r2}, rel=1e-9
    )
    found = readings(target_readings(torch.from_numpy(y)))
    assert found.pop(("all", "samples")) == samples
    sigma = np.atleast_2d(np.cov(y.T, ddof=0))
    expected = {("all", name): each for name, each in upper("target_covariance", sigma).items()}
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_held_out_targets_that_do_not_vary_have_no_r2():
    found = readings(fit_readings(torch.zeros(4, 2), torch.ones(4, 2)))
    assert found == {("all", "test_mse"): 1.0}


@pytest.mark.parametrize("samples", [3, targets.SCATTER, targets.SCATTER + 1, 1001])
@pytest.mark.parametrize("bias", [False, True])
def test_residuals_of_evenly_spaced_samples(samples, bias):
    generator = np.random.default_rng(0)
    h, y = generator.standard_normal((samples, 5)), generator.standard_normal((samples, 2)) + 4
    w, b = generator.standard_normal((2, 5)), generator.standard_normal(2)
    given = [torch.from_numpy(each) for each in (h, y, w, b)]
    found = pd.DataFrame(residual_points(*given[:3], given[3] if bias else None))
    count = min(samples, targets.SCATTER)
    chosen = [k * samples // count for k in range(count)]
    error = (h @ w.T + (b if bias else 0) - y)[chosen]
    centred = (y - y.mean(0))[chosen]
    assert list(found) == ["sample", "output", "target", "residual"] and len(found) == 2 * count
    assert found["sample"].tolist() == [k for k in range(count) for _ in range(2)]
    assert found["output"].tolist() == [0, 1] * count
    for name, values in (("residual", error), ("target", centred)):
        np.testing.assert_allclose(found[name], values.flatten(), rtol=1e-12, atol=1e-12)


@FEW
@given(st.floats(1e-3, 1e6), st.sampled_from([-1, 1]), st.integers(2, 9), st.booleans())
def test_a_target_that_varies_by_rounding_only_is_refused(value, sign, samples, rounded):
    given = torch.randn(samples, 2, generator=torch.Generator().manual_seed(0)).double()
    given[:, 1] = sign * value
    if rounded:
        given[0, 1] = np.nextafter(sign * value, np.inf)
    with pytest.raises(InputError, match="targets: column 1 has zero variance"):
        checks.check_spread(given)
    given[0, 1] = sign * value * (1 + 1e-9)
    checks.check_spread(given)


# Data


def table(samples=12, test=5, inputs=3, outputs=2, seed=0):
    """A regression as `collapse data` writes it; its second input is constant in training."""
    generator = np.random.default_rng(seed)
    arrays = {}
    for part, size in (("train", samples), ("test", test)):
        values = generator.standard_normal((size, inputs)) * [3, 1, 0.5] + [1, 0, -2]
        if part == "train":
            values[:, 1] = 7.0
        arrays[f"{part}_inputs"] = values
        arrays[f"{part}_targets"] = generator.standard_normal((size, outputs)) * 2 + 5
    return arrays


def write(path, arrays, names=None):
    names = names or [f"y{i}" for i in range(arrays["train_targets"].shape[1])]
    write_tensors(path, arrays, {}, {"name": "toy", "inputs": ["a"], "targets": names})
    return path


@pytest.fixture
def toy(tmp_path):
    def make(arrays):
        return dataset.load(write(tmp_path / "toy.safetensors", arrays))

    return make


def test_a_regression_is_raw_by_default(toy):
    arrays = table()
    read = toy(arrays)
    assert read.regression and read.outputs == ("y0", "y1")
    for choice in ({}, {"samples": None, "standardise": []}):
        found = dataset.prepare(read, choice)
        for part, images, values in (
            ("train", found.inputs, found.targets),
            ("test", found.test_inputs, found.test_targets),
        ):
            np.testing.assert_array_equal(images[:, :, 0, 0], arrays[f"{part}_inputs"])
            np.testing.assert_array_equal(values, arrays[f"{part}_targets"])
        pixels, values = training_set(read, choice, CPU)
        assert pixels.take(slice(None)).dtype == values.dtype == torch.float32
        np.testing.assert_allclose(
            pixels.take(slice(None))[:, :, 0, 0], arrays["train_inputs"], rtol=1e-6
        )


@FEW
@given(st.integers(2, 60), st.data())
def test_samples_are_evenly_spaced(available, data):
    wanted = data.draw(st.integers(2, available))
    values = np.arange(float(available))
    read = dataset.Dataset(
        inputs=values[:, None, None, None],
        targets=values[:, None],
        test_inputs=values[:3, None, None, None],
        test_targets=values[:3, None],
        mean=(0.0,),
        std=(1.0,),
        maximum=1,
        outputs=("y",),
    )
    found = dataset.prepare(read, {"samples": wanted})
    chosen = found.targets[:, 0]
    assert len(chosen) == wanted and chosen[0] == 0
    np.testing.assert_array_equal(found.inputs[:, 0, 0, 0], chosen)
    gaps = np.diff([*chosen, available])
    assert set(gaps) <= {available // wanted, -(-available // wanted)}
    assert len(found.test_targets) == min(3, available)


@pytest.mark.parametrize("wanted", [["inputs"], ["targets"], ["inputs", "targets"]])
@pytest.mark.parametrize("samples", [None, 7])
def test_standardised_data_have_mean_0_and_variance_1(toy, wanted, samples):
    arrays = table()
    found = dataset.prepare(toy(arrays), {"standardise": wanted, "samples": samples})
    rows = np.arange(samples or 12) * 12 // (samples or 12)
    for kind, own, test in (
        ("inputs", found.inputs[:, :, 0, 0], found.test_inputs[:, :, 0, 0]),
        ("targets", found.targets, found.test_targets),
    ):
        given, held = arrays[f"train_{kind}"][rows], arrays[f"test_{kind}"]
        if kind not in wanted:
            np.testing.assert_array_equal(own, given)
            np.testing.assert_array_equal(test, held)
            continue
        varying = [0, 2] if kind == "inputs" else [0, 1]
        np.testing.assert_allclose(own.mean(0), 0, atol=1e-13)
        np.testing.assert_allclose(own[:, varying].std(0), 1, rtol=1e-13)
        # The held-out samples are in the units of the training samples, not in their own.
        mean, deviation = given.mean(0), given.std(0)
        np.testing.assert_allclose(
            test[:, varying], ((held - mean) / np.where(deviation, deviation, 1))[:, varying]
        )
        if kind == "inputs":
            assert (own[:, 1] == 0).all()
            np.testing.assert_allclose(test[:, 1], held[:, 1] - 7)
    images, values = held_out(toy(arrays), {"standardise": wanted, "samples": samples}, CPU)
    np.testing.assert_allclose(values, found.test_targets, rtol=1e-6)
    np.testing.assert_allclose(images.take(slice(None)), found.test_inputs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("value", [0.1, 0.7, 1 / 3])
def test_a_constant_input_becomes_0_whatever_it_is(toy, value):
    arrays = table(samples=11)
    arrays["train_inputs"][:, 1] = value
    found = dataset.prepare(toy(arrays), {"standardise": ["inputs"]})
    np.testing.assert_allclose(found.inputs[:, 1], 0, atol=1e-12)


def test_what_cannot_be_prepared_is_refused(toy):
    arrays = table()
    with pytest.raises(InputError, match=r"data.samples: 13 found, allowed are up to 12"):
        dataset.prepare(toy(arrays), {"samples": 13})
    # Constant over the samples that are chosen, though not over all.
    arrays["train_targets"][[0, 4, 8], 1] = 2.0
    dataset.prepare(toy(arrays), {})
    with pytest.raises(InputError, match="data: target 'y1' does not vary over 3 samples"):
        dataset.prepare(toy(arrays), {"samples": 3})


@pytest.mark.parametrize("value", [0.1, 0.7, 1 / 3])
def test_a_constant_target_is_refused_whatever_it_is(toy, value):
    arrays = table(samples=11)
    arrays["train_targets"][:, 0] = value
    with pytest.raises(InputError, match="target 'y0' does not vary over 11 samples"):
        dataset.prepare(toy(arrays), {})


# Training


MLP = {"kind": "mlp", "hidden": [8, 6], "normalisation": "none", "ending": "relu"}
MSE, SGD, ADAM = ({"kind": kind} for kind in ("mse", "sgd", "adam"))
SETTINGS = {
    "optimiser": SGD,
    "learning_rate": 0.02,
    "momentum": 0.9,
    "schedule": None,
    "epochs": 5,
    "batch_size": 4,
    "record": 3,
    "precision": "float32",
    "augmentation": [],
}


def network(seed=0, init="uniform", bias=True, **model):
    """A network from three inputs to two targets."""
    config = {"model": MLP | model, "head": {"depth": 1, "bias": bias, "init": init}}
    return build(config, (3, 1, 1), 2, seed)


@FEW
@given(
    st.integers(1, 3), st.integers(2, 9), st.integers(1, 4), st.booleans(), st.integers(0, 2**31)
)
def test_the_objective_of_real_targets_is_the_formula(members, samples, hidden, relu, seed):
    ending, generator = "relu" if relu else "linear", torch.Generator().manual_seed(seed)
    nets = [network(m, hidden=[4, hidden], ending=ending).double() for m in range(members)]
    inputs = torch.randn(members, samples, 3, 1, 1, generator=generator, dtype=torch.float64)
    y = torch.randn(members, samples, 2, generator=generator, dtype=torch.float64)
    weight, feature = [0.1 + m for m in range(members)], [0.3 * m for m in range(members)]
    # Of a regression the feature decay is a mean over the N samples, here all in one batch.
    objective = Objective(
        MSE,
        weight_decay=[[each] for each in weight],
        feature_decay=[each / samples for each in feature],
        backbone_decay=0.0,
        decayed="all",
        samples=samples,
    )
    ensemble = Ensemble(nets)
    bound = objective.bind(ensemble)
    with torch.no_grad():
        outputs, features = ensemble(inputs)
        data, penalty = bound.terms(outputs, features, y)
        total = data + penalty + bound.penalty()
        errors = bound.error(outputs, y)
    for m, net in enumerate(nets):
        h = features[m].numpy().T
        w, b = net.head.weights[0].detach().numpy(), net.head.bias.detach().numpy()
        expected = formula(w, h, b, y[m].numpy().T, weight[m], feature[m])
        assert total[m].item() == pytest.approx(expected, rel=1e-6)
        error = w @ h + b[:, None] - y[m].numpy().T
        assert data[m].item() == pytest.approx(np.sum(error**2) / (2 * samples), rel=1e-9)
        assert errors[m].item() == pytest.approx(np.mean(error**2), rel=1e-9)


def test_batches_of_real_targets_add_up_to_the_objective_of_the_set():
    net, samples = network().double(), 11
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(samples, 3, 1, 1, generator=generator, dtype=torch.float64)
    y = torch.randn(samples, 2, generator=generator, dtype=torch.float64)
    objective = Objective(MSE, 0.0, 0.7 / samples, 0.0, "all", samples)
    bound = objective.bind(Ensemble([net]))
    with torch.no_grad():
        outputs, features = net(inputs)
        total = 0.0
        for part in torch.arange(samples).split(4):
            data, penalty = bound.terms(*(each[part][None] for each in (outputs, features, y)))
            total += len(part) / samples * (data + penalty).item()
    w, b = net.head.weights[0].detach().numpy(), net.head.bias.detach().numpy()
    expected = formula(w, features.numpy().T, b, y.numpy().T, 0.0, 0.7)
    assert total == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("normalisation", ["none", "batch"])
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("decayed", ["all", "weights"])
def test_what_of_the_backbone_is_decayed(decayed, members, normalisation):
    model = {"normalisation": normalisation, "ending": "signed"}
    nets = [network(m, **model) for m in range(members)]
    for net in nets:
        for parameter in net.parameters():
            torch.nn.init.uniform_(parameter, 0.5, 1.0)
    ensemble = Ensemble(nets)
    bound = Objective(MSE, 0.3, 0.0, 0.2, decayed, 8).bind(ensemble)
    for parameter in ensemble.parameters.values():
        parameter.grad = torch.zeros_like(parameter)
    bound.add_penalty_gradient()
    total = torch.zeros(members)
    untouched = set()
    for name, parameter in ensemble.parameters.items():
        own = parameter.ndim - (members > 1)
        if name.startswith("backbone"):
            decay = 0.2 if own >= 2 or decayed == "all" else 0.0
        else:
            decay = 0.3 if name.endswith("weight") else 0.0
        torch.testing.assert_close(parameter.grad, decay * parameter.detach())
        if not decay:
            untouched.add(name)
        squares = parameter.detach().square().reshape(members, -1).sum(1)
        total += decay / 2 * squares
    torch.testing.assert_close(bound.penalty(), total)
    vectors = {name for name, each in nets[0].named_parameters() if each.ndim == 1}
    assert untouched == (vectors if decayed == "weights" else {"head.layers.0.bias"})


@pytest.mark.parametrize(
    ("ending", "last"), [("relu", torch.nn.ReLU), ("linear", torch.nn.Linear), ("signed", None)]
)
def test_endings_of_an_mlp(ending, last):
    backbone = network(ending=ending).backbone
    inputs = torch.randn(200, 3, 1, 1, generator=torch.Generator().manual_seed(1))
    features = backbone(inputs)
    assert features.shape == (200, 6) and backbone.dim == 6
    linear = [layer for layer in backbone.layers if isinstance(layer, torch.nn.Linear)]
    assert [(each.in_features, each.out_features) for each in linear] == [(3, 8), (8, 6)] + (
        [(6, 6)] if ending == "signed" else []
    )
    assert (features < 0).any() == (ending != "relu") and (features > 0).any()
    # Written out: ReLUs between the layers, and behind the last one only if it says so.
    values = inputs.flatten(1)
    for index, layer in enumerate(linear):
        values = layer(values)
        if ending == "relu" or index < len(linear) - 1:
            values = values.clamp_min(0)
    torch.testing.assert_close(features, values)
    assert last is None or isinstance(backbone.layers[-1], last)


@pytest.mark.parametrize("depth", [1, 2])
def test_a_uniform_head_is_within_its_bounds(depth):
    dim, outputs = 400, 30
    config = {"model": MLP | {"hidden": [5, dim]}}
    heads = {
        init: build(
            config | {"head": {"depth": depth, "bias": True, "init": init}}, (3, 1, 1), outputs, 0
        ).head
        for init in ("uniform", "orthogonal")
    }
    for value in (*heads["uniform"].weights, heads["uniform"].bias, heads["orthogonal"].bias):
        assert value.abs().max() <= dim**-0.5
    for weight in heads["uniform"].weights:
        # Uniform: a variance of 1/(3 d), and values all the way to both ends.
        assert weight.std().item() == pytest.approx((3 * dim) ** -0.5, rel=0.02)
        assert weight.max() > 0.99 * dim**-0.5 and weight.min() < -0.99 * dim**-0.5
    assert heads["orthogonal"].weights[-1].abs().max() > dim**-0.5


def training_of(seeds=(0,), decays=(0.01, 0.02), **changes):
    """A training of networks, one for each seed, on twelve samples."""
    arrays = table()
    pixels = arrays["train_inputs"].astype(np.float32)[:, :, None, None]
    images = Samples(pixels, (0.0,) * 3, (1.0,) * 3, 1, CPU)
    y = torch.from_numpy(arrays["train_targets"]).float()
    objective = Objective(MSE, decays[0], decays[1] / 12, 0.003, "weights", 12)
    nets = [network(seed) for seed in seeds]
    return Trainer(Ensemble(nets), images, y, objective, SETTINGS | changes, list(seeds))


@pytest.mark.parametrize(
    ("epochs", "most", "kept"),
    [
        (10, 10, range(1, 11)),
        (10, 5, [2, 4, 6, 8, 10]),
        (11, 5, [3, 6, 9, 11]),
        (10, 4, [3, 6, 9, 10]),
        (7, 1, [7]),
    ],
)
def test_a_long_history_keeps_evenly_spaced_epochs_and_the_last(monkeypatch, epochs, most, kept):
    (whole,) = train(training_of(epochs=epochs))
    assert whole.history["epoch"].tolist() == list(range(1, epochs + 1))
    monkeypatch.setattr(history_module, "MOST_ROWS", most)
    (found,) = train(training_of(epochs=epochs))
    assert len(found.history) <= most and found.history["epoch"].tolist() == list(kept)
    expected = whole.history[whole.history["epoch"].isin(kept)].reset_index(drop=True)
    assert found.history.equals(expected)
    assert list(found.states) == list(whole.states)


@pytest.mark.parametrize("stop", [4, 6, 7])
def test_a_long_history_resumes_to_the_same(monkeypatch, tmp_path, stop):
    monkeypatch.setattr(history_module, "MOST_ROWS", 4)
    monkeypatch.setattr(history_module, "SHARE", np.inf)
    whole = train(training_of((0, 1), epochs=11))

    class Killed(Exception):
        pass

    advance = Trainer.epoch

    def until(self, number):
        if number > stop:
            raise Killed
        return advance(self, number)

    with Checkpoints(tmp_path, {}) as checkpoints:
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(Trainer, "epoch", until)
            train(training_of((0, 1), epochs=11), checkpoints)
        numbers = []
        monkeypatch.setattr(Trainer, "epoch", lambda self, n: numbers.append(n) or advance(self, n))
        again = train(training_of((0, 1), epochs=11), checkpoints)
    assert numbers == list(range(stop + 1, 12))
    for left, right in zip(whole, again, strict=True):
        assert left.history["epoch"].tolist() == [3, 6, 9, 11]
        assert left.history.equals(right.history)
        assert left.states.keys() == right.states.keys()
        for epoch, state in left.states.items():
            for name, array in state.items():
                assert array.tobytes() == right.states[epoch][name].tobytes()


def test_a_diverged_history_ends_before_its_divergence(monkeypatch):
    monkeypatch.setattr(history_module, "MOST_ROWS", 4)
    (found,) = train(training_of(epochs=11, learning_rate=1e6))
    assert found.status == "diverged" and found.diverged_epoch <= 3
    assert found.history.empty


@pytest.mark.parametrize("optimiser", [SGD, ADAM], ids=["sgd", "adam"])
def test_a_batched_ensemble_trains_as_its_members_do(monkeypatch, optimiser):
    changes = {"optimiser": optimiser, "learning_rate": 0.01}
    seeds = tuple(range(6))
    batched = []
    taken = ensemble_module.vmap
    monkeypatch.setattr(
        ensemble_module, "vmap", lambda function: batched.append(1) or taken(function)
    )
    together = train(training_of(seeds, **changes))
    assert len(batched) == 5 * 3
    alone = [train(training_of((seed,), **changes))[0] for seed in seeds]
    monkeypatch.setattr(ensemble_module, "SMALL", 0)
    in_turn = train(training_of(seeds, **changes))
    assert len(batched) == 5 * 3
    for one, *others in zip(alone, together, in_turn, strict=True):
        for other in others:
            assert one.states.keys() == other.states.keys()
            for name, array in one.states[5].items():
                np.testing.assert_allclose(array, other.states[5][name], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(
                one.history["objective"], other.history["objective"], rtol=1e-5
            )
    # Each goes a way of its own.
    ends = [each.history["objective"].iloc[-1] for each in together]
    assert np.diff(np.sort(ends)).min() > 1e-4


@pytest.mark.parametrize("members", [4, 5])
def test_ensembles_are_batched_from_five_on(monkeypatch, members):
    batched = []
    taken = ensemble_module.vmap
    monkeypatch.setattr(
        ensemble_module, "vmap", lambda function: batched.append(1) or taken(function)
    )
    train(training_of(tuple(range(members)), epochs=1))
    assert bool(batched) == (members == 5)


# The stages of a network


def told(out, capsys):
    """The one line that a command of exit code 2 said."""
    assert out == 2
    printed = capsys.readouterr()
    # Stages begin with the line that runs them by hand; other commands say nothing.
    assert all(line.startswith("$ collapse ") for line in printed.out.splitlines())
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("collapse: error: ")
    return printed.err


def spec_of(grid=None, seeds=(1,), data=None, **changes):
    config = {
        "data": {"name": "toy", **(data or {})},
        "model": MLP,
        "head": {"depth": 1, "bias": True, "init": "uniform"},
        "loss": MSE,
        "input": {"kind": "plain"},
        "weight_decay": 1e-2,
        "feature_decay": 2e-2,
        "backbone_decay": 0.0,
        "decayed": "weights",
        "training": SETTINGS,
        "features": "last",
        **changes,
    }
    spec = {"study": "regression", "experiment": "e", "point": {}, "config": config}
    return spec | {"grid": grid or {}, "order": list(grid or {}), "seeds": list(seeds)}


PROBES = ("regression", "residuals")
FILES = ("states.safetensors", "features.safetensors") + tuple(
    f"{name}.parquet" for name in ("history", "predictions", "frames", "metrics", "samples")
)


def carry_out(folder, spec, probes=PROBES, data=()):
    """Compute a group of runs and measure it; return the exit code of what came last."""
    procedure = "network" if "model" in spec["config"] else "problem"
    section = kinds("procedure")[procedure]
    common = {"procedure": procedure, "references": {}}
    keys = [*(path.rsplit(".", 1)[-1] for path in spec["order"]), "seed"]
    measured = {"groups": [without(spec, section.compute_only)], "keys": keys, **common}
    file = {name: str(folder / name) for name in FILES}
    states, frames = file["states.safetensors"], file["frames.parquet"]
    history, rows, points = (file[f"{name}.parquet"] for name in ("history", "metrics", "samples"))
    reads = {"data": data, "references": []}
    jobs_of = {
        "compute": (
            {**without(spec, section.measure_only), **common},
            reads,
            ["--states", states, "--history", history],
        ),
        "predictions": (
            {"theory": None, "keys": keys, "runs": []},
            {"data": []},
            ["--predictions", file["predictions.parquet"], "--frames", frames],
        ),
        "measure_runs": (
            measured | {"probes": [{"kind": kind} for kind in probes]},
            reads | {"states": [states], "histories": [history], "frames": [frames]},
            ["--metrics", rows, "--samples", points, "--features", file["features.safetensors"]],
        ),
    }
    for stage, (job, read, words) in jobs_of.items():
        if code := main([stage, *write_spec(folder, stage, job, **read), *words]):
            return code
    return 0


def without(spec, keys):
    """A group's spec without the keys of its config that a job does not read."""
    kept = {key: value for key, value in spec["config"].items() if key not in keys}
    return spec | {"config": kept}


def trained(folder, spec, arrays):
    """Train and measure; return the history, the rows, the points and the features."""
    data = write(folder / "toy.safetensors", arrays)
    assert carry_out(folder, spec, data=[data]) == 0
    features, attributes = read_tensors(folder / "features.safetensors")
    assert attributes["layers"] == ["H1"]
    tables = (read_table(folder / f"{name}.parquet") for name in ("history", "metrics", "samples"))
    return *tables, features


def forward(state, prefix, inputs):
    """The ReLU network in numpy: its features and outputs."""
    values = inputs
    for layer in ("backbone.layers.1", "backbone.layers.3"):
        weight, bias = (state[f"{prefix}{layer}.{name}"] for name in ("weight", "bias"))
        values = np.maximum(values @ weight.T.astype(float) + bias, 0)
    weight, bias = (state[f"{prefix}head.layers.0.{name}"] for name in ("weight", "bias"))
    return values, values @ weight.T.astype(float) + bias


@pytest.mark.parametrize("standardise", [[], ["inputs", "targets"]])
def test_a_regression_from_data_to_tables(tmp_path, standardise):
    grid = {"weight_decay": [1e-2, 0.1]}
    spec = spec_of(grid, seeds=(1, 4), data={"standardise": standardise, "samples": 10})
    arrays = table(samples=20)
    history, rows, points, features = trained(tmp_path, spec, arrays)
    assert list(history)[:3] == ["weight_decay", "seed", "epoch"] and len(history) == 4 * 5
    recorded = list(log_spaced(5, 3))
    assert recorded[0] == 0 and sorted(rows["step"].unique()) == recorded
    assert not rows.duplicated(["weight_decay", "seed", "step", "layer", "metric"]).any()
    chosen = dataset.prepare(dataset.load(tmp_path / "toy.safetensors"), spec["config"]["data"])
    inputs, tested = chosen.inputs[:, :, 0, 0], chosen.test_inputs[:, :, 0, 0]
    y, aims = chosen.targets, chosen.test_targets
    np.testing.assert_allclose(features["targets"], y, rtol=1e-6)
    assert features["targets"].shape == (10, 2) and "labels" not in features
    columns = ["step", "layer", "probe", "sample", "output", "target", "residual"]
    assert list(points) == ["weight_decay", "seed", *columns]
    assert (points["layer"] == "all").all() and (points["probe"] == "residuals").all()
    assert not rows["metric"].str.contains("residual\\[|^target\\[").any()
    state, attributes = read_tensors(tmp_path / "states.safetensors")
    assert [each["status"] for each in attributes["runs"]] == ["completed"] * 4
    for run in attributes["runs"]:
        assert run["steps"] == recorded
        own = rows[
            (rows["weight_decay"] == run["keys"]["weight_decay"])
            & (rows["seed"] == run["keys"]["seed"])
        ]
        single = points[
            (points["weight_decay"] == run["keys"]["weight_decay"])
            & (points["seed"] == run["keys"]["seed"])
        ]
        # Single residuals at the first and the last epoch, what never changes at the last.
        assert single["step"].unique().tolist() == [0, 5] and len(single) == 2 * 20
        for epoch in recorded:
            here = own[own["step"] == epoch]
            values = here.set_index(["layer", "metric"])["value"]
            prefix = f"{run['id']}/{epoch:06d}/"
            h, z = forward(state, prefix, inputs)
            error = z - y
            spread = np.sum((y - y.mean(0)) ** 2)
            assert values["all", "r2"] == pytest.approx(1 - np.sum(error**2) / spread, rel=1e-3)
            assert values["all", "mse"] == pytest.approx(np.mean(error**2), rel=1e-4)
            w = state[f"{prefix}head.layers.0.weight"].astype(float)
            b = state[f"{prefix}head.layers.0.bias"].astype(float)
            loss = formula(w, h.T, b, y.T, run["keys"]["weight_decay"], 2e-2)
            assert values["all", "loss"] == pytest.approx(loss, rel=1e-4)
            missed = forward(state, prefix, tested)[1] - aims
            scatter = np.sum((aims - aims.mean(0)) ** 2)
            assert values["all", "test_mse"] == pytest.approx(np.mean(missed**2), rel=1e-4)
            assert values["all", "test_r2"] == pytest.approx(
                1 - np.sum(missed**2) / scatter, rel=1e-3
            )
            if epoch in (0, 5):
                at = single[single["step"] == epoch]
                assert at["sample"].tolist() == [k for k in range(10) for _ in range(2)]
                assert at["output"].tolist() == [0, 1] * 10
                found = at[["residual", "target"]].to_numpy().T.reshape(2, 10, 2)
                np.testing.assert_allclose(found, [error, y - y.mean(0)], rtol=1e-3, atol=1e-5)
            assert (("all", "target_covariance[0,1]") in values.index) == (epoch == 5)
        assert values["all", "samples"] == 10
        sigma = np.cov(y.T, ddof=0)
        assert values["all", "target_covariance[0,1]"] == pytest.approx(sigma[0, 1], rel=1e-4)
        # The last rows are what `measure` says of the features that are written.
        dumped = {
            name: torch.from_numpy(features[f"{run['id']}/000005/{name}"])
            for name in ("H1", "W1", "bias")
        }
        np.testing.assert_allclose(dumped["H1"], h, rtol=1e-3, atol=1e-4)
        direct = measure(
            dumped["H1"],
            targets=torch.from_numpy(features["targets"]),
            weight=dumped["W1"],
            bias=dumped["bias"],
        )
        for name, value in direct.items():
            if isinstance(value, float):
                layer = "all" if name in ("r2", "mse") else "H1"
                assert values[layer, name] == pytest.approx(value, rel=1e-9)
        last = history[
            (history["weight_decay"] == run["keys"]["weight_decay"])
            & (history["seed"] == run["keys"]["seed"])
        ].iloc[-1]
        assert last["objective"] > last["data_loss"] > 0
    assert len(features) == 1 + 4 * 3


def test_feature_decay_of_a_regression_is_a_mean_over_samples(tmp_path):
    """With one batch the first epoch's objective is that of the start, whose formula is known."""
    arrays = table()
    spec = spec_of({"feature_decay": [0.0, 0.5]}, training=SETTINGS | {"batch_size": 12})
    history, rows, *_ = trained(tmp_path, spec, arrays)
    state, _ = read_tensors(tmp_path / "states.safetensors")
    first = history[history["epoch"] == 1].set_index("feature_decay")
    for decay in (0.0, 0.5):
        prefix = f"feature_decay={decay:g}+seed=1/000000/"
        h, z = forward(state, prefix, arrays["train_inputs"])
        w = state[f"{prefix}head.layers.0.weight"].astype(float)
        b = state[f"{prefix}head.layers.0.bias"].astype(float)
        expected = formula(w, h.T, b, arrays["train_targets"].T, 1e-2, decay)
        assert first.loc[decay, "objective"] == pytest.approx(expected, rel=1e-5)
        own = rows[(rows["feature_decay"] == decay) & (rows["step"] == 0)]
        values = own.set_index("metric")["value"]
        assert values["loss"] == pytest.approx(expected, rel=1e-5)
        error = z - arrays["train_targets"]
        assert first.loc[decay, "error"] == pytest.approx(np.mean(error**2), rel=1e-5)
    assert first["objective"].diff().iloc[-1] > 1e-3


def test_a_null_decay_is_that_of_the_weights(tmp_path):
    grid = {"weight_decay": [1e-2, 0.3]}
    tied_to = trained(tmp_path / "a", spec_of(grid, feature_decay=None), table())
    for decay in grid["weight_decay"]:
        given = spec_of({"weight_decay": [decay]}, feature_decay=decay)
        alone = trained(tmp_path / f"{decay}", given, table())
        for left, right in zip(tied_to[:2], alone[:2], strict=True):
            own = left[left["weight_decay"] == decay].reset_index(drop=True)
            assert list(own) == list(right) and len(own) == len(right)
            numbers = [name for name in own if own[name].dtype.kind == "f"]
            np.testing.assert_allclose(own[numbers], right[numbers], rtol=2e-3, atol=1e-5)


def test_a_regression_without_test_samples(tmp_path):
    _, rows, points, _ = trained(tmp_path, spec_of(), table(test=0))
    assert not rows["metric"].str.startswith("test_").any()
    assert {"r2", "NRC1", "NRC3_c"} <= set(rows["metric"]) and len(points) == 2 * 12 * 2


def test_training_refuses_what_the_data_do_not_give(tmp_path, capsys):
    data = write(tmp_path / "toy.safetensors", table())
    spec = spec_of(data={"samples": 13})
    said = told(carry_out(tmp_path, spec, data=[data]), capsys)
    assert "data.samples: 13 found, allowed are up to 12" in said
    assert not (tmp_path / "states.safetensors").exists()


# The stages of a problem


def solve(folder, problem, grid, seeds=(0,), **changes):
    config = {
        "problem": problem,
        "start": {"kind": "random"},
        "optimiser": {"kind": "lbfgs", "steps": 5000, "tolerance": 1e-11},
        "sweep": None,
        "weight_decay": 0.1,
        "feature_decay": 0.2,
        **changes,
    }
    spec = {"study": "regression", "experiment": "e", "point": {}, "config": config}
    spec |= {"grid": grid, "order": list(grid), "seeds": list(seeds)}
    return carry_out(folder, spec, probes=("regression",))


@pytest.mark.parametrize("bias", [True, False])
def test_solved_problems_are_set_beside_their_closed_form(tmp_path, bias):
    problem = problem_of(SIGMA, 20, 4, mean=[1.0, -0.5], bias=bias)
    grid = {"weight_decay": [0.1, 2.0]}
    assert solve(tmp_path, problem, grid, (0, 1), feature_decay=0.4) == 0
    rows = read_table(tmp_path / "metrics.parquet")
    assert read_table(tmp_path / "samples.parquet").empty
    moment = SIGMA if bias else SIGMA + np.outer([1.0, -0.5], [1.0, -0.5])
    for (decay, _), own in rows.groupby(["weight_decay", "seed"]):
        values = own.set_index(["layer", "metric"])["value"]
        expected = predict(
            target_covariance=moment.tolist(), weight_decay=decay, feature_decay=0.4, bias=bias
        )
        assert values["all", "loss"] == pytest.approx(expected["loss"], rel=1e-10)
        assert values["all", "objective"] == pytest.approx(expected["loss"], rel=1e-10)
        assert values["all", "mse_sum"] == pytest.approx(expected["mse_sum"], rel=1e-6)
        assert values["H1", "NRC3_c"] < 1e-10
        for name, value in upper("target_covariance", SIGMA).items():
            assert values["all", name] == pytest.approx(value)
        assert values["all", "samples"] == 20


@pytest.mark.parametrize("sigma", [[[1.0, 0.0], [0.0, 0.0]], [[0.0]]])
def test_a_target_of_no_variance_is_refused_in_one_line(tmp_path, capsys, sigma):
    line = told(solve(tmp_path, problem_of(sigma), {}), capsys)
    assert "targets: column" in line and "zero variance" in line


# Config and jobs


KEPT = {
    "regression": ("reacher", "reacher_features", "free_features", "no_decay"),
    "deep_linear": ("network_mlp",),
}


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Load this project's config, for speed without most of its experiments."""
    folder = tmp_path_factory.mktemp("config")
    shutil.copy("config/config.yaml", folder)
    for name in (f"{part}/{study}" for part in ("scales/smoke", "studies") for study in KEPT):
        whole = config.read_yaml(Path(f"config/{name}.yaml"))
        kept = {
            study: {key: block for key, block in whole[study].items() if key in KEPT[study]}
            for study in whole.keys() & KEPT.keys()
        }
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(kept))

    def read(user=None):
        return config.load(folder, {"scale": "smoke"} | (user or {}), "my.yaml")

    return read


def study(**experiments):
    return {"regression": experiments}


def free(sigma=((1, 0.3), (0.3, 0.5)), **changes):
    problem = {"target_covariance": [list(row) for row in sigma], **changes}
    return study(free_features={"problem": problem, "grid": {}})


DECAY_ONLY = {"grid": {"model.ending": ["relu"]}}
BAD = [
    (free([[1, 0.3], [0.2, 1]]), ["problem.target_covariance: found 0.3 at [0][1]", "symmetric"]),
    (free([[1, 2], [2, 1]]), ["problem.target_covariance", "smallest eigenvalue -1", "at least 0"]),
    (free([[1, 0], [0, -1]]), ["problem.target_covariance", "smallest eigenvalue -1"]),
    (free([[1, 2], [2]]), ["problem.target_covariance: found 1 numbers in row 1", "square"]),
    (free([[1, 0]]), ["problem.target_covariance: found 2 numbers in row 0", "square"]),
    (free([]), ["problem.target_covariance", "at least 1", "[]"]),
    (free([[]]), ["problem.target_covariance: found 0 numbers in row 0", "square"]),
    (free([[1, float("nan")], [0, 1]]), ["target_covariance.0.1", "finite"]),
    (free([[float("inf")]]), ["target_covariance.0.0", "finite"]),
    (free([[True]]), ["target_covariance.0.0", "boolean"]),
    (free(dim=1), ["problem.dim: 1 found, allowed is 2 or more: 2 targets"]),
    (free(dim=0), ["problem.dim", "found 0"]),
    (free(dim=-3), ["problem.dim", "found -3"]),
    (free(samples=2), ["problem.samples: 2 found, allowed is 3 or more: 2 targets"]),
    (free(samples=-1), ["problem.samples", "found -1"]),
    (free(samples=2.5), ["problem.samples", "2.5"]),
    (free(target_mean=[1.0]), ["problem.target_mean: 1 numbers found", "each target, 2"]),
    (free(target_mean=[]), ["problem.target_mean: 0 numbers found", "each target, 2"]),
    (free(target_mean=1.0), ["problem.target_mean", "list", "found 1.0"]),
    (free(target_mean=[0, float("nan")]), ["problem.target_mean.1", "finite"]),
    (free(init_scale=0), ["problem.init_scale", "greater than 0, found 0"]),
    (free(depth=2), ["problem.depth: unknown key", "target_covariance"]),
    (free(dimm=2), ["problem.dimm: unknown key", "did you mean 'dim'"]),
    (
        study(free_features={"grid": {"problem.dim": [4, 1]}}),
        ["grid.problem.dim: 1 found, allowed is 2 or more"],
    ),
    (
        study(
            free_features={
                "grid": {"problem.target_covariance": [[[1, 0], [0, 1]], [[1, 2], [2, 1]]]}
            }
        ),
        ["grid.problem.target_covariance: found the smallest eigenvalue -1"],
    ),
    (study(free_features={"weight_decay": -1, "grid": {}}), ["weight_decay", "found -1"]),
    (study(free_features={"feature_decay": -1}), ["feature_decay", "found -1"]),
    (
        study(free_features={"weight_decay": [1, 2], "grid": {}}),
        ["weight_decay: 2 values found", "one per layer (depth 1)"],
    ),
    (
        study(free_features={"weight_decay": [1], "feature_decay": None, "grid": {}}),
        ["free_features.feature_decay: null found with a list of weight decays"],
    ),
    (
        study(no_decay={"sweep": {"scaled_decay": [0.1]}}),
        ["no_decay.sweep: found with a regression problem, allowed is null"],
    ),
    (
        study(
            reacher={"weight_decay": [0.1], "backbone_decay": 0, "feature_decay": None} | DECAY_ONLY
        ),
        ["reacher.feature_decay: null found with a list of weight decays"],
    ),
    (
        study(reacher={"weight_decay": [0.1], "backbone_decay": None} | DECAY_ONLY),
        ["reacher.backbone_decay: null found with a list of weight decays"],
    ),
    (study(reacher={"weight_decay": -1} | DECAY_ONLY), ["reacher.weight_decay", "found -1"]),
    (study(reacher={"backbone_decay": -1}), ["reacher.backbone_decay", "found -1"]),
    (study(reacher={"decayed": "biases"}), ["reacher.decayed", "'weights'", "'biases'"]),
    (study(reacher={"loss": "ce"}), ["reacher.loss: ce found, allowed is mse", "real targets"]),
    (
        study(reacher={"grid": {"loss": ["mse", "ce"]}}),
        ["reacher.grid.loss: ce found, allowed is mse"],
    ),
    (study(reacher={"head": {"depth": 2}}), ["reacher.head.depth: 2 found, allowed is 1"]),
    (study(reacher={"head": {"init": "zero"}}), ["reacher.head.init", "'uniform'", "'zero'"]),
    (
        study(reacher={"data": {"class_sizes": [1, 2]}}),
        ["reacher.data.class_sizes: [1, 2] found, reacher has no classes"],
    ),
    (
        study(reacher={"data": {"samples_per_class": 3}}),
        ["reacher.data.samples_per_class: 3 found, reacher has no classes"],
    ),
    (
        study(reacher={"data": {"imbalance_ratio": 3}}),
        ["reacher.data.imbalance_ratio: 3.0 found, reacher has no classes"],
    ),
    (study(reacher={"data": {"samples": 0}}), ["reacher.data.samples", "found 0"]),
    (study(reacher={"data": {"standardise": ["all"]}}), ["data.standardise.0", "'all'"]),
    (study(reacher={"data": {"name": "reecher"}}), ["data.name: no such data set", "reacher"]),
    (
        study(reacher={"training": {"augmentation": ["crop"]}}),
        ["training.augmentation: ['crop'] found", "reacher is a table"],
    ),
    (
        study(reacher={"model": {"normalisation": "batch"}}),
        ["model.ending: relu found, with BatchNorm allowed is signed"],
    ),
    (
        {"deep_linear": {"network_mlp": {"model": {"ending": "linear"}}}},
        ["network_mlp.model.ending: linear found, with BatchNorm allowed is signed"],
    ),
    (
        {"deep_linear": {"network_mlp": {"data": {"standardise": ["inputs"]}}}},
        ["network_mlp.data.standardise: ['inputs'] found, digits is no regression"],
    ),
    (
        {"deep_linear": {"network_mlp": {"data": {"samples": 9, "samples_per_class": None}}}},
        ["network_mlp.data.samples: 9 found, digits is no regression"],
    ),
    ({"datasets": {"mine": {"sources": ["package"]}}}, ["datasets.mine: no such data set"]),
    ({"datasets": {"mine": {"table": "a.csv"}}}, ["datasets.mine.targets: is missing"]),
    ({"datasets": {"mine": {"table": "a.csv", "targets": []}}}, ["mine.targets", "at least 1"]),
    (
        {"datasets": {"mine": {"table": "a.csv", "targets": ["y"], "test_share": 0.7}}},
        ["datasets.mine.test_share", "0.5, found 0.7"],
    ),
    ({"datasets": {"hopper": {"policy": "best"}}}, ["datasets.hopper.policy", "'best'"]),
    ({"datasets": {"hopper": {"seed": -1}}}, ["datasets.hopper.seed", "found -1"]),
]


@pytest.mark.parametrize(("user", "words"), BAD)
def test_bad_config_is_one_line_that_names_the_key(load, user, words):
    with pytest.raises(InputError) as caught:
        load(user)
    message = str(caught.value)
    assert "\n" not in message and message.split(": ")[0].endswith(".yaml")
    assert all(word in message for word in words), message


@pytest.mark.parametrize("name", ["mnist", "linnerud", "reacher", "hopper"])
def test_a_table_may_not_be_named_as_a_known_data_set(load, name):
    with pytest.raises(InputError) as caught:
        load({"datasets": {name: {"table": "a.csv", "targets": ["y"]}}})
    message = str(caught.value)
    assert message.startswith(f"my.yaml: datasets.{name}") and "\n" not in message
    assert "name the table otherwise" in message


def test_jobs_refuse_data_that_is_not_there(load, tmp_path):
    source = {"table": str(tmp_path / "a.csv"), "targets": ["y"]}
    atlas = load({"datasets": {"mine": source}})
    with pytest.raises(InputError, match=r"datasets.mine.table: .*a.csv: no such file"):
        jobs.source(atlas, "mine", "home")
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(InputError, match="no such file"):
        jobs.source(atlas, "mine", "home")
    for ask in (lambda: jobs.data(atlas, "my"), lambda: jobs.source(atlas, "my", "home")):
        with pytest.raises(InputError, match=r"no data set 'my' \(there are: .*mine"):
            ask()


def test_data_come_from_their_policies_tables_or_sources(load):
    atlas = load({"datasets": {"hopper": {"policy": "searched", "seed": 3}}})
    found = {name: jobs.source(atlas, name, "home") for name in atlas.data_sets}
    assert found.pop("hopper") == ["results/policies/hopper.safetensors"]
    assert found.pop("swimmer") == ["home/results/reference/policies/swimmer.safetensors"]
    assert set(map(tuple, found.values())) == {()}
    expected = {"name": "hopper", "kind": "demonstrations", "seed": 3}
    assert jobs.data(atlas, "hopper").told == expected
    assert jobs.policy(atlas, "hopper").told == {"task": "hopper", "seed": 3}
    for name in ("reacher", "digits"):
        with pytest.raises(InputError, match=f"no policy is searched for '{name}'"):
            jobs.policy(atlas, name)
    with pytest.raises(InputError, match="no data set 'hoper'"):
        jobs.policy(atlas, "hoper")


def test_null_decays_are_those_of_the_weights_in_every_job(load):
    grid_of = {"grid": {"weight_decay": [0.1, 0.0]}, "feature_decay": None, "seeds": 2}
    atlas = load(study(reacher=grid_of, reacher_features=grid_of, free_features=grid_of))
    for name in ("reacher", "reacher_features", "free_features"):
        groups = atlas.groups("regression", name).values()
        runs = [each["config"] for group in groups for each in expand(group.spec)]
        job = jobs.predictions(atlas, "regression", name)
        predicted = [each["config"] for each in job.told["runs"]]
        assert len(runs) == 4 and len(predicted) == 2
        for each in (*runs, *predicted):
            assert each["feature_decay"] == each["weight_decay"]
        assert {each["weight_decay"] for each in runs} == {0.1, 0.0}
        if name == "reacher":
            assert all(each["backbone_decay"] == each["weight_decay"] for each in runs)
        elif name == "reacher_features":
            assert all(each["backbone_decay"] == 0 for each in runs)
        else:
            assert not any("backbone_decay" in each for each in (*runs, *predicted))


def test_tied_leaves_given_decays_and_its_argument_alone():
    given = {"weight_decay": 0.1, "feature_decay": None, "backbone_decay": 0.0}
    assert tied(given) == given | {"feature_decay": 0.1}
    assert given["feature_decay"] is None
    assert tied({"weight_decay": [1, 2], "feature_decay": 0.5}) == {
        "weight_decay": [1, 2],
        "feature_decay": 0.5,
    }


def run(folder, job, *words):
    """Run a job as the workflow does; return its exit code."""
    replace(job.spec, results=str(folder)).write(folder / f"{job.stage}.json")
    return main([job.stage, "--spec", str(folder / f"{job.stage}.json"), *map(str, words)])


def predicted(folder, job):
    """Write the predictions of an experiment; return their file."""
    out, frames = folder / "predictions.parquet", folder / "frames.parquet"
    assert run(folder, job, "--predictions", out, "--frames", frames) == 0
    return out


@pytest.mark.parametrize("bias", [True, False])
def test_a_table_of_the_users_from_config_to_predictions(load, tmp_path, bias):
    generator = np.random.default_rng(5)
    values = generator.standard_normal((20, 4)) * [1, 10, 2, 5] + [0, 3, 1, 2]
    path = tmp_path / "mine.csv"
    pd.DataFrame(values, columns=["a", "b", "y", "z"]).to_csv(path, index=False)
    mine = {
        "data": {"name": "mine", "standardise": ["inputs"], "samples": 8},
        "model": {"kind": "mlp", "hidden": [4], "normalisation": "none", "ending": "linear"},
        "head": {"bias": bias},
        "loss": "mse",
        "weight_decay": 0.3,
        "feature_decay": None,
        "training": {k: v for k, v in SETTINGS.items() if k != "schedule"},
        "grid": {"weight_decay": [0.3, 1.5]},
        "seeds": 2,
    }
    source = {"table": str(path), "targets": ["z", "y"], "test_share": 0.25}
    atlas = load({"datasets": {"mine": source}, **study(mine=mine)})
    (given,) = jobs.source(atlas, "mine", "home")
    job = jobs.data(atlas, "mine")
    assert str(path) not in json.dumps(job.told)
    out = tmp_path / "data/mine.safetensors"
    assert run(tmp_path, job, "--source", given, "--out", out) == 0
    predictions = jobs.predictions(atlas, "regression", "mine")
    assert predictions.files("data") == ["data/mine.safetensors"]
    home = tmp_path / "regression/mine"
    found, frames = home / "predictions.parquet", home / "frames.parquet"
    assert run(tmp_path, predictions, "--predictions", found, "--frames", frames) == 0
    assert read_table(frames).empty
    rows = read_table(found)
    # Every fourth row is for testing; of the other 15, eight are taken.
    kept = [row for row in range(20) if row % 4 != 3]
    y = values[kept][:, [3, 2]][np.arange(8) * 15 // 8]
    sigma = np.cov(y.T, ddof=0) if bias else y.T @ y / 8
    for decay in (0.3, 1.5):
        expected = predict(
            target_covariance=sigma.tolist(), weight_decay=decay, feature_decay=decay, bias=bias
        )
        for seed in (0, 1):
            own = rows[(rows["weight_decay"] == decay) & (rows["seed"] == seed)]
            told = own.set_index("metric")["value"]
            for name in ("loss", "r2", "gamma", "rank", "weight_norm_squared"):
                assert told[name] == pytest.approx(expected[name], rel=1e-9)
            for name, value in upper("gram", np.array(expected["gram"])).items():
                assert told[name] == pytest.approx(value, rel=1e-9)
    (folder,) = atlas.groups("regression", "mine")
    states, history = home / folder / "states.safetensors", home / folder / "history.parquet"
    job = jobs.compute(atlas, "regression", "mine", folder)
    assert job.files("data") == ["data/mine.safetensors"]
    assert run(tmp_path, job, "--states", states, "--history", history) == 0
    job = jobs.measure_group(atlas, "regression", "mine", folder)
    assert job.files("data") == ["data/mine.safetensors"]
    written = []
    for name, suffix in (("metrics", "parquet"), ("samples", "parquet"), ("features", "dump")):
        written += [f"--{name}", tmp_path / f"{name}.{suffix}"]
    assert run(tmp_path, job, *written) == 0
    assert len(read_table(tmp_path / "samples.parquet")) == 4 * 2 * 8 * 2
    last = read_table(tmp_path / "metrics.parquet").set_index("metric")["value"]
    covariances_of = last["target_covariance[0,1]"].tolist()
    assert covariances_of == pytest.approx([np.cov(y.T, ddof=0)[0, 1]] * 4, rel=1e-4)


@pytest.mark.parametrize("bias", [True, False])
def test_predictions_of_free_features_are_about_the_mean_or_about_zero(
    load, tmp_path, capsys, bias
):
    mean = [1.0, -0.5]
    mine = {
        "problem": {"target_covariance": SIGMA.tolist(), "target_mean": mean, "bias": bias},
        "grid": {"weight_decay": [0.1, 0.0]},
        "seeds": 1,
    }
    atlas = load(study(free_features=mine))
    out = predicted(tmp_path, jobs.predictions(atlas, "regression", "free_features"))
    rows = read_table(out)
    moment = SIGMA if bias else SIGMA + np.outer(mean, mean)
    feature = atlas.experiment("regression", "free_features").feature_decay
    expected = predict(
        target_covariance=moment.tolist(), weight_decay=0.1, feature_decay=feature, bias=bias
    )
    own = rows[rows["weight_decay"] == 0.1].set_index("metric")["value"]
    assert own["loss"] == pytest.approx(expected["loss"])
    assert own["gram[0,1]"] == pytest.approx(expected["gram"][0][1])
    # Without a decay of W, W is unbounded: no closed form, and a line that says so.
    assert set(rows["weight_decay"]) == {0.1}
    assert "no closed form: " in capsys.readouterr().out


def test_a_decayed_backbone_has_no_closed_form(load, tmp_path, capsys):
    grid_of = {"grid": {"backbone_decay": [0.1, 0.0]}, "seeds": 1}
    atlas = load(study(reacher={"feature_decay": 0.2} | grid_of))
    job = jobs.predictions(atlas, "regression", "reacher")
    write(tmp_path / job.files("data")[0], table())
    out = predicted(tmp_path, job)
    assert set(read_table(out)["backbone_decay"]) == {0.0}
    assert "no closed form: backbone_decay" in capsys.readouterr().out


# The commands


def dump(folder, **tensors):
    path = folder / "features.safetensors"
    save_file(tensors, path)
    return str(path)


def measurable(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = {"features": (30, 5), "targets": (30, 2), "weight": (2, 5), "bias": (2,)}
    return {name: torch.randn(*s, generator=generator).to(dtype) for name, s in shapes.items()}


def test_measure_prints_the_regression_metrics(tmp_path, capsys):
    tensors = measurable()
    assert main(["measure", dump(tmp_path, **tensors)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == measure(**tensors) and {"NRC1", "NRC2", "NRC3", "gamma", "r2"} <= set(found)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda t: t | {"targets": t["targets"][:29].clone()},
            "targets: 29 rows, allowed is one for each of the 30 rows of features",
        ),
        (lambda t: t | {"features": t["features"][:29].clone()}, "targets: 30 rows"),
        (
            lambda t: t | {"targets": torch.stack([t["targets"][:, 0], torch.full((30,), 0.1)], 1)},
            "targets: column 1 has zero variance, it is 0.1 in every row",
        ),
        (
            lambda t: t | {"targets": t["targets"].index_fill(0, torch.tensor([7]), float("nan"))},
            "targets: 2 of 2 values in row 7 are NaN, infinite",
        ),
        (
            lambda t: t | {"targets": t["targets"].index_fill(0, torch.tensor([7]), float("inf"))},
            "targets: 2 of 2 values in row 7 are NaN, infinite",
        ),
        (lambda t: t | {"targets": t["targets"][:, 0].clone()}, "targets: shape 30"),
        (lambda t: t | {"targets": (9 * t["targets"]).long()}, "targets: dtype int64"),
        (lambda t: t | {"weight": t["weight"][:1].clone(), "bias": t["bias"][:1]}, "weight: 1 row"),
        (lambda t: t | {"bias": t["bias"][:1].clone()}, "bias: 1 values"),
    ],
)
def test_measure_refuses_targets_in_one_line(tmp_path, capsys, change, words):
    path = dump(tmp_path, **change(measurable()))
    line = told(main(["measure", path]), capsys)
    assert path in line and words in line


def test_predict_prints_the_closed_form(capsys):
    settings_of = ["target_covariance=[[0.84,0.48],[0.48,0.56]]", "weight_decay=0.1"]
    assert main(["predict", "regression", "--set", *settings_of, "feature_decay=0.4"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == predict(target_covariance=SIGMA.tolist(), weight_decay=0.1, feature_decay=0.4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("target_covariance=[[1,2],[3,1]]", "target_covariance: found 2.0 at [0][1] but 3.0"),
        ("target_covariance=[[1,2],[2,1]]", "target_covariance: found the smallest eigenvalue -1"),
        ("target_covariance=[[1,2]]", "target_covariance: found 2 numbers in row 0 of 1 rows"),
        ("target_covariance=[]", "target_covariance: found []"),
        ("target_covariance=[[NaN]]", "target_covariance: found"),
        ("target_covariance=1", "target_covariance: found 1"),
        ("weight_decay=-1", "weight_decay: found -1"),
        ("feature_decay=x", 'feature_decay: found "x"'),
        ("bias=2", "bias: found 2"),
        ("dim=2", 'unknown hyperparameter "dim"'),
    ],
)
def test_predict_refuses_in_one_line(capsys, change, words):
    given = {"target_covariance": "[[1]]", "weight_decay": "0.1", "feature_decay": "0.1"}
    key, value = change.split("=")
    words_of = [f"{name}={each}" for name, each in (given | {key: value}).items()]
    assert words in told(main(["predict", "regression", "--set", *words_of]), capsys)
