"""Closed forms of the deep linear model against oracles that share no code with them.

Golden numbers are marked "derived and checked numerically" in the deep_linear dossier: scalar
root finding and full-parameter L-BFGS and SGD in float64.
"""

import itertools
import json
import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from collapse.errors import InputError
from collapse.theory import cross_entropy, deep_linear
from collapse.theory.deep_linear import predict

SPECTRA = ["product_eigenvalues", "layer_singular_values", "logit_singular_values"]
OF_CLASSES = ["feature_norms_squared", "collapsed_classes"]


class FullProblem:
    """The objective over all parameters, with its gradient."""

    def __init__(self, class_sizes, widths, weight_decay, feature_decay, loss, bias):
        self.labels = np.repeat(np.eye(len(class_sizes)), class_sizes, axis=1)
        self.total = self.labels.shape[1]
        outputs = [*widths[1:], len(class_sizes)]
        self.shapes = [(widths[0], self.total), *zip(outputs, widths, strict=True)]
        self.decays = [feature_decay, *weight_decay]
        self.loss, self.bias = loss, bias

    def unpack(self, flat):
        sizes = [rows * columns for rows, columns in self.shapes]
        parts = np.split(flat, np.cumsum(sizes))
        blocks = [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=False)]
        return blocks, parts[-1][:, None]

    def size(self):
        rows = len(self.labels) if self.bias else 0
        return rows + sum(rows * columns for rows, columns in self.shapes)

    def __call__(self, flat):
        blocks, offset = self.unpack(flat)
        partial = list(itertools.accumulate(blocks, lambda product, block: block @ product))
        logits = partial[-1] + (offset if self.bias else 0)
        if self.loss == "mse":
            error = (logits - self.labels) / self.total
            value = self.total / 2 * np.sum(error**2)
        else:
            shifted = logits - logits.max(axis=0)
            normaliser = np.log(np.sum(np.exp(shifted), axis=0))
            error = (np.exp(shifted - normaliser) - self.labels) / self.total
            value = np.mean(normaliser - np.sum(shifted * self.labels, axis=0))
        gradients, upstream = [], error
        for level in range(len(blocks) - 1, 0, -1):
            gradients.append(upstream @ partial[level - 1].T + self.decays[level] * blocks[level])
            upstream = blocks[level].T @ upstream
        gradients.append(upstream + self.decays[0] * blocks[0])
        value += sum(
            decay / 2 * np.sum(block**2) for decay, block in zip(self.decays, blocks, strict=True)
        )
        flat_gradient = np.concatenate([gradient.ravel() for gradient in reversed(gradients)])
        if self.bias:
            flat_gradient = np.concatenate([flat_gradient, error.sum(axis=1)])
        return value, flat_gradient

    def descend(self, target, starts=60):
        """Return the best of random starts; many end in local minima, so stop at the target."""
        rng = np.random.default_rng(0)
        options = {"maxiter": 4000, "maxfun": 6000, "ftol": 0, "gtol": 1e-10, "maxcor": 30}
        scales = itertools.cycle([0.3, 0.6, 1.0, 0.1, 2.0])
        results = []
        for scale in itertools.islice(scales, starts):
            start = scale * rng.normal(size=self.size())
            results.append(minimize(self, start, jac=True, method="L-BFGS-B", options=options))
            if len(results) >= 3 and results[-1].fun <= target * (1 + 1e-9):
                break
        return min(results, key=lambda result: result.fun)

    def measured(self, flat):
        blocks, _ = self.unpack(flat)
        features, *weights = blocks
        product = np.linalg.multi_dot([*weights[::-1], np.eye(weights[0].shape[1])])
        labels = self.labels
        means = features @ labels.T / labels.sum(axis=1)
        classes = len(labels)

        def padded(values):
            return np.pad(values[:classes], (0, max(0, classes - len(values))))

        return {
            "product_eigenvalues": np.sort(np.linalg.eigvalsh(product @ product.T))[::-1],
            "layer_singular_values": padded(np.linalg.svd(weights[0], compute_uv=False)),
            "logit_singular_values": padded(np.linalg.svd(product @ features, compute_uv=False)),
            "feature_norms_squared": np.sum(means**2, axis=0),
        }


def full_problem(class_sizes, weight_decay, feature_decay, widths=None, loss="mse", bias=False):
    widths = widths or [len(class_sizes)] * len(weight_decay)
    return FullProblem(class_sizes, widths, weight_decay, feature_decay, loss, bias)


def scalar_minimum(strength, total, decays):
    """Minimise (z - sqrt(nu))^2/(2N) + (M+1)/2 (product of decays z^2)^(1/(M+1)) by brute force."""
    order = len(decays)
    product = math.prod(decays)

    def cost(z):
        return (z - np.sqrt(strength)) ** 2 / (2 * total) + order / 2 * (product * z**2) ** (
            1 / order
        )

    low, high = 0.0, np.sqrt(strength)
    for _ in range(40):
        grid = np.linspace(low, high, 201)
        best = np.argmin(cost(grid))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 200)]
    return grid[best]


def spectral_point(class_sizes, weight_decay, feature_decay, widths, bias):
    """Return parameters with the closed-form spectra in an arbitrary basis."""
    depth, total = len(weight_decay), sum(class_sizes)
    labels = np.repeat(np.eye(len(class_sizes)), class_sizes, axis=1)
    if bias:
        labels = labels - labels.mean(axis=1, keepdims=True)
    left, strengths, right = np.linalg.svd(labels, full_matrices=False)
    kept = strengths > 1e-9
    left, strengths, right = left[:, kept], strengths[kept], right[kept]
    rank = min(len(strengths), *widths)
    compared = deep_linear.scaled_decay(strengths**2, total, weight_decay, feature_decay)
    x = deep_linear.minimiser(compared, depth)
    logits = strengths * deep_linear.logit_fraction(x, depth)
    logits[rank:] = 0
    power = (math.prod([*weight_decay, feature_decay]) * logits**2) ** (1 / (depth + 1))
    rng = np.random.default_rng(0)
    bases = [np.linalg.qr(rng.normal(size=(width, width)))[0][:, :rank] for width in widths]
    bases.append(left[:, :rank])
    features = bases[0] * np.sqrt(power[:rank] / feature_decay) @ right[:rank]
    layers = [
        bases[m + 1] * np.sqrt(power[:rank] / weight_decay[m]) @ bases[m].T for m in range(depth)
    ]
    blocks = [features, *layers]
    if bias:
        blocks.append(np.array(class_sizes) / total)
    return np.concatenate([block.ravel() for block in blocks])


# The optimum, against descent on all parameters.


@st.composite
def problems(draw):
    sizes = draw(st.lists(st.integers(1, 6), min_size=2, max_size=4))
    depth = draw(st.integers(1, 3))
    decays = [draw(st.sampled_from([2e-3, 5e-3, 1e-2, 2e-2])) for _ in range(depth + 1)]
    widths = [draw(st.integers(len(sizes) - 1, len(sizes) + 2)) for _ in range(depth)]
    return sizes, decays[:-1], decays[-1], widths, draw(st.booleans())


@settings(derandomize=True, max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(problems())
def test_squared_error_matches_descent(problem):
    sizes, weight_decay, feature_decay, widths, bias = problem
    full = full_problem(sizes, weight_decay, feature_decay, widths, bias=bias)
    prediction = predict(
        class_sizes=sizes,
        weight_decay=weight_decay,
        feature_decay=feature_decay,
        widths=widths,
        bias=bias,
    )
    best = full.descend(prediction["loss"])
    assert best.fun == pytest.approx(prediction["loss"], rel=1e-8)
    measured = full.measured(best.x)
    for key in [*SPECTRA, "feature_norms_squared"]:
        if prediction[key] is not None:
            scale = max(prediction[key])
            assert measured[key] == pytest.approx(prediction[key], rel=1e-3, abs=2e-4 * scale), key


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("sizes", "widths"),
    [
        ([5, 5, 5, 5], [8, 6, 5]),
        ([9, 6, 3, 1], [4]),
        ([12, 4, 2, 1], [5, 7, 4]),
        ([7, 5, 5, 2, 2], [6, 9]),
        ([12, 4, 2, 1], [2, 7]),
    ],
)
@pytest.mark.parametrize("scale", [1, 6])
def test_constructed_point_is_stationary_and_has_the_predicted_values(sizes, widths, bias, scale):
    weight_decay = [scale * decay for decay in (3e-3, 1e-3, 4e-3)][: len(widths)]
    feature_decay = 2e-3 * scale
    full = full_problem(sizes, weight_decay, feature_decay, widths, bias=bias)
    point = spectral_point(sizes, weight_decay, feature_decay, widths, bias)
    value, gradient = full(point)
    prediction = predict(
        class_sizes=sizes,
        weight_decay=weight_decay,
        feature_decay=feature_decay,
        widths=widths,
        bias=bias,
    )
    assert np.linalg.norm(gradient) < 1e-14
    assert value == pytest.approx(prediction["loss"], rel=1e-13)
    measured = full.measured(point)
    for key in [*SPECTRA, "feature_norms_squared"]:
        assert measured[key] == pytest.approx(prediction[key], rel=1e-9, abs=1e-12), key
    zero = np.flatnonzero(measured["feature_norms_squared"] < 1e-20).tolist()
    assert prediction["collapsed_classes"] == zero


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    st.integers(1, 7),
    st.integers(1, 400),
    st.integers(400, 2000),
    st.lists(st.floats(-5, -1), min_size=8, max_size=8),
)
def test_scalar_problem_against_brute_force(depth, size, total, exponents):
    weight_decay = [10**exponent for exponent in exponents[:depth]]
    feature_decay = 10 ** exponents[-1]
    compared = deep_linear.scaled_decay(size, total, weight_decay, feature_decay)
    if abs(compared / deep_linear.threshold(depth) - 1) < 1e-6:
        return
    x = deep_linear.minimiser(compared, depth)
    z = math.sqrt(size) * float(deep_linear.logit_fraction(x, depth))
    expected = scalar_minimum(size, total, [*weight_decay, feature_decay])
    assert z == pytest.approx(expected, rel=1e-5, abs=1e-9)


# Golden numbers: derived and checked numerically.


def test_thresholds():
    tau = [1, 0.5, 0.5291336840, 0.6372704094, 0.7055115787]
    assert deep_linear.threshold([1, 2, 3, 6, 9]) == pytest.approx(tau, abs=5e-11)
    local = [1, 0.64952, 0.83995, 1.54245, 2.27801]
    assert deep_linear.metastable_threshold([1, 2, 3, 6, 9]) == pytest.approx(local, abs=5e-6)


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (1, [0.035355, 0.025000, 0.017678]),
        (2, [0.033930, 0.021375, 0.013465]),
        (3, [0.036186, 0.021517, 0.012794]),
        (6, [0.034320, 0.018946, 0.010459]),
        (9, [0.029765, 0.015951, 0.008548]),
    ],
)
def test_critical_decay(depth, expected):
    sizes = np.array([200, 100, 50])
    decay = deep_linear.decay_at(deep_linear.threshold(depth), sizes, 400, depth)
    assert decay == pytest.approx(expected, abs=6e-7)
    for size, critical in zip(sizes, decay, strict=True):
        back = deep_linear.scaled_decay(size, 400, [critical] * depth, critical)
        assert back == pytest.approx(deep_linear.threshold(depth), rel=1e-14)
        for factor, collapsed in ((1 - 1e-9, False), (1 + 1e-9, True)):
            prediction = predict(
                class_sizes=[200, 100, 50, 50],
                weight_decay=critical * factor,
                depth=depth,
                feature_decay=critical * factor,
            )
            index = [200, 100, 50].index(size)
            assert (index in prediction["collapsed_classes"]) is collapsed


@pytest.mark.parametrize(
    ("sizes", "depth", "loss", "eigenvalues"),
    [
        ([100] * 4, 1, 0.0198, [9.8] * 4),
        ([100] * 4, 3, 0.012629046992, [31.32229822] * 4),
        ([100] * 4, 6, 0.013507408250, [51.45141385] * 4),
        ([100] * 4, 9, 0.015843895355, [62.73527547] * 4),
        ([200, 100, 50, 50], 1, 0.018942135624, [13.94213562, 9.8, 6.87106781, 6.87106781]),
        (
            [200, 100, 50, 50],
            3,
            0.012218400372,
            [52.88267550, 31.32229822, 18.50220621, 18.50220621],
        ),
        (
            [200, 100, 50, 50],
            6,
            0.013220353373,
            [93.48033664, 51.45141385, 28.24929492, 28.24929492],
        ),
    ],
)
def test_optima_of_the_direct_experiments(sizes, depth, loss, eigenvalues):
    arguments = {"class_sizes": sizes, "weight_decay": 5e-4, "feature_decay": 5e-4, "depth": depth}
    prediction = predict(**arguments)
    assert prediction["loss"] == pytest.approx(loss, abs=6e-13)
    assert prediction["product_eigenvalues"] == pytest.approx(eigenvalues, abs=6e-9)
    if len(set(sizes)) == 1:
        centred = predict(**arguments, bias=True)
        assert centred["loss"] == pytest.approx(0.75 * prediction["loss"], rel=1e-14)
        assert centred["product_eigenvalues"] == [*prediction["product_eigenvalues"][:3], 0]
        assert centred["scaled_decay"] == prediction["scaled_decay"]
        norms = 0.75 * np.array(prediction["feature_norms_squared"])
        assert centred["feature_norms_squared"] == pytest.approx(norms, rel=1e-14)


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (1, [3.73391693, 3.13049517, 2.62127217]),
        (3, [1.93739825, 1.77545200, 1.62631220]),
        (6, [1.45957592, 1.38872560, 1.32104406]),
    ],
)
def test_layer_singular_values(depth, expected):
    prediction = predict(
        class_sizes=[50, 100, 200, 50], weight_decay=[5e-4] * depth, feature_decay=5e-4
    )
    expected = [*expected, expected[-1]]
    assert prediction["layer_singular_values"] == pytest.approx(expected, abs=6e-9)


@pytest.mark.parametrize(
    ("classes", "size", "depth", "decay", "etf", "cross_polytope"),
    [
        (6, 4, 2, 5e-3, 0.205548, 0.192029),
        (6, 4, 2, 1e-3, 0.048097, 0.045122),
        (4, 5, 3, 5e-3, 0.117074, 0.107296),
        (10, 4, 2, 1e-3, 0.086562, 0.076393),
        (10, 4, 3, 1e-3, 0.074669, 0.059114),
        (4, 5, 2, 5e-3, 0.131820, None),
    ],
)
def test_cross_entropy_families(classes, size, depth, decay, etf, cross_polytope):
    prediction = predict(
        class_sizes=[size] * classes,
        weight_decay=decay,
        feature_decay=decay,
        depth=depth,
        loss="ce",
    )
    assert prediction["loss_etf"] == pytest.approx(etf, abs=6e-7)
    if cross_polytope is not None:
        assert prediction["loss_cross_polytope"] == pytest.approx(cross_polytope, abs=6e-7)
    assert "loss" not in prediction


# Accuracy and extremes.


def exact_loss(class_sizes, weight_decay, feature_decay):
    """Return the bias-free loss below every threshold from 60-digit arithmetic."""
    depth, total = len(weight_decay), Decimal(sum(class_sizes))
    log_product = sum(Decimal(decay).ln() for decay in [*weight_decay, feature_decay])
    power = Decimal(depth - 1) / (depth + 1)
    loss = Decimal(0)
    for size in class_sizes:
        goal = total.ln() + log_product / (depth + 1)
        goal -= Decimal(size).ln() * depth / (depth + 1)
        low, high = goal - 1, (Decimal(depth + 1) / (2 * depth)).ln()
        for _ in range(190):
            middle = (low + high) / 2
            value = middle + (power * (1 - middle.exp()).ln() if power else 0)
            low, high = (middle, high) if value < goal else (low, middle)
        residual = low.exp()
        loss += size * residual * (1 + depth * (1 - residual)) / (2 * total)
    return loss


@pytest.mark.parametrize(
    ("sizes", "weight_decay", "feature_decay"),
    [
        ([100] * 4, [5e-4] * 3, 5e-4),
        ([200, 100, 50, 50], [5e-4, 1e-3, 2e-4, 5e-3, 1e-4, 3e-4], 7e-4),
        ([7, 3], [1e-100, 1e-20], 1e-60),
        ([10**9, 3], [1e-300], 1e3),
        ([10**9, 10**9, 1], [1e-300] * 50, 1e-300),
        ([10**9, 10**9, 1], [1e-300, 1e3], 1e-300),
    ],
)
def test_loss_to_machine_precision(sizes, weight_decay, feature_decay):
    prediction = predict(class_sizes=sizes, weight_decay=weight_decay, feature_decay=feature_decay)
    with localcontext(prec=60):
        exact = exact_loss(sizes, weight_decay, feature_decay)
        assert abs(Decimal(prediction["loss"]) / exact - 1) < Decimal("1e-14")


@pytest.mark.parametrize("decay", [1e-300, 1e-100, 1e-6, 1.0, 1e3])
@pytest.mark.parametrize("other", [1e-300, 1e-3, 1e3])
@pytest.mark.parametrize("depth", [1, 2, 7, 50])
@pytest.mark.filterwarnings("error")
def test_extremes_are_finite(decay, other, depth):
    for sizes in ([10**9, 10**9, 10**9], [10**9, 6, 1, 1], [1, 1]):
        for bias in (False, True):
            arguments = {"class_sizes": sizes, "weight_decay": [decay] * depth, "bias": bias}
            text = json.dumps(predict(**arguments, feature_decay=other), allow_nan=False)
            assert "null" not in text or len(set(sizes)) > 1
            if len(set(sizes)) == 1:
                json.dumps(predict(**arguments, feature_decay=other, loss="ce"), allow_nan=False)


def test_values_beyond_double_precision_are_an_error():
    with pytest.raises(InputError, match="leaves the range of double precision"):
        predict(class_sizes=[3, 3], weight_decay=1e300, feature_decay=1e300)


# Thresholds, metastability, ties.


@pytest.mark.parametrize("depth", [2, 3, 6, 9])
def test_metastable_branch(depth):
    tau, local = deep_linear.threshold(depth), deep_linear.metastable_threshold(depth)
    below, between, beyond = 0.999 * tau, (tau + local) / 2, 1.001 * local
    x = deep_linear.largest_root(np.array([below, between, beyond]), depth)
    assert np.isnan(x[2])
    for root, decay in ((x[0], below), (x[1], between)):
        stationary = depth * root ** (depth - 1) / (root**depth + 1) ** 2
        assert stationary == pytest.approx(decay, rel=1e-13)
    expected = [x[0], 0, 0]
    assert deep_linear.minimiser([below, between, beyond], depth).tolist() == expected
    at_limit = deep_linear.largest_root(local, depth)
    assert at_limit == pytest.approx(((depth - 1) / (depth + 1)) ** (1 / depth), rel=1e-7)
    at_jump = deep_linear.logit_fraction(deep_linear.largest_root(tau, depth), depth)
    assert at_jump == pytest.approx((depth - 1) / depth, rel=1e-13)


def test_vectorised_over_decay_and_depth():
    decays = np.geomspace(1e-6, 3, 50)[:, None]
    depths = np.array([1, 2, 3, 9])
    x = deep_linear.minimiser(decays, depths)
    assert x.shape == (50, 4)
    single = [[float(deep_linear.minimiser(d[0], m)) for m in depths] for d in decays]
    assert x == pytest.approx(np.array(single), rel=1e-13)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("depth", [2, 3, 9])
def test_tie_at_the_threshold(depth, bias):
    decay = float(deep_linear.decay_at(deep_linear.threshold(depth), 100, 400, depth))
    prediction = predict(
        class_sizes=[100] * 4, weight_decay=decay, feature_decay=decay, depth=depth, bias=bias
    )
    assert all(prediction[key] is None for key in [*SPECTRA, *OF_CLASSES])
    assert prediction["loss"] == pytest.approx(0.375 if bias else 0.5, rel=1e-14)
    assert prediction["scaled_decay"] == pytest.approx([prediction["threshold"]] * 4)


def test_single_layer_has_no_tie():
    decay = float(deep_linear.decay_at(1, 100, 400, 1))
    prediction = predict(class_sizes=[100] * 4, weight_decay=decay, feature_decay=decay)
    assert prediction["product_eigenvalues"] == [0] * 4
    assert prediction["collapsed_classes"] == [0, 1, 2, 3]


# Bottlenecks.


def test_bottleneck_keeps_the_largest_classes():
    arguments = {"weight_decay": 1e-3, "feature_decay": 1e-3, "depth": 2}
    free = predict(class_sizes=[4, 12, 2, 1], **arguments)
    narrow = predict(class_sizes=[4, 12, 2, 1], **arguments, widths=[5, 2])
    assert narrow["collapsed_classes"] == [2, 3]
    for key in SPECTRA:
        assert narrow[key] == [*free[key][:2], 0, 0]
    assert narrow["feature_norms_squared"] == [*free["feature_norms_squared"][:2], 0, 0]


@pytest.mark.parametrize("sizes", [[5, 5, 5, 5], [9, 5, 5, 5]])
def test_bottleneck_through_equal_classes(sizes):
    arguments = {"weight_decay": 1e-3, "feature_decay": 1e-3, "depth": 2}
    free = predict(class_sizes=sizes, **arguments)
    narrow = predict(class_sizes=sizes, **arguments, widths=2)
    assert narrow["feature_norms_squared"] is narrow["collapsed_classes"] is None
    for key in SPECTRA:
        assert narrow[key] == [*free[key][:2], 0, 0]
    strong = {"weight_decay": 9.0, "feature_decay": 9.0}
    assert predict(class_sizes=sizes, **strong, widths=2)["collapsed_classes"] == [0, 1, 2, 3]
    full = full_problem(sizes, [1e-3] * 2, 1e-3, [2, 2])
    assert full.descend(narrow["loss"]).fun == pytest.approx(narrow["loss"], rel=1e-8)


def test_bias_needs_one_direction_less():
    arguments = {"class_sizes": [5] * 4, "weight_decay": 1e-3, "feature_decay": 1e-3, "bias": True}
    assert predict(**arguments, widths=3) == predict(**arguments)
    assert predict(**arguments, widths=2)["feature_norms_squared"] is None


# A bias with unequal classes.


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=2, max_size=8))
def test_bias_with_unequal_classes(sizes):
    counts = np.array(sizes, dtype=float)
    centred = np.diag(counts) - np.outer(counts, counts) / counts.sum()
    values, vectors = np.linalg.eigh(centred)
    values, vectors = values[::-1], vectors[:, ::-1]
    prediction = predict(class_sizes=sizes, weight_decay=1e-4, feature_decay=1e-4, bias=True)
    alive = values > 1e-9
    values, vectors = values[alive], vectors[:, alive]
    # One layer: z = sqrt(nu) - N decay in each direction.
    kept = 1 - counts.sum() * 1e-4 / np.sqrt(values)
    z = np.pad(np.sqrt(values) * kept, (0, len(sizes) - len(values)))
    assert prediction["logit_singular_values"] == pytest.approx(z, rel=1e-9)
    norms = kept * (1 - kept) / (counts.sum() * 1e-4) * (values * vectors / counts[:, None]) ** 2
    assert prediction["feature_norms_squared"] == pytest.approx(norms.sum(axis=1), rel=1e-9)
    assert (prediction["scaled_decay"] is None) == (len(set(sizes)) > 1)


def test_bias_with_unequal_classes_that_collapse():
    # diag(n) - n n^T/N of (10, 10, 1, 1) has the eigenvalues 10, 20/11 and 1; the first belongs
    # to the difference of the two large classes alone.
    decay = float(deep_linear.decay_at(1, 4, 22, 1))
    arguments = {"class_sizes": [10, 10, 1, 1], "weight_decay": decay, "feature_decay": decay}
    prediction = predict(**arguments, bias=True)
    assert prediction["collapsed_classes"] == [2, 3]
    assert prediction["logit_singular_values"][1:] == [0, 0, 0]
    assert prediction["feature_norms_squared"][2:] == [0, 0]
    weak = predict(class_sizes=[10, 10, 1, 1], weight_decay=1e-6, feature_decay=1e-6, bias=True)
    strengths = (np.array(weak["logit_singular_values"][:3]) + 22e-6) ** 2
    assert strengths == pytest.approx([10, 20 / 11, 1], rel=1e-12)


# Cross-entropy.


@pytest.mark.parametrize(
    ("classes", "size", "decays", "bias"),
    [
        (4, 5, (5e-3, 2e-2), False),
        (4, 5, (5e-3, 2e-2), True),
        (3, 4, (1e-2, 1e-2), False),
        (2, 3, (5e-2, 1e-2), True),
        (3, 2, (0.3, 0.5), False),
    ],
)
def test_cross_entropy_of_one_layer_matches_descent(classes, size, decays, bias):
    sizes = [size] * classes
    prediction = predict(
        class_sizes=sizes, weight_decay=decays[0], feature_decay=decays[1], loss="ce", bias=bias
    )
    full = full_problem(sizes, [decays[0]], decays[1], loss="ce", bias=bias)
    best = full.descend(prediction["loss"])
    assert best.fun == pytest.approx(prediction["loss"], rel=1e-9)
    logits = np.array(full.measured(best.x)["logit_singular_values"])
    expected = [prediction["alpha"] * math.sqrt(size)] * (classes - 1) + [0]
    assert logits == pytest.approx(expected, rel=1e-3, abs=1e-4)


def family_point(frame, alpha, size, weight_decay, feature_decay):
    """Return balanced parameters with logits ``alpha frame`` for every sample."""
    logits = np.repeat(alpha * frame, size, axis=1)
    left, values, right = np.linalg.svd(logits, full_matrices=False)
    values[values < 1e-9] = 0
    depth = len(weight_decay)
    power = (math.prod([*weight_decay, feature_decay]) * values**2) ** (1 / (depth + 1))
    layers = [np.diag(np.sqrt(power / decay)) for decay in weight_decay]
    layers[-1] = left @ layers[-1]
    blocks = [np.diag(np.sqrt(power / feature_decay)) @ right, *layers]
    return np.concatenate([block.ravel() for block in blocks])


@pytest.mark.parametrize("classes", [2, 4, 6])
@pytest.mark.parametrize("weight_decay", [[5e-3, 1e-3], [5e-3, 1e-3, 2e-3, 3e-3]])
def test_families_are_losses_of_explicit_stationary_points(classes, weight_decay):
    size, feature_decay = 3, 2e-3
    etf = np.eye(classes) - 1 / classes
    cross_polytope = np.kron(np.eye(classes // 2), [[1, -1], [-1, 1]])
    full = full_problem([size] * classes, weight_decay, feature_decay, loss="ce")
    prediction = predict(
        class_sizes=[size] * classes,
        weight_decay=weight_decay,
        feature_decay=feature_decay,
        loss="ce",
    )
    for frame, name, family in (
        (etf, "etf", cross_entropy.etf_loss),
        (cross_polytope, "cross_polytope", cross_entropy.cross_polytope_loss),
    ):
        alpha = prediction[f"alpha_{name}"]
        value, gradient = full(family_point(frame, alpha, size, weight_decay, feature_decay))
        assert np.linalg.norm(gradient) < 1e-12
        assert value == pytest.approx(prediction[f"loss_{name}"], rel=1e-13)
        other, _ = full(family_point(frame, 1.7, size, weight_decay, feature_decay))
        assert other == pytest.approx(family(1.7, size, classes, weight_decay, feature_decay))


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.integers(2, 30), st.integers(1, 1000), st.integers(2, 12), st.floats(-8, 0))
def test_families_are_minimised_globally(classes, size, depth, exponent):
    decay = 10**exponent
    prediction = predict(
        class_sizes=[size] * classes,
        weight_decay=decay,
        feature_decay=decay,
        depth=depth,
        loss="ce",
    )
    alphas = np.concatenate([[0], np.geomspace(1e-6, 300, 4000)])
    arguments = (alphas, size, classes, [decay] * depth, decay)
    pairs = [("loss_etf", cross_entropy.etf_loss)]
    if classes % 2 == 0:
        pairs.append(("loss_cross_polytope", cross_entropy.cross_polytope_loss))
    else:
        assert prediction["loss_cross_polytope"] is None
    for name, family in pairs:
        least = float(np.min(family(*arguments)))
        assert prediction[name] <= least * (1 + 1e-13)
        assert prediction[name] == pytest.approx(least, rel=1e-4)


def test_tie_of_a_family_with_zero():
    low, high = 1e-3, 1.0
    for _ in range(200):
        decay = (low + high) / 2
        prediction = predict(
            class_sizes=[5] * 4, weight_decay=decay, feature_decay=decay, depth=3, loss="ce"
        )
        alpha = prediction["alpha_etf"]
        if alpha is None:
            break
        low, high = (decay, high) if alpha > 0 else (low, decay)
    assert alpha is None
    assert prediction["loss_etf"] == pytest.approx(math.log(4), rel=1e-14)


def test_cross_entropy_widths():
    arguments = {"class_sizes": [4] * 6, "weight_decay": 1e-3, "feature_decay": 1e-3, "loss": "ce"}
    free = predict(**arguments, depth=2)
    narrow = predict(**arguments, depth=2, widths=[9, 3])
    assert narrow == free | {"loss_etf": None, "alpha_etf": None}
    assert set(predict(**arguments, depth=2, widths=2).values()) == {None}
    assert predict(**arguments, widths=5) == predict(**arguments)
    assert predict(**arguments, widths=4) == {"loss": None, "alpha": None}


def test_cross_entropy_collapses_with_squared_error():
    for factor, collapsed in ((0.999, False), (1.001, True)):
        decay = float(factor * deep_linear.decay_at(1, 5, 20, 1))
        arguments = {"class_sizes": [5] * 4, "weight_decay": decay, "feature_decay": decay}
        assert (predict(**arguments, loss="ce")["alpha"] == 0) is collapsed
        assert (predict(**arguments)["collapsed_classes"] == [0, 1, 2, 3]) is collapsed


# Errors.

VALID = {"class_sizes": [4, 2], "weight_decay": 1e-3, "feature_decay": 1e-3}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_sizes": [4]}, "class_sizes: found [4], allowed: a list of at least 2"),
        ({"class_sizes": [4, 0]}, "class_sizes: found [4, 0], allowed"),
        ({"class_sizes": [4, 2.0]}, "class_sizes: found [4, 2.0]"),
        ({"class_sizes": [4, True]}, "class_sizes: found [4, true]"),
        ({"class_sizes": "4,2"}, 'class_sizes: found "4,2"'),
        ({"weight_decay": 0}, "weight_decay: found 0, allowed: a finite number in (0, inf)"),
        ({"weight_decay": []}, "weight_decay: found []"),
        ({"weight_decay": True}, "weight_decay: found true"),
        ({"weight_decay": [1e-3, -1]}, "weight_decay: found [0.001, -1]"),
        ({"weight_decay": 10**400}, "weight_decay: found 1000"),
        ({"feature_decay": float("nan")}, "feature_decay: found NaN"),
        ({"feature_decay": "x"}, 'feature_decay: found "x"'),
        ({"depth": 0}, "depth: found 0, allowed: an integer from 1"),
        ({"depth": 2.0}, "depth: found 2.0"),
        ({"depth": None}, "depth: found null"),
        ({"weight_decay": [1e-3, 1e-3], "depth": 3}, "depth: found 3, allowed: 2"),
        ({"weight_decay": [1e-3], "depth": 2}, "depth: found 2, allowed: 1"),
        ({"depth": 2, "widths": [3, 3, 3]}, "widths: found 3 numbers, allowed: one, or 2"),
        ({"widths": 0}, "widths: found 0"),
        ({"loss": "l2"}, 'loss: found "l2", allowed: mse or ce'),
        ({"bias": 1}, "bias: found 1, allowed: true or false"),
        ({"loss": "ce"}, "class_sizes: found unequal sizes, allowed with loss=ce: equal sizes"),
        ({"wieght_decay": 1}, 'unknown hyperparameter "wieght_decay" (did you mean weight_decay?)'),
        ({"seed": 1}, 'unknown hyperparameter "seed", allowed: class_sizes, weight_decay'),
    ],
)
def test_errors_name_key_found_and_allowed(changes, message):
    with pytest.raises(InputError) as error:
        predict(**VALID | changes)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", VALID)
def test_missing_key(name):
    rest = {key: value for key, value in VALID.items() if key != name}
    with pytest.raises(InputError, match=f"{name}: missing, allowed: "):
        predict(**rest)


def test_odd_classes_have_no_cross_polytope():
    with pytest.raises(InputError, match="classes: found 3"):
        cross_entropy.cross_polytope_loss(1.0, 4, 3, [1e-3, 1e-3], 1e-3)


def test_numpy_scalars_are_numbers():
    assert predict(
        class_sizes=list(np.array([4, 2])), weight_decay=np.float64(1e-3), feature_decay=1e-3
    ) == predict(**VALID)
