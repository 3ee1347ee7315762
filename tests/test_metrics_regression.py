"""The metrics of regression collapse, against their definitions and the closed form."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapse.metrics import measure, regression_statistics, study_metrics, targets
from collapse.metrics.regression import nrc3_at
from collapse.metrics.targets import (
    fit_readings,
    regression_readings,
    residual_points,
    space_points,
    target_readings,
)
from collapse.problems import regression
from collapse.theory.regression import predict
from conftest import FEW, SIGMA, entries, regression_objective, regression_problem, unit


def regression_reference(features, targets, weight, bias):
    h = np.asarray(features, dtype=np.float64)
    y = np.asarray(targets, dtype=np.float64)
    w = np.asarray(weight, dtype=np.float64)
    n = y.shape[1]
    centred = h - h.mean(0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    main = directions[:n].T @ directions[:n]
    span = np.linalg.pinv(w) @ w

    def residual(vectors, projection):
        u = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.mean(np.sum((u - u @ projection) ** 2, 1))

    shares = (singular**2 / np.sum(singular**2))[:5]
    roots = singular[singular > 1e-7 * singular[0]] / np.sum(singular)
    error = h @ w.T + bias - y
    result = {
        "NRC1": residual(h, main),
        "NRC1_centred": residual(centred, main),
        "explained_variance_ratio": [*shares, *[0.0] * (5 - len(shares))],
        "NRC2": residual(h, span),
        "NRC2_centred": residual(centred, span),
        "r2": 1 - np.sum(error**2) / np.sum((y - y.mean(0)) ** 2),
        "mse": np.mean(error**2),
        "effective_rank": np.exp(-np.sum(roots * np.log(roots))),
    }
    if n > 1:
        values, vectors = np.linalg.eigh(np.cov(y.T, ddof=0))
        root = (vectors * np.sqrt(values)) @ vectors.T

        def distance(gamma):
            return np.linalg.norm(unit(w @ w.T) - unit(root - math.sqrt(gamma) * np.eye(n))) ** 2

        grid = np.linspace(0, values[0], 4001)[:-1]
        searched = [distance(gamma) for gamma in grid]
        result |= {"NRC3": min(searched), "gamma": grid[np.argmin(searched)]}
    return result


@FEW
@given(
    outputs=st.integers(1, 4),
    dim=st.integers(2, 9),
    samples=st.sampled_from([5, 12, 40]),
    seed=st.integers(0, 10**6),
)
def test_regression_agrees_with_the_definitions(outputs, dim, samples, seed):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(dim, dim, generator=generator, dtype=torch.float64)
    features = torch.randn(samples, dim, generator=generator, dtype=torch.float64) @ mix + 1
    weight = torch.randn(outputs, dim, generator=generator, dtype=torch.float64)
    bias = torch.randn(outputs, generator=generator, dtype=torch.float64)
    noise = torch.randn(samples, outputs, generator=generator, dtype=torch.float64)
    targets = features @ weight.T + 0.3 * noise
    found = measure(features, targets=targets, weight=weight, bias=bias)
    expected = regression_reference(features, targets, weight, bias.numpy())
    assert set(found) == set(expected)
    if outputs > 1:
        searched, gamma = expected.pop("NRC3"), expected.pop("gamma")
        found_nrc3, found_gamma = found.pop("NRC3"), found.pop("gamma")
        assert found_nrc3 <= searched + 1e-12
        assert found_nrc3 == pytest.approx(searched, rel=1e-3, abs=1e-6)
        assert found_gamma == pytest.approx(gamma, rel=1e-2, abs=1e-2 * gamma + 1e-3)
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-7, abs=1e-10), key


@pytest.mark.parametrize(
    ("gram_values", "gamma"),
    [
        ((4.0, 1.0), 0.0),
        ((3.0, 1.0), 0.0),
        ((6.0, 1.0), 0.36),
        ((1.0, 0.0), 1.0),
        ((1.0, 4.0), 0.0),
    ],
)
def test_gamma_is_right_at_the_ends_of_its_range(gram_values, gamma):
    # Sigma = diag(9, 1): S - g I ~ (3 - g, 1 - g), parallel to (r, 1) at g = (r - 3) / (r - 1).
    corners = torch.tensor([[3.0, 1], [3, -1], [-3, 1], [-3, -1]], dtype=torch.float64)
    weight = torch.tensor(gram_values, dtype=torch.float64).sqrt().diag()
    found = measure(torch.randn(4, 2), targets=corners, weight=weight)
    expected = {(4.0, 1.0): (1 / 3) ** 2}.get(gram_values, gamma)
    assert found["gamma"] == pytest.approx(expected, abs=1e-12)


def test_gamma_is_zero_when_nothing_depends_on_it():
    corners = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    found = measure(torch.randn(4, 3), targets=corners, weight=torch.randn(2, 3))
    assert found["gamma"] == 0.0


def test_without_a_weight_only_the_features_are_measured():
    found = measure(torch.randn(9, 3), targets=torch.randn(9, 2))
    keys = ["NRC1", "NRC1_centred", "explained_variance_ratio", "effective_rank"]
    assert list(found) == keys


def test_constant_regression_features_do_not_pass_for_collapse():
    features, targets, weight = torch.full((30, 4), 0.1), torch.randn(30, 2), torch.randn(2, 4)
    for constant in (features, features.double(), torch.zeros(30, 4)):
        found = measure(constant, targets=targets, weight=weight)
        for key in ("NRC1", "NRC1_centred", "NRC2_centred", "explained_variance_ratio"):
            assert found[key] is None, key
    assert found["NRC2"] is None


def test_dead_features_count_as_no_residual():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(20, 5, generator=generator, dtype=torch.float64)
    targets = torch.randn(20, 2, generator=generator, dtype=torch.float64)
    alive = measure(features, targets=targets, weight=features[:2])["NRC2"]
    features = torch.cat([features, torch.zeros(20, 5, dtype=torch.float64)])
    dead = measure(features, targets=torch.cat([targets, targets]), weight=features[:2])["NRC2"]
    assert dead == pytest.approx(alive / 2, rel=1e-12)


def test_a_zero_weight_has_no_nrc3():
    found = measure(torch.randn(9, 3), targets=torch.randn(9, 2), weight=torch.zeros(2, 3))
    assert (found["NRC3"], found["gamma"]) == (None, None)
    assert found["NRC2"] == pytest.approx(1)


def test_regression_residuals_reach_the_floor_of_float32():
    generator = torch.Generator().manual_seed(0)
    plane = torch.randn(2, 64, generator=generator, dtype=torch.float64)
    codes = torch.randn(500, 2, generator=generator, dtype=torch.float64)
    features = codes @ plane
    assert measure(features, targets=codes, weight=plane)["NRC1"] < 1e-28
    assert measure(features.float(), targets=codes, weight=plane)["NRC1"] < 1e-13


def test_fewer_samples_than_features_have_their_own_spectrum():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(6, 40, generator=generator, dtype=torch.float64)
    spectrum = regression_statistics(features, torch.randn(6, 2)).spectrum
    expected = np.linalg.eigvalsh(np.cov(features.T, ddof=0))[::-1][:6]
    np.testing.assert_allclose(spectrum, expected, atol=1e-12)


def readings(found):
    """Readings by layer and metric; none may come twice."""
    found = list(found)
    named = {(layer, metric): value for layer, metric, value in found}
    assert len(named) == len(found) and all(type(value) is float for value in named.values())
    return named


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
    total = regression_objective(w, h.T, b if bias else None, y.T, *decays)
    expected = {
        "r2": 1 - np.sum(error**2) / np.sum(centred**2),
        "mse": np.mean(error**2),
        "mse_sum": np.sum(error**2) / samples,
        "loss": total,
        **entries("residual_covariance", error.T @ error / samples),
    }
    everywhere = {metric: value for (layer, metric), value in found.items() if layer == "all"}
    assert everywhere == pytest.approx(expected, rel=1e-9, abs=1e-12)
    own = {metric: value for (layer, metric), value in found.items() if layer == "H1"}
    assert len(own) + len(everywhere) == len(found)
    lengths = np.linalg.norm(h, axis=1).mean()
    expected = {
        "weight_norm_squared": np.sum(w**2),
        "feature_norm_mean": lengths,
        "feature_norm_squared_mean": squares,
        "mean_feature_ratio": np.linalg.norm(h.mean(0)) / lengths,
        **entries("gram", w @ w.T),
    }
    assert {name: own.pop(name) for name in expected} == pytest.approx(expected, rel=1e-9)
    moment = centred.T @ centred / samples if bias else y.T @ y / samples
    c = decays[0] * decays[1]
    at_c = own.pop("NRC3_c", None)
    if n == 1 or np.linalg.eigvalsh(moment)[-1] <= c:
        assert at_c is None
    else:
        assert at_c == pytest.approx(nrc3_reference(w @ w.T, moment, c), rel=1e-8, abs=1e-12)
    # The rest is what `study_metrics` says of the same tensors, lists entry by entry.
    whole = study_metrics(given[0], targets=given[1], weight=given[2], bias=torch.from_numpy(b))
    shares = whole.pop("explained_variance_ratio")
    whole |= {f"explained_variance_ratio[{k}]": share for k, share in enumerate(shares)}
    for name in ("r2", "mse"):
        whole.pop(name)
    assert own == pytest.approx({name: value for name, value in whole.items() if value is not None})
    assert ("NRC3" in own) == (n > 1)


def optimum(covariance, decays, samples=30, dim=6, mean=None):
    """The global minimum in numpy: features, targets, weight; the bias is the mean."""
    weight_decay, feature_decay = decays
    problem = regression_problem(covariance, samples, dim, mean)
    y = regression.draw_targets(problem).numpy()
    values, axes = np.linalg.eigh(np.asarray(covariance))
    signal = np.maximum(np.sqrt(values) - np.sqrt(weight_decay * feature_decay), 0)
    frame = np.linalg.qr(np.random.default_rng(1).standard_normal((dim, len(values)))).Q.T
    w = (feature_decay / weight_decay) ** 0.25 * (axes * np.sqrt(signal)) @ frame
    centre = y.mean(1, keepdims=True)
    inverse = (axes / np.sqrt(values)) @ axes.T
    h = np.sqrt(weight_decay / feature_decay) * w.T @ inverse @ (y - centre)
    return h.T, y.T, w


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
    for name in ("NRC3_c", "NRC1", "NRC1_centred", "NRC2", "NRC2_centred"):
        assert found["H1", name] == pytest.approx(0, abs=1e-20)
    shares = [*expected["explained_variance_ratio"], *[0.0] * 5][:5]
    read = [found["H1", f"explained_variance_ratio[{k}]"] for k in range(5)]
    assert read == pytest.approx(shares, abs=1e-12)
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
    for name, value in entries("residual_covariance", left).items():
        assert found["all", name] == pytest.approx(value, abs=1e-12)
    for name, value in entries("gram", np.array(expected["gram"])).items():
        assert found["H1", name] == pytest.approx(value, abs=1e-12)


def test_nrc3_at_c_is_undefined_where_nothing_is_left():
    weight, sigma = torch.eye(2, 3).double(), torch.from_numpy(SIGMA)
    assert nrc3_at(weight, sigma, 1.19) is not None and nrc3_at(weight, sigma, 1.21) is None
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
    expected = {("all", name): each for name, each in entries("target_covariance", sigma).items()}
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
@given(samples=st.sampled_from([3, 40, 251, 700]), n=st.integers(1, 8), seed=st.integers(0, 10**6))
def test_places_in_space_are_along_w_and_the_longest_direction_outside_it(samples, n, seed):
    generator = np.random.default_rng(seed)
    h, w = generator.standard_normal((samples, 6)) + 1, generator.standard_normal((n, 6))
    found = pd.DataFrame(space_points(*map(torch.from_numpy, (h, w))))
    count = min(samples, targets.SCATTER)
    assert found["role"].tolist() == ["feature"] * count + ["weight"] * n
    assert found["sample"].tolist() == [*range(count), *range(n)]
    places = found[["axis_1", "axis_2", "axis_3"]].to_numpy()
    # Gram and Schmidt, and the first right singular vector of what is orthogonal to W.
    first = w[0] / np.linalg.norm(w[0])
    beside = w[1] - (w[1] @ first) * first if n > 1 else np.zeros(6)
    second = beside / np.linalg.norm(beside) if n > 1 else beside
    outside = h - h @ np.linalg.pinv(w) @ w
    third = np.linalg.svd(outside, full_matrices=False)[2][0]
    chosen = np.concatenate([h[[k * samples // count for k in range(count)]], w])
    for axis, values in zip((first, second), places.T, strict=False):
        np.testing.assert_allclose(values, chosen @ axis, atol=1e-9)
    expected = chosen @ third if n < 6 else np.zeros(len(chosen))
    sign = np.sign(expected @ places[:, 2])
    np.testing.assert_allclose(sign * places[:, 2], expected, atol=1e-6)
