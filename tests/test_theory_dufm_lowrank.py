"""Closed forms of the ReLU features model, against minimisations of parameters written here."""

import json
import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from collapse.cli import main
from collapse.errors import InputError
from collapse.theory.dufm_lowrank import (
    collapsed_loss,
    graph_sizes,
    graph_vertices,
    limit_ratio,
    of_run,
    predict,
    threshold,
)
from conftest import FEW


def settings(classes=10, depth=4, decay=0.004, feature_decay=None, samples=1):
    return {
        "classes": classes,
        "depth": depth,
        "samples_per_class": samples,
        "weight_decay": decay,
        "feature_decay": decay if feature_decay is None else feature_decay,
    }


# The objective over parameters, written here, with all samples of a class alike.


def objective(factors, weight_decay, feature_decay, samples):
    """Of class means and W_1 to W_L, with one decay a layer."""
    means, *weights = factors
    values = weights[0] @ means
    for weight in weights[1:]:
        values = weight @ np.maximum(values, 0)
    classes = len(values)
    fit = np.sum((values - np.eye(classes)) ** 2) / (2 * classes)
    penalty = sum(d * np.sum(w**2) / 2 for d, w in zip(weight_decay, weights, strict=True))
    return fit + penalty + samples * feature_decay * np.sum(means**2) / 2


def incidence(vertices):
    edges = list(combinations(range(vertices), 2))
    return np.array([[float(v in edge) for edge in edges] for v in range(vertices)])


def shapes(vertices, depth):
    """Factors of the graph up to their scales: H, W_1 to W_L."""
    edges = incidence(vertices)
    left, values, right = np.linalg.svd(edges, full_matrices=False)
    first = [np.sqrt(values)[:, None] * right, left * np.sqrt(values)]
    disjoint = np.array(
        [
            [float(not {*a} & {*b}) for a in combinations(range(vertices), 2)]
            for b in combinations(range(vertices), 2)
        ]
    )
    return [
        *first,
        *[np.eye(vertices)] * (depth - 3),
        0.5 - edges.T,
        np.linalg.inv(disjoint),
    ]


def best_scales(factors, weight_decay, feature_decay, samples):
    """The least objective over a positive scale of each factor, without the closed form."""

    def value(logs):
        scaled = [math.exp(log) * factor for log, factor in zip(logs, factors, strict=True)]
        return objective(scaled, weight_decay, feature_decay, samples)

    # From a product of scales of about one, as the output has.
    starts = [np.full(len(factors), shift) for shift in (0.0, -0.05)]
    ends = [
        minimize(value, start, method="BFGS", options={"gtol": 1e-9, "maxiter": 2000})
        for start in starts
    ]
    return min(end.fun for end in ends)


@FEW
@given(
    st.integers(2, 6),
    st.integers(2, 6),
    st.integers(1, 20),
    st.lists(st.floats(-6, -3), min_size=7, max_size=7),
)
def test_the_loss_of_dnc_is_that_of_the_best_scales_of_its_parameters(
    classes, depth, samples, powers
):
    decays = [10**power for power in powers]
    weight_decay, feature_decay = decays[:depth], decays[-1]
    found = best_scales([np.eye(classes)] * (depth + 1), weight_decay, feature_decay, samples)
    answer = predict(
        classes=classes,
        depth=depth,
        samples_per_class=samples,
        weight_decay=weight_decay,
        feature_decay=feature_decay,
    )
    assert answer["loss_dnc"] == pytest.approx(found, rel=1e-6)
    assert answer["scaled_decay"] == pytest.approx(
        samples * feature_decay * math.prod(weight_decay)
    )


@pytest.mark.parametrize("vertices", [4, 5, 6])
@pytest.mark.parametrize("depth", [3, 4, 6])
def test_the_loss_of_a_graph_is_that_of_the_best_scales_of_its_parameters(vertices, depth):
    weight_decay = [2e-3 / (layer + 1) for layer in range(depth)]
    found = best_scales(shapes(vertices, depth), weight_decay, 1e-3, 2)
    given = settings(math.comb(vertices, 2), depth, weight_decay, 1e-3, samples=2)
    assert collapsed_loss(math.comb(vertices, 2), **given) == pytest.approx(found, rel=1e-7)
    if vertices > 4:
        assert predict(**given)["loss_srg"] == pytest.approx(found, rel=1e-7)


@pytest.mark.parametrize(
    ("given", "dnc", "alpha_dnc", "srg", "alpha_srg"),
    [
        (settings(), 0.099180, 0.9590, 0.081136, 0.9667),
        (settings(samples=50), 0.214623, 0.9073, 0.175942, 0.9251),
        (settings(10, 4, 0.005, 5e-6, 5000), 0.169980, 0.9278, 0.139227, 0.9416),
        (settings(classes=15), 0.148130, None, 0.116380, None),
        (settings(classes=15, depth=7), 0.238112, None, 0.145444, None),
    ],
)  # fmt: skip
def test_examples(given, dnc, alpha_dnc, srg, alpha_srg):
    """Computed once by another program, of the paper's settings."""
    answer = predict(**given)
    assert answer["loss_dnc"] == pytest.approx(dnc, abs=6e-7)
    assert answer["loss_srg"] == pytest.approx(srg, abs=6e-7)
    if alpha_dnc:
        assert answer["alpha_dnc"] == pytest.approx(alpha_dnc, abs=6e-5)
        assert answer["alpha_srg"] == pytest.approx(alpha_srg, abs=6e-5)


def test_the_ratios_in_the_limit_are_those_of_the_theorems_cells():
    table = {
        3: [1.0561, 0.9234, 0.9268, 0.9381, 0.9476, 0.9549, 0.9606],
        4: [0.9633, 0.8168, 0.7834, 0.7628, 0.7456, 0.7304, 0.7168],
        5: [0.9060, 0.7527, 0.7004, 0.6645, 0.6354, 0.6109, 0.5897],
    }
    for depth, row in table.items():
        found = [limit_ratio(vertices, depth) for vertices in range(4, 11)]
        assert found == pytest.approx(row, abs=6e-5)
        for vertices, ratio in zip(range(4, 11), found, strict=True):
            given = settings(math.comb(vertices, 2), depth, 1e-9)
            exact = collapsed_loss(given["classes"], **given) / collapsed_loss(0, **given)
            assert exact == pytest.approx(ratio, rel=1e-5)


@pytest.mark.parametrize("depth", [2, 3, 4, 5])
def test_dnc_is_beaten_from_the_theorems_number_of_classes_on(depth):
    least = {2: math.inf, 3: 10, 4: 6, 5: 6}[depth]
    for classes in range(2, 40):
        answer = predict(**settings(classes, depth, 1e-5))
        assert (answer["loss_blocks"] < answer["loss_dnc"]) == (classes >= least)
        assert (answer["graph_classes"] > 0) == (classes >= least)


@pytest.mark.parametrize(("classes", "depth"), [(2, 2), (2, 4), (10, 3), (10, 4), (45, 6)])
def test_beyond_the_threshold_zero_is_better_than_dnc(classes, depth):
    limit = threshold(classes, depth)
    losses = {}
    for factor in (1 - 1e-6, 1.0, 1 + 1e-6):
        decay = (factor * limit) ** (1 / (depth + 1))
        losses[factor] = predict(**settings(classes, depth, decay))
    below, at, beyond = losses.values()
    assert below["loss_dnc"] < 0.5 and beyond["loss_dnc"] == 0.5 and beyond["alpha_dnc"] == 0
    assert below["alpha_dnc"] == pytest.approx((depth - 1) / depth, rel=1e-4)
    assert at["loss_dnc"] == pytest.approx(0.5, rel=1e-12) and at["alpha_dnc"] is None
    assert all(answer["threshold_dnc"] == limit for answer in losses.values())
    assert below["scaled_decay"] < limit < beyond["scaled_decay"]


def test_decays_whose_product_leaves_double_precision_are_not_called_zero():
    # (1e-4)^201 and the threshold are no doubles, while losses follow from the root of them.
    deep = predict(**settings(10, 200, 1e-4))
    assert deep["scaled_decay"] is None and deep["threshold_dnc"] is None
    assert deep["loss_dnc"] == pytest.approx(0.1005, rel=1e-3)
    assert predict(**settings(10, 20, 1e20))["scaled_decay"] is None
    # Only parts of the product do.
    assert predict(**settings(3, 2, [1e-200, 1e-200], 1e300))["scaled_decay"] == pytest.approx(
        1e-100, rel=1e-15
    )


def test_there_is_a_graph_where_the_classes_are_its_edges_and_layers_hold_it():
    for classes in range(2, 60):
        vertices = {10: 5, 15: 6, 21: 7, 28: 8, 36: 9, 45: 10, 55: 11}.get(classes)
        answer = predict(**settings(classes))
        assert {"loss_srg", "alpha_srg", "rank_srg"} & answer.keys() == (
            {"loss_srg", "alpha_srg", "rank_srg"} if vertices else set()
        )
        assert answer.get("rank_srg") == vertices and answer["rank_dnc"] == classes
        assert answer["loss_zero"] == 0.5
        assert graph_vertices(classes) == (4 if classes == 6 else vertices)
    assert "loss_srg" not in predict(**settings(10, 2))
    assert graph_sizes(21, 3) == [6, 10, 15, 21] and graph_sizes(20, 3) == [6, 10, 15]
    assert graph_sizes(5, 3) == [] and graph_sizes(50, 2) == []


def test_the_graph_of_four_vertices_is_told_of_as_no_optimum(capsys):
    with pytest.raises(SystemExit) as end:
        main(["predict", "dufm_lowrank", "--help"])
    assert end.value.code == 0
    assert "the graph of r = 4 (K = 6) is no optimum" in " ".join(capsys.readouterr().out.split())


def test_the_command_line_prints_the_keys(capsys):
    given = ["classes=10", "depth=4", "weight_decay=.004", "feature_decay=.004"]
    words = [word for pair in [*given, "samples_per_class=1"] for word in ("--set", pair)]
    assert main(["predict", "dufm_lowrank", *words]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer == predict(**settings())
    assert answer["scaled_decay"] == pytest.approx(1.024e-12)
    assert answer["threshold_dnc"] == pytest.approx(27 / (1e5 * 4**8))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": 1}, ["classes: found 1", "from 2"]),
        ({"depth": 1}, ["depth: found 1", "from 2"]),
        ({"samples_per_class": 0}, ["samples_per_class: found 0"]),
        ({"weight_decay": [0.1, 0.1]}, ["weight_decay: found 2 numbers", "one, or 4"]),
        ({"weight_decay": 0}, ["weight_decay: found 0"]),
        ({"feature_decay": -1}, ["feature_decay: found -1"]),
        ({"width": 3}, ["unknown hyperparameter", "width"]),
    ],
)
def test_what_makes_no_problem_is_refused(changes, words):
    with pytest.raises(InputError) as error:
        predict(**settings() | changes)
    assert all(word in str(error.value) for word in words)
    with pytest.raises(InputError, match="graph_classes: found 7"):
        collapsed_loss(7, **settings())


# Runs


PROBLEM = {"classes": 10, "samples_per_class": 3, "depth": 4, "widths": [10, 12, 11, 10]}
NETWORK = {
    "head": {"depth": 4, "activation": "relu", "bias": False, "width": 12},
    "loss": {"kind": "mse"},
    "weight_decay": 0.005,
    "feature_decay": 1e-4,
    "backbone_decay": 0.0,
}
FACTS = {"class_sizes": [7] * 10, "width": 16}


def test_a_run_is_predicted_from_its_config_and_facts():
    config = {"problem": PROBLEM, "weight_decay": [1e-3] * 4, "feature_decay": 2e-3}
    expected = predict(**settings(10, 4, [1e-3] * 4, 2e-3, samples=3))
    assert of_run(config, {}) == expected
    assert of_run(NETWORK, FACTS) == predict(**settings(10, 4, 0.005, 1e-4, samples=7))


@pytest.mark.parametrize(
    ("config", "facts"),
    [
        ({**NETWORK, "backbone_decay": 1e-4}, FACTS),
        ({**NETWORK, "loss": {"kind": "ce"}}, FACTS),
        ({**NETWORK, "head": NETWORK["head"] | {"activation": "linear"}}, FACTS),
        ({**NETWORK, "head": NETWORK["head"] | {"bias": True}}, FACTS),
        ({**NETWORK, "head": NETWORK["head"] | {"width": 9}}, FACTS),
        (NETWORK, FACTS | {"width": 9}),
        (NETWORK, FACTS | {"class_sizes": [7] * 9 + [8]}),
        (NETWORK, {"target_mean": [0.0], "width": 16}),
        (
            {"problem": PROBLEM | {"widths": 9}, "weight_decay": 1e-3, "feature_decay": 1e-3},
            {},
        ),
        (
            {
                "problem": {"class_sizes": [3, 3], "depth": 2, "widths": 4, "bias": False},
                "weight_decay": 1e-3,
                "feature_decay": 1e-3,
            },
            {},
        ),
    ],
)
def test_runs_without_a_closed_form_are_refused(config, facts):
    with pytest.raises(InputError):
        of_run(config, facts)
