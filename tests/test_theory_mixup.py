"""The closed form of mixed samples' features, against minimisers and equations written here."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from scipy.stats import beta

from collapse.cli import main
from collapse.errors import InputError
from collapse.quadrature import beta_nodes
from collapse.theory import mixup
from collapse.theory.mixup import of_run, predict

FEW = settings(derandomize=True, max_examples=60, deadline=None, database=None)


def frame(classes, norm, dim=None):
    """A simplex ETF in a random position."""
    dim = dim or classes + 1
    axes = np.linalg.qr(np.random.default_rng(0).standard_normal((dim, classes))).Q
    return norm * math.sqrt(classes / (classes - 1)) * (np.eye(classes) - 1 / classes) @ axes.T


def minimiser(weights, label, decay):
    """The feature that minimises cross-entropy and penalty, by damped Newton steps in h."""
    feature = np.zeros(weights.shape[1])

    def value(h):
        return -label @ log_softmax(weights @ h) + decay / 2 * h @ h

    for _ in range(200):
        p = softmax(weights @ feature)
        slope = weights.T @ (p - label) + decay * feature
        curvature = weights.T @ (np.diag(p) - np.outer(p, p)) @ weights
        step = np.linalg.solve(curvature + decay * np.eye(len(feature)), slope)
        size = 1.0
        while value(feature - size * step) > value(feature) + 1e-15 and size > 1e-3:
            size /= 2
        feature = feature - size * step
        if np.abs(slope).max() < 1e-15:
            break
    return feature


@pytest.mark.parametrize("classes", [3, 4, 10])
@pytest.mark.parametrize("norm", [0.5, 3.0])
@pytest.mark.parametrize("decay", [1e-1, 1e-3, 1e-5])
def test_the_feature_is_that_of_newtons_method(classes, norm, decay):
    weights = frame(classes, norm)
    labels = np.eye(classes)
    for mix in (0.0, 0.07, 0.5, 0.8):
        found = minimiser(weights, mix * labels[0] + (1 - mix) * labels[1], decay)
        answer = predict(classes=classes, classifier_norm=norm, feature_decay=decay, mix=mix)
        first, second = answer["coefficients"]
        expected = first * weights[0] + second * weights[1]
        np.testing.assert_allclose(expected, found, rtol=0, atol=1e-9 * np.abs(found).max())
        logits = weights @ found
        assert answer["u"] == pytest.approx(logits[0] - logits[2], rel=1e-8, abs=1e-8)
        assert answer["v"] == pytest.approx(logits[1] - logits[2], rel=1e-8, abs=1e-8)
        assert answer["feature_norm"] == pytest.approx(np.linalg.norm(found), rel=1e-9)
        p = softmax(logits)
        assert [answer[name] for name in ("p_i", "p_j", "p_other")] == pytest.approx(
            [p[0], p[1], p[2]], rel=1e-7
        )
        along, across = mixup.channel(answer["u"], answer["v"], classes, norm)
        for sign, place in ((1, along), (-1, across)):
            direction = weights[0] + sign * weights[1]
            assert place == pytest.approx(
                found @ direction / np.linalg.norm(direction), rel=1e-8, abs=1e-8
            )
    # Mix 0: the second class alone.
    assert answer["feature_norm_same_class"] == pytest.approx(
        np.linalg.norm(minimiser(weights, labels[1], decay)), rel=1e-9
    )


def test_mse_is_ridge_regression_of_the_mixed_label():
    weights, decay = frame(5, 0.7), 0.03
    gram = weights.T @ weights + decay * np.eye(6)
    for mix in (0.0, 0.3, 1.0):
        label = mix * np.eye(5)[0] + (1 - mix) * np.eye(5)[1]
        found = np.linalg.solve(gram, weights.T @ label)
        answer = predict(
            classes=5, classifier_norm=0.7, feature_decay=decay, mix=mix, loss="mse", alpha=1
        )
        first, second = answer["coefficients"]
        np.testing.assert_allclose(
            first * weights[0] + second * weights[1], found, rtol=0, atol=1e-14
        )
        logits = weights @ found
        assert answer["u"] == pytest.approx(logits[0] - logits[2], abs=1e-14)
        assert answer["v"] == pytest.approx(logits[1] - logits[2], abs=1e-14)
        assert answer["feature_norm"] == pytest.approx(np.linalg.norm(found), rel=1e-13)
        assert answer["amplification"] == pytest.approx(1, abs=1e-14)
    assert answer["feature_norm_same_class"] == pytest.approx(np.linalg.norm(found), rel=1e-13)
    assert not any(name.startswith("p_") for name in answer)
    assert answer["entropy_floor"] == pytest.approx(0.4)


@FEW
@given(
    st.floats(-3, 12),
    st.integers(3, 1000),
    st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0, 0.5, 1e-300, 1e-17, 1e-9, 1 - 1e-12])),
)
def test_the_equations_hold_to_the_last_digits(power, classes, mix):
    decay = classes / (classes - 1) / 10**power
    kappa = classes / (classes - 1) / decay
    place = classes, 1.0, decay
    u, v = mixup.coordinates(*place, mix)
    p_i, p_j, p_other = mixup.probabilities(*place, mix)
    assert min(p_i, p_j, p_other) > 0
    assert p_i + p_j + (classes - 2) * p_other == pytest.approx(1, rel=0, abs=1e-14)
    # Each by its own: logits, their softmax, and the stationarity z_o = -kappa p_o.
    k = kappa * p_other
    assert p_i == pytest.approx(p_other * math.exp(u), rel=1e-13)
    assert p_j == pytest.approx(p_other * math.exp(v), rel=1e-13)
    assert u + v == pytest.approx(classes * k, rel=1e-13)
    for z, weight in ((u, mix), (v, 1 - mix)):
        assert k * math.expm1(z) + z == pytest.approx(kappa * weight, rel=1e-13, abs=0)
    t = mixup.same_class_gap(*place)
    assert t * (math.exp(t) + classes - 1) == pytest.approx(kappa * classes, rel=1e-13)
    assert 1 - 1e-13 <= (u + v) / t < 2
    if mix in (0, 1):
        assert sorted([u, v]) == [0, pytest.approx(t, rel=1e-13)]


def test_arrays_broadcast_and_the_two_classes_are_alike():
    mix, decay = np.linspace(0, 1, 7), np.array([[1e-5], [1e-2]])
    u, v = mixup.coordinates(10, 1.0, decay, mix)
    assert u.shape == v.shape == (2, 7)
    np.testing.assert_allclose(u, v[:, ::-1], rtol=1e-14, atol=1e-15)
    single = predict(classes=10, classifier_norm=1, feature_decay=1e-2, mix=mix[2])
    assert (single["u"], single["v"]) == (pytest.approx(u[1, 2]), pytest.approx(v[1, 2]))
    curve = mixup.amplification(10, 1.0, decay, mix)
    assert (curve.argmax(1) == 3).all() and np.allclose(curve[:, [0, 6]], 1, rtol=0, atol=1e-14)
    assert (np.diff(curve[:, :4]) > 0).all()
    flat = mixup.amplification(10, 1.0, decay, mix, "mse")
    np.testing.assert_allclose(flat, np.ones((2, 7)), rtol=1e-15)


def test_the_known_values_of_ten_classes():
    powers = {1: 1.329, 2: 1.557, 3: 1.666, 4: 1.732, 6: 1.810, 9: 1.868}
    for power, value in powers.items():
        half = mixup.amplification(10, 1.0, 10 / 9 / 10.0**power, 0.5)
        assert half == pytest.approx(value, abs=6e-4)
    norms = [mixup.feature_norm(10, 1.0, decay, 0.5) for decay in (1e-2, 1e-4, 1e-6, 1e-8)]
    assert norms == pytest.approx([4.97, 9.76, 14.79, 19.96], abs=6e-3)
    # Weak decay: the gap is that of the labels' logarithms.
    u, v = mixup.coordinates(10, 1.0, 1e-12, 0.9)
    assert u - v == pytest.approx(math.log(9), rel=1e-9)


def test_entropy_and_confidence_of_mixed_labels_are_their_integrals():
    alphas = (0.1, 0.2, 0.4, 1.0, 2.0, 8.0)
    floors = [mixup.entropy_floor(10, alpha) / 0.9 for alpha in alphas]
    assert floors == pytest.approx([0.1347, 0.2277, 0.3464, 0.5, 0.5833, 0.6629], abs=6e-5)
    confidences = [mixup.ideal_confidence(alpha) for alpha in (1.0, 0.4, 0.2, 2.0)]
    assert confidences == pytest.approx([0.75, 0.8398, 0.8988, 0.6875], abs=6e-5)
    density = beta(0.7, 0.7).pdf
    entropy = quad(lambda x: -2 * x * math.log(x) * density(x), 0, 1)[0]
    assert mixup.entropy_floor(4, 0.7) == pytest.approx(0.75 * entropy, rel=1e-7)
    largest = 2 * quad(lambda x: x * density(x), 0.5, 1)[0]
    assert mixup.ideal_confidence(0.7) == pytest.approx(largest, rel=1e-7)


@pytest.mark.parametrize("alpha", [1e9, 1e14, 1e18, 1e100, 1.7e308])
def test_entropy_and_confidence_tend_to_those_of_halves(alpha):
    # To first order in 1/alpha: lambda is Gaussian around 1/2, of variance 1/(8 alpha).
    excess = 1 / math.sqrt(4 * math.pi * alpha)
    assert mixup.ideal_confidence(alpha) == pytest.approx(0.5 + excess, rel=1e-15)
    assert mixup.entropy_floor(4, alpha) == pytest.approx(0.75 * math.log(2), rel=1e-9)
    tiny = 1 / alpha
    assert mixup.ideal_confidence(tiny) == pytest.approx(1 - math.log(2) * tiny, rel=1e-15)
    assert mixup.entropy_floor(4, tiny) == pytest.approx(math.pi**2 / 8 * tiny, rel=3e-9)


@pytest.mark.parametrize("alpha", [1e-5, 0.0099, 0.0101])
def test_the_entropy_of_labels_that_are_hardly_mixed_has_all_digits(alpha):
    # psi(1 + 2a) - psi(1 + a) = int (e^(-at) - e^(-2at))/(e^t - 1) dt.
    integral = quad(lambda t: np.exp(-alpha * t) * -np.expm1(-alpha * t) / np.expm1(t), 0, 60)
    assert mixup.entropy_floor(2, alpha) == pytest.approx(integral[0] / 2, rel=1e-12)


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 2.0])
def test_the_nodes_give_the_moments_of_the_beta_distribution(alpha):
    nodes, weights = beta_nodes(alpha, 5)
    assert nodes[2] == 0.5 and np.array_equal(nodes + nodes[::-1], np.ones(5))
    assert np.array_equal(weights, weights[::-1]) and weights.sum() == pytest.approx(1, abs=1e-15)
    for power in range(10):
        moment = beta(alpha, alpha).moment(power) if power else 1.0
        assert weights @ nodes**power == pytest.approx(moment, rel=1e-12)


def best_value(norm, classes, decays, alpha, loss, nodes):
    """The objective over ETFs of a norm, minimised over features, from the labels alone."""
    weight_decay, feature_decay = decays
    weights = frame(classes, norm)
    mixes, shares = beta_nodes(alpha, nodes)
    total = weight_decay / 2 * classes * norm**2
    for mix, share in [(1.0, 1 / classes), *zip(mixes, shares * (1 - 1 / classes), strict=True)]:
        label = mix * np.eye(classes)[0] + (1 - mix) * np.eye(classes)[1]
        if loss == "ce":
            h = minimiser(weights, label, feature_decay)
            fit = -label @ log_softmax(weights @ h)
        else:
            gram = weights.T @ weights + feature_decay * np.eye(weights.shape[1])
            h = np.linalg.solve(gram, weights.T @ label)
            fit = np.sum((weights @ h - label) ** 2) / 2
        total += share * (fit + feature_decay / 2 * h @ h)
    return total


@pytest.mark.parametrize("loss", ["ce", "mse"])
@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_the_balanced_norm_is_the_best(loss, alpha):
    decays = (0.02, 0.005)
    norm = mixup.balanced_norm(3, *decays, alpha, loss, 4)
    mean = mixup.mean_square_norm(3, norm, decays[1], alpha, loss, 4)
    assert decays[0] * 3 * norm**2 == pytest.approx(decays[1] * mean, rel=1e-12)

    def value(m):
        return best_value(m, 3, decays, alpha, loss, 4)

    found = minimize(lambda x: value(math.exp(x[0])), [0.0], method="Nelder-Mead", tol=1e-9)
    assert norm == pytest.approx(math.exp(found.x[0]), rel=1e-4)
    assert value(norm) <= found.fun + 1e-14


@pytest.mark.parametrize("loss", ["ce", "mse"])
def test_large_decays_leave_no_classifier(loss):
    alpha, classes = 0.6, 5
    bound = 1.6 / (2.2 * classes)
    below = mixup.balanced_norm(classes, bound * 0.99, 1.0, alpha, loss)
    assert 0 < below < 0.2
    assert mixup.balanced_norm(classes, bound, 1.0, alpha, loss) == 0
    assert mixup.balanced_norm(classes, 7.0, 1.0, alpha, loss) == 0
    decays = (bound * 1.02, 1.0)
    values = [best_value(m, classes, decays, alpha, loss, 3) for m in (1e-8, 0.02, 0.2)]
    assert values == sorted(values)
    problem = {"classes": classes, "dim": 6, "loss": loss, "classifier": "free", "nodes": 3}
    problem |= {"kind": "mixup", "classifier_norm": None, "alpha": alpha}
    run = of_run({"problem": problem, "weight_decay": 7.0, "feature_decay": 1.0}, {})
    assert run["classifier_norm"] == run["mean_square_norm"] == 0 and "t" not in run


def test_of_a_run_the_norm_is_given_or_balanced():
    shape = {"kind": "mixup", "classes": 4, "dim": 4, "loss": "ce", "alpha": 0.5, "nodes": 7}
    fixed = {"problem": shape | {"classifier": "fixed", "classifier_norm": 1.3}}
    numbers = of_run(fixed | {"weight_decay": None, "feature_decay": 1e-3}, {})
    closed = predict(classes=4, classifier_norm=1.3, feature_decay=1e-3, mix=0.5, alpha=0.5)
    assert numbers["classifier_norm"] == 1.3
    assert numbers["amplification_half"] == closed["amplification"]
    for name in ("t", "feature_norm_same_class", "entropy_floor", "ideal_confidence"):
        assert numbers[name] == closed[name]
    free = {"problem": shape | {"classifier": "free", "classifier_norm": None}}
    numbers = of_run(free | {"weight_decay": 1e-3, "feature_decay": 1e-2}, {})
    norm = mixup.balanced_norm(4, 1e-3, 1e-2, 0.5, nodes=7)
    assert numbers["classifier_norm"] == norm
    assert numbers["mean_square_norm"] == pytest.approx(0.1 * 4 * norm**2, rel=1e-12)
    small = {"problem": free["problem"] | {"loss": "mse", "dim": 3}}
    with pytest.raises(InputError, match="dim: fewer than the classes"):
        of_run(small | {"weight_decay": 1e-3, "feature_decay": 1e-2}, {})
    for other in ({"model": {}}, {"problem": {"kind": "perturbation", "classes": 4, "dim": 4}}):
        with pytest.raises(InputError, match="no problem of kind mixup"):
            of_run(other | {"feature_decay": 0.1, "weight_decay": 1e-3}, {})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": 2}, "classes: found 2, allowed: 3 or more; two rows of W are opposite"),
        ({"classes": 3.0}, "classes: found 3.0, allowed: an integer"),
        ({"classifier_norm": 0}, "classifier_norm: found 0, allowed: a finite number in (0, inf)"),
        ({"feature_decay": 0.0}, "feature_decay: found 0.0, allowed"),
        ({"mix": -1e-9}, "mix: found -1e-09, allowed: a finite number in [0, 1]"),
        ({"mix": 1.1}, "mix: found 1.1"),
        ({"alpha": 0}, "alpha: found 0, allowed"),
        ({"loss": "l1"}, 'loss: found "l1", allowed: ce or mse'),
        ({"classifier_norm": 1e-200}, "classifier_norm, feature_decay: found values with which"),
        ({"classifier_norm": 1e200}, "classifier_norm, feature_decay: found values with which"),
        ({"lambda": 0.5}, 'unknown hyperparameter "lambda"'),
    ],
)
def test_what_is_out_of_range_is_refused_in_one_line(change, words):
    with pytest.raises(InputError) as caught:
        predict(**{"classes": 3, "classifier_norm": 1, "feature_decay": 0.1, **change})
    assert str(caught.value).startswith(words) and "\n" not in str(caught.value)


def test_the_command_prints_what_was_asked_for(capsys):
    words = ["classes=10", "classifier_norm=1", "feature_decay=1e-3"]
    assert main(["predict", "mixup", "--set", *words]) == 0
    same = json.loads(capsys.readouterr().out)
    assert list(same) == ["t", "feature_norm_same_class"]
    assert main(["predict", "mixup", "--set", *words, "mix=.5", "alpha=1"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert list(answer) == [
        *same, "u", "v", "feature_norm", "amplification", "p_i", "p_j", "p_other", "coefficients",
        "entropy_floor", "ideal_confidence",
    ]  # fmt: skip
    assert answer["entropy_floor"] == pytest.approx(0.45) and answer["ideal_confidence"] == 0.75


def test_the_decay_at_a_gap_is_that_of_the_closed_form():
    decays = np.logspace(-8, 2, 6)
    for classes in (3, 10):
        gaps = mixup.same_class_gap(classes, 1.0, decays)
        np.testing.assert_allclose(mixup.decay_at_gap(classes, gaps), decays, rtol=1e-9)
    assert np.isnan(mixup.decay_at_gap(4, np.array([0.0, -1.0]))).all()
