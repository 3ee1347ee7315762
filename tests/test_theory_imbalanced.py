"""The general orthogonal frame and minority collapse, against formulas and descent."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse.errors import InputError
from collapse.problems.deep_linear import DeepLinear, class_targets
from collapse.problems.solver import lbfgs
from collapse.theory import deep_linear
from collapse.theory.imbalanced import predict

BY_CLASS = ("gof_singular_values", "critical_decay", "weight_norm_ratio", "feature_norm_ratio")


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
    rows, lengths = np.linalg.norm(product, axis=1), np.linalg.norm(means, axis=0)
    assert rows / rows[largest] == pytest.approx(found["weight_norm_ratio"], abs=2e-4)
    assert lengths / lengths[largest] == pytest.approx(found["feature_norm_ratio"], abs=2e-4)
    # The direction of class k in W_1 is that of its mean feature.
    alive = lengths > 1e-3 * lengths.max()
    along = np.linalg.norm(weights[0] @ (means[:, alive] / lengths[alive]), axis=0)
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
