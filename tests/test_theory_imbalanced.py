"""The general orthogonal frame and minority collapse, against formulas and descent."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from collapse.errors import InputError
from collapse.problems.deep_linear import DeepLinear, class_targets
from collapse.problems.solvers.lbfgs import lbfgs
from collapse.theory import deep_linear
from collapse.theory.frame import lengths
from collapse.theory.imbalanced import frame_of_run, predict

BY_CLASS = ("gof_singular_values", "critical_decay", "weight_norm_ratio", "feature_norm_ratio")


def reference(size, total, weight_decay, feature_decay):
    """Norms of a row of P and of the mean feature, and s of W_1, from the logit's own problem.

    A logit of singular value z costs the balanced factors t = (prod lambda)^(1/(M+1)) z^(2/(M+1))
    each: min (z - sqrt(n))^2/(2N) + (M+1)/2 t, against z = 0.
    """
    depth, label = len(weight_decay), math.sqrt(size)
    root = math.prod(decay ** (1 / (depth + 1)) for decay in (*weight_decay, feature_decay))

    def price(z):
        return root * z ** (2 / (depth + 1))

    def slope(z):
        return (z - label) / total + root * z ** ((1 - depth) / (depth + 1))

    least = label * (depth - 1) / (2 * depth)
    if slope(least or 1e-300) >= 0:
        return 0.0, 0.0, 0.0
    z = brentq(slope, least or 1e-300, label, xtol=1e-300, rtol=1e-15)
    if (z - label) ** 2 / (2 * total) + (depth + 1) / 2 * price(z) > label**2 / (2 * total):
        return 0.0, 0.0, 0.0
    factors = [math.sqrt(price(z) / decay) for decay in weight_decay]
    return math.prod(factors), math.sqrt(price(z) / (feature_decay * size)), factors[0]


@st.composite
def unequal_problems(draw):
    """Class sizes and decays that differ from layer to layer, no class at its threshold."""
    sizes = draw(st.lists(st.integers(1, 500), min_size=2, max_size=6))
    depth, share = draw(st.integers(1, 5)), 10 ** draw(st.floats(-2.5, 0.3))
    scale = deep_linear.decay_at(share, max(sizes), sum(sizes), depth)
    shifts = draw(st.lists(st.floats(-0.5, 0.5), min_size=depth + 1, max_size=depth + 1))
    decays = [float(scale) * 10**shift for shift in shifts]
    compared = deep_linear.scaled_decay(np.array(sizes), sum(sizes), decays[:-1], decays[-1])
    assume(np.all(np.abs(compared / deep_linear.threshold(depth) - 1) > 1e-6))
    return {"class_sizes": sizes, "weight_decay": decays[:-1], "feature_decay": decays[-1]}


def frame(class_sizes, weight_decay, feature_decay, widths=9, loss="mse", bias=False):
    """What a run of a problem with these hyperparameters is measured against."""
    shape = {"class_sizes": class_sizes, "depth": len(weight_decay), "widths": widths}
    decays = {"weight_decay": weight_decay, "feature_decay": feature_decay}
    return frame_of_run({"problem": {**shape, "loss": loss, "bias": bias}, **decays}, {})


@settings(derandomize=True, max_examples=100, deadline=None)
@given(unequal_problems())
def test_the_frame_is_that_of_the_logits_own_problem(problem):
    sizes, decays = problem["class_sizes"], (problem["weight_decay"], problem["feature_decay"])
    found = lengths(sizes, sum(sizes), *decays)
    expected = np.array([reference(size, sum(sizes), *decays) for size in sizes]).T
    for name, values in zip(("weights", "features", "first_layer"), expected, strict=True):
        assert getattr(found, name) == pytest.approx(values, rel=1e-6, abs=1e-300), name


@settings(derandomize=True, max_examples=100, deadline=None)
@given(unequal_problems())
def test_the_frame_is_in_class_order_and_agrees_with_the_spectra(problem):
    sizes, decays = problem["class_sizes"], (problem["weight_decay"], problem["feature_decay"])
    found, predicted = lengths(sizes, sum(sizes), *decays), predict(**problem)
    features, first = predicted["feature_norms_squared"], predicted["gof_singular_values"]
    assert found.features**2 == pytest.approx(features, rel=1e-9)
    assert found.first_layer == pytest.approx(first, rel=1e-12)
    for lengths_, spectrum in (
        (found.weights**2, predicted["product_eigenvalues"]),
        (found.first_layer, predicted["layer_singular_values"]),
        (
            found.weights * found.features * np.sqrt(sizes),
            predicted["logit_singular_values"],
        ),
    ):
        assert sorted(lengths_, reverse=True) == pytest.approx(spectrum, rel=1e-9)
    collapsed = np.flatnonzero(found.weights == 0)
    assert collapsed.tolist() == sorted(predicted["collapsed_classes"])
    assert not found.features[collapsed].any() and not found.first_layer[collapsed].any()
    turned = frame(**problem | {"class_sizes": sizes[::-1]})
    assert turned["weight_norm"][::-1] == pytest.approx(found.weights, rel=1e-12)
    assert turned["feature_norm"][::-1] == pytest.approx(found.features, rel=1e-12)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.1, 500), min_size=1, max_size=6),
    st.floats(1, 1000),
    st.floats(-6, -2),
    st.floats(-6, -2),
)
def test_lengths_of_one_layer_for_real_sizes(sizes, total, log_weight, log_feature):
    sizes, weight, feature = np.array(sizes), 10**log_weight, 10**log_feature
    found = lengths(sizes, total, [weight], feature)
    squared = np.sqrt(sizes * feature / weight) - total * feature
    features = np.sqrt(weight / (sizes * feature)) - total * weight / sizes
    scale = np.sqrt(sizes * feature / weight)
    alive = squared > 0
    assert found.first_layer**2 == pytest.approx(
        np.where(alive, squared, 0), abs=1e-9 * scale.max()
    )
    assert found.weights == pytest.approx(found.first_layer, rel=1e-14)
    clear = np.abs(squared) > 1e-6 * scale
    expected = np.where(alive, features, 0)[clear]
    assert found.features[clear] ** 2 == pytest.approx(expected, rel=1e-8)


def test_lengths_have_the_shape_of_the_sizes_and_jump_at_the_critical_one():
    weight_decay, feature_decay, total = [4e-3, 1e-3, 2e-3], 3e-3, 41.5
    product = math.prod(weight_decay) * feature_decay
    # n_crit = M^2 N (N prod lambda)^(1/M) / (M-1)^((M-1)/M)
    critical = 9 * total * (total * product) ** (1 / 3) / 2 ** (2 / 3)
    sizes = critical * np.array([[0.5, 1 - 1e-9, 1 + 1e-9], [1.5, 2.25, 30.0]])
    found = lengths(sizes, total, weight_decay, feature_decay)
    for values in (found.weights, found.features, found.first_layer):
        assert values.shape == sizes.shape
        assert ((values > 0) == [[False, False, True], [True] * 3]).all()
    expected = [reference(size, total, weight_decay, feature_decay) for size in sizes[1]]
    assert found.weights[1] == pytest.approx([each[0] for each in expected], rel=1e-9)
    # A surviving class starts at the fraction (M-1)/M of its label.
    fraction = found.weights[0, 2] * found.features[0, 2]
    assert fraction == pytest.approx(2 / 3, rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "there"),
    [
        ({}, True),
        ({"bias": True}, False),
        ({"class_sizes": [4, 4, 4], "loss": "ce"}, False),
        ({"class_sizes": [4, 4, 4], "bias": True}, False),
        ({"widths": 3}, True),
        ({"widths": 2}, False),
        ({"widths": [3, 9]}, True),
        ({"widths": [9, 2]}, False),
        ({"widths": [2, 9]}, False),
        ({"weight_decay": [1e-3, 0.0]}, False),
        ({"feature_decay": 0.0}, False),
    ],
)
def test_the_frame_needs_decays_squared_error_no_bias_and_room_for_all_classes(changes, there):
    base = {"class_sizes": [9, 5, 2], "weight_decay": [1e-3, 2e-3], "feature_decay": 1e-3}
    found = frame(**base | changes)
    assert bool(found) == there
    if there:
        expected = lengths(base["class_sizes"], 16, base["weight_decay"], base["feature_decay"])
        assert found["weight_norm"].tolist() == expected.weights.tolist()
        assert found["feature_norm"].tolist() == expected.features.tolist()
        assert found["weight_norm"].all()


def test_a_network_has_the_frame_of_the_samples_it_was_trained_on():
    sizes, decays = [9, 5, 2], {"weight_decay": [1e-3, 2e-3], "feature_decay": 1e-3}
    config = {"head": {"depth": 2, "bias": False}, "loss": {"kind": "mse"}, **decays}
    expected = frame(sizes, **decays)
    for width, there in ((None, True), (3, True), (2, False)):
        found = frame_of_run(config, {"class_sizes": sizes, "width": width})
        assert bool(found) == there
        for name, values in found.items():
            assert values.tolist() == expected[name].tolist()
    facts = {"class_sizes": sizes, "width": 3}
    assert not frame_of_run(config | {"head": {"depth": 2, "bias": True}}, facts)
    assert not frame_of_run(config | {"loss": {"kind": "ce"}}, facts | {"class_sizes": [4] * 3})


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 500), min_size=2, max_size=6),
    st.floats(-6, -2),
    st.floats(-6, -2),
)
def test_one_layer_has_the_lengths_of_the_paper(sizes, log_weight, log_feature):
    weight, feature = 10**log_weight, 10**log_feature
    found = predict(class_sizes=sizes, weight_decay=weight, feature_decay=feature)
    sizes, total = np.array(sizes), sum(sizes)
    critical = total**2 * weight * feature
    assert found["critical_class_size"] == pytest.approx(critical, rel=1e-12)
    squared = np.sqrt(sizes * feature / weight) - total * feature
    alive = sizes > critical * (1 + 1e-9)
    near = np.abs(sizes / critical - 1) < 1e-6
    lengths = np.sqrt(np.where(alive, squared, 0.0))
    scale = np.sqrt(np.sqrt(sizes * feature / weight))
    error = np.abs(np.array(found["gof_singular_values"]) - lengths)
    assert np.all(error[~near] <= 1e-8 * scale[~near])
    assert np.array(found["critical_decay"]) == pytest.approx(np.sqrt(sizes) / total, rel=1e-12)
    if alive[np.argmax(sizes)] and not near.any():
        features = np.sqrt(
            np.maximum(np.sqrt(weight / (sizes * feature)) - total * weight / sizes, 0)
        )
        for key, norms in (("weight_norm_ratio", lengths), ("feature_norm_ratio", features)):
            expected = norms / norms[np.argmax(sizes)]
            assert np.array(found[key]) == pytest.approx(expected, rel=1e-6, abs=1e-6), key


@pytest.mark.parametrize(
    ("depth", "critical"),
    [
        (1, [0.035355, 0.025, 0.017678, 0.017678]),
        (2, [0.033930, 0.021375, 0.013465, 0.013465]),
        (3, [0.036186, 0.021517, 0.012794, 0.012794]),
        (6, [0.034320, 0.018946, 0.010459, 0.010459]),
        (9, [0.029765, 0.015951, 0.008548, 0.008548]),
    ],
)
def test_classes_collapse_one_by_one_at_their_critical_decay(depth, critical):
    sizes = [200, 100, 50, 50]

    def at(decay):
        return predict(class_sizes=sizes, weight_decay=[decay] * depth, feature_decay=decay)

    found = at(1e-3)["critical_decay"]
    assert found == pytest.approx(critical, abs=6e-7)
    for label, decay in enumerate(found):
        below, above = at(decay * (1 - 1e-9)), at(decay * (1 + 1e-9))
        assert label not in below["collapsed_classes"] and label in above["collapsed_classes"]
        assert below["critical_class_size"] < sizes[label] < above["critical_class_size"]
        assert above["gof_singular_values"][label] == 0
        # The classes above their critical size are not touched.
        for other, size in enumerate(sizes):
            if size > sizes[label]:
                both = below["gof_singular_values"][other], above["gof_singular_values"][other]
                assert both[0] == pytest.approx(both[1], rel=1e-6) and both[1] > 0
    assert at(2 * max(found))["weight_norm_ratio"] is None


SHAPES = [
    ([3, 9, 1, 6], [3e-3, 1e-3], 2e-3, [4, 6]),
    ([2, 12, 4], [1e-2, 4e-3, 6e-3], 8e-3, [5, 3, 4]),
    ([9, 6, 3, 1], [2e-2], 1e-2, [5]),
    ([12, 4, 2, 1], [4e-3, 2e-3], 3e-3, [2, 4]),
]


@pytest.mark.parametrize(("sizes", "weight_decay", "feature_decay", "widths"), SHAPES)
def test_descent_reaches_the_frame_class_by_class(sizes, weight_decay, feature_decay, widths):
    found = predict(
        class_sizes=sizes, weight_decay=weight_decay, feature_decay=feature_decay, widths=widths
    )
    starts = 12
    problem = DeepLinear(
        class_targets(sizes),
        tuple(widths),
        torch.tensor([weight_decay] * starts, dtype=torch.float64),
        torch.full((starts,), feature_decay, dtype=torch.float64),
    )
    ends = lbfgs(problem, problem.initial(range(starts), 0.4), 1e-11, 20_000)
    best = int(ends.objective[:, 0].argmin())
    assert ends.objective[best, 0].item() == pytest.approx(found["loss"], rel=1e-8)
    state = ends.state(0)
    weights = [weight[best].numpy() for weight in state.weights]
    product = weights[0]
    for weight in weights[1:]:
        product = weight @ product
    labels = np.repeat(np.arange(len(sizes)), sizes)
    features = state.features[best].numpy()
    means = np.stack([features[:, labels == k].mean(1) for k in range(len(sizes))], axis=1)
    largest = int(np.argmax(sizes))
    rows, norms = np.linalg.norm(product, axis=1), np.linalg.norm(means, axis=0)
    assert rows / rows[largest] == pytest.approx(found["weight_norm_ratio"], abs=2e-4)
    assert norms / norms[largest] == pytest.approx(found["feature_norm_ratio"], abs=2e-4)
    predicted = frame(
        class_sizes=sizes, weight_decay=weight_decay, feature_decay=feature_decay, widths=widths
    )
    if predicted:
        assert rows == pytest.approx(predicted["weight_norm"], rel=1e-3, abs=2e-4)
        assert norms == pytest.approx(predicted["feature_norm"], rel=1e-3, abs=2e-4)
        first = lengths(sizes, sum(sizes), weight_decay, feature_decay).first_layer
        spectrum = np.linalg.svd(weights[0], compute_uv=False)[: len(sizes)]
        assert spectrum == pytest.approx(sorted(first)[::-1], rel=1e-3, abs=1e-3)
    # The direction of class k in W_1 is that of its mean feature.
    alive = norms > 1e-3 * norms.max()
    along = np.linalg.norm(weights[0] @ (means[:, alive] / norms[alive]), axis=0)
    expected = np.array(found["gof_singular_values"])
    assert along == pytest.approx(expected[alive], rel=1e-3)
    assert not expected[~alive].any()
    assert found["collapsed_directions"] == np.count_nonzero(~alive)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 60), min_size=2, max_size=6),
    st.integers(1, 4),
    st.floats(-5, -1.5),
    st.randoms(use_true_random=False),
)
def test_classes_keep_their_own_numbers_in_any_order(sizes, depth, log_decay, random):
    order = list(range(len(sizes)))
    random.shuffle(order)
    decays = {"weight_decay": [10**log_decay] * depth, "feature_decay": 10**log_decay}
    first = predict(class_sizes=sizes, **decays)
    second = predict(class_sizes=[sizes[index] for index in order], **decays)
    for key in BY_CLASS:
        if first[key] is None:
            assert second[key] is None
        else:
            assert [first[key][index] for index in order] == pytest.approx(second[key], rel=1e-12)
    for key in ("critical_class_size", "collapsed_directions", "loss"):
        assert first[key] == pytest.approx(second[key], rel=1e-12)


@pytest.mark.parametrize("sizes", [[200, 100, 50, 50], [20, 10, 5, 4, 1], [7, 7, 7]])
@pytest.mark.parametrize("depth", [1, 3])
def test_with_a_bias_directions_are_counted(sizes, depth):
    total = sum(sizes)
    covariance = np.diag(sizes) - np.outer(sizes, sizes) / total
    strengths = np.linalg.eigvalsh(covariance)[1:]
    for decay in (1e-3, 1e-2, 2e-2, 5e-2):
        decays = {"weight_decay": [decay] * depth, "feature_decay": decay}
        found = predict(class_sizes=sizes, bias=True, **decays)
        assert all(found[key] is None for key in (*BY_CLASS, "critical_class_size"))
        compared = deep_linear.scaled_decay(strengths, total, [decay] * depth, decay)
        collapsed = int(np.count_nonzero(compared >= deep_linear.threshold(depth)))
        assert found["collapsed_directions"] == collapsed


def test_it_extends_the_keys_of_the_balanced_study():
    given_ = {"class_sizes": [4, 2], "weight_decay": [1e-2, 2e-2], "feature_decay": 1e-3}
    found, base = predict(**given_), deep_linear.predict(**given_)
    assert {key: found[key] for key in base} == base
    assert set(found) - set(base) == {*BY_CLASS, "critical_class_size", "collapsed_directions"}
    equal = given_ | {"class_sizes": [3, 3], "loss": "ce"}
    assert predict(**equal) == deep_linear.predict(**equal)


def test_what_a_bottleneck_leaves_open_is_null():
    found = predict(class_sizes=[5, 3, 3], weight_decay=[1e-3], feature_decay=1e-3, widths=2)
    assert found["collapsed_directions"] == 1
    assert found["gof_singular_values"] is None and found["weight_norm_ratio"] is None
    assert found["critical_decay"] is not None
    # At the threshold itself zero ties with the frame.
    decay = predict(class_sizes=[5, 3], weight_decay=[1e-3] * 2, feature_decay=1e-3)
    critical = decay["critical_decay"][1]
    tied = predict(class_sizes=[5, 3], weight_decay=[critical] * 2, feature_decay=critical)
    assert tied["collapsed_directions"] is None and tied["gof_singular_values"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_sizes": []}, "class_sizes"),
        ({"class_sizes": [5, 0]}, "class_sizes"),
        ({"class_sizes": [5, -2]}, "class_sizes"),
        ({"class_sizes": [5, 2.5]}, "class_sizes"),
        ({"depth": 3}, "depth"),
        ({"weight_decay": [1e-3, -1e-3]}, "weight_decay"),
        ({"feature_decay": math.nan}, "feature_decay"),
    ],
)
def test_bad_hyperparameters_are_refused(changes, message):
    base = {"class_sizes": [5, 2], "weight_decay": [1e-3, 1e-3], "feature_decay": 1e-3}
    with pytest.raises(InputError, match=message) as error:
        predict(**base | changes)
    assert "\n" not in str(error.value)
