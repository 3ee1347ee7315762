"""The imbalanced study: what its claims decide of made-up tables, on both sides of each bound."""

from dataclasses import replace
from importlib import import_module
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq

from collapse import config
from collapse.studies.imbalanced import STUDY, claims, network_claims
from collapse.studies.imbalanced.analysis import (
    LENGTHS,
    decays,
    measured_lengths,
    released_floor,
    weight_decays,
)
from collapse.studies.imbalanced.geometry import compared
from collapse.theory import imbalanced
from collapse.theory.frame import lengths
from tables import changed, configured, diverged, results, scaled, undecided, valued, without

ATLAS = config.load("config", {"scale": "paper"})
CIFAR10 = np.repeat([100, 200, 300, 400, 500], 2)
EMNIST = np.array([1500, *[600] * 5, *[50] * 20])
FRAME = ("NC1", "NC2_W_GOF", "NC2_GOF", "NC3_GOF", "duality_GOF")
DEPTHS = (1, 2, 3, 6, 9)


def per_class(step, layer, name, values):
    return {(step, layer, f"{name}[{k}]"): value for k, value in enumerate(values)}


def entries(step, name, matrix):
    places = product(range(len(matrix)), repeat=2)
    return {(step, "all", f"{name}[{i},{j}]"): matrix[i][j] for i, j in places}


def stationary(depth, scaled_decay):
    """Return the largest x with M x^(M-1)/(1 + x^M)^2 = b/n; zero where there is none."""
    lowest = ((depth - 1) / (depth + 1)) ** (1 / depth)

    def excess(x):
        return depth * x ** (depth - 1) / (1 + x**depth) ** 2 - scaled_decay

    return brentq(excess, lowest, 1e6, xtol=1e-15) if excess(lowest) > 0 else 0.0


SIZES = np.array([50, 200, 100, 50])


def direct():
    """Return runs that reach the general orthogonal frame, with its lengths and its loss."""
    settings = {
        "seeds": 5,
        "optimiser": {"steps": 30_000},
        "problem": {"bias": False, "loss": "mse", "class_sizes": SIZES.tolist()},
        "weight_decay": 5e-4,
        "feature_decay": 5e-4,
    }
    runs = []
    for depth, seed in product(DEPTHS, range(5)):
        frame, loss = lengths(SIZES, 400, [5e-4] * depth, 5e-4), 1.0 + depth
        measured = per_class(0, "all", "class_size", SIZES)
        for step, factor in ((0, 3.0), (30_000, 1.0)):
            measured |= {(step, "H1", metric): factor - 1 + 1e-14 for metric in FRAME}
            measured |= {(step, "H2", metric): 1.0 for metric in FRAME}
            # At the start the norms are the other way round.
            measured |= per_class(step, "H1", "weight_norm", factor - frame.weights)
            measured |= per_class(step, "H1", "feature_norm", frame.features)
            first = [0.0, *np.sort(frame.first_layer * factor)]
            measured |= per_class(step, "W1", "layer_singular_values", first)
            measured |= per_class(step, "W2", "layer_singular_values", [9.0] * 4)
            measured[step, "W1", "norm"] = 99
            measured[step, "all", "loss"] = loss * factor
        measured |= per_class(30_000, "H1", "weight_norm", frame.weights)
        runs.append(({"depth": depth, "seed": seed}, measured, {"loss": loss}))
    return results(settings, runs)


THRESHOLDS = {1: 1.0, 2: 0.5, 3: 2 ** (2 / 3) / 3, 6: 5 ** (5 / 6) / 6}
ENDS = {m: (m + 1) ** 2 / (4 * m) * ((m - 1) / (m + 1)) ** ((m - 1) / m) for m in THRESHOLDS}
DECAYS = np.sort([*np.geomspace(0.05, 1.7, 19), 0.172])
EVEN = int(np.argmin(abs(DECAYS - 0.172)))
"""Stage at which, of one layer, classes of 200 and 100 have features of nearly one length."""


def sweeps():
    """Return sweeps that follow the closed form, and what it leaves open where it leaves it."""
    settings = {
        "seeds": 5,
        "problem": {"class_sizes": SIZES.tolist()},
        "sweep": {"scaled_decay": DECAYS.tolist()},
    }
    runs = []
    for depth, tau in THRESHOLDS.items():
        up, down = {}, {}
        for stage, decay in enumerate(DECAYS):
            share = [decay * 200 / size for size in SIZES]
            x = np.array([stationary(depth, one) for one in share])
            logits = x**depth / (1 + x**depth)
            if depth == 1:  # slow beyond the threshold
                logits = np.where(np.array(share) < tau, logits, 0.02)
            features = np.where(x > 0, np.sqrt(x) / (1 + x), 9.0)
            if stage == EVEN:
                features[1] *= 0.98
            up |= {(stage, "all", "scaled_decay"): decay}
            up |= per_class(stage, "H1", "logit_norm", logits)
            up |= per_class(stage, "H1", "feature_norm", features)
            down |= {(stage, "all", "scaled_decay"): decay}
            back = logits if depth == 1 else 0 * logits
            down |= per_class(stage, "H1", "logit_norm", back)
            down |= per_class(stage, "H1", "feature_norm", -features)
        sizes = per_class(0, "all", "class_size", SIZES)
        runs += [
            ({"depth": depth, "direction": direction, "seed": seed}, sizes | measured, {})
            for direction, measured in (("up", up), ("down", down))
            for seed in range(5)
        ]
    return results(settings, runs)


CRITICAL = {1e-3: 9.5, 2e-3: 21.0, 3e-3: 30.0}


def critical():
    """Return starts of which one reaches the optimum, and the others get every class wrong."""
    runs = []
    for depth, (decay, size), seed in product((1, 2, 3), CRITICAL.items(), range(8)):
        sizes = np.array([10, 40, 20, 5])
        alive, best = sizes > size, seed == 3
        measured = per_class(0, "all", "class_size", sizes)
        measured |= per_class(7, "H1", "logit_norm", np.where(alive == best, 1.01e-3, 0.99e-3))
        measured[7, "all", "loss"] = depth * (1 if best else 1.01)
        predicted = {"loss": depth, "critical_class_size": size}
        runs.append(({"depth": depth, "weight_decay": decay, "seed": seed}, measured, predicted))
    return results({"seeds": 8}, runs)


def bottleneck():
    """Return starts of which one keeps the two largest classes at the loss of the optimum."""
    runs = []
    for depth, seed in product((1, 2, 3), range(4)):
        best = seed == 2
        measured = per_class(0, "all", "class_size", [6, 20, 10, 4])
        alive = np.array([False, True, True, False]) == best
        measured |= per_class(7, "H1", "logit_norm", np.where(alive, 1.01e-3, 0.99e-3))
        measured[7, "all", "loss"] = depth * (1 if best else 1.01)
        runs.append(({"depth": depth, "seed": seed}, measured, {"loss": depth}))
    return results({"seeds": 4, "problem": {"widths": [5, 2, 4]}}, runs)


def with_bias():
    """Return runs with the Gram matrix of 30, 30 and 20 samples a class, worked out by hand.

    Of n, n and m samples the axes of diag(n) - n n^T/N are (1, -1, 0) of strength n and
    (1, 1, -2) of strength 3 n m/N.
    """
    settings = {
        "seeds": 5,
        "optimiser": {"steps": 30_000},
        "problem": {"class_sizes": [30, 30, 20]},
        "weight_decay": 2e-3,
        "feature_decay": 1e-3,
    }
    runs = []
    for depth, seed in product((1, 3), range(5)):
        gram = np.zeros((3, 3))
        for axis, strength in (([1, -1, 0], 30.0), ([1, 1, -2], 22.5)):
            decay = depth * 80 / strength * (80 * 2e-3**depth * 1e-3) ** (1 / depth)
            square = 80 * 1e-3 * stationary(depth, decay) ** depth
            gram += square * np.outer(axis, axis) / np.dot(axis, axis)
        measured = entries(9, "product_gram", gram) | entries(0, "product_gram", np.eye(3))
        runs.append(({"depth": depth, "seed": seed}, measured, {}))
    return results(settings, runs)


def released(stretch=1.0):
    """Return optima whose distance to the released target is the floor times a factor."""
    sizes, total, decay = np.array([100, 200, 300]), 600, 1e-4
    settings = {
        "seeds": 4,
        "problem": {"class_sizes": sizes.tolist()},
        "weight_decay": decay,
        "feature_decay": decay,
    }
    runs = []
    for depth, seed in product((1, 3), range(4)):
        frames = [lengths(sizes, total, [rate] * depth, rate) for rate in (decay, decay / 3)]
        measured, best = {}, seed == 1
        for name, of in (("product_gram", "weights"), ("class_gram", "features")):
            optimum, target = (getattr(frame, of) ** 2 for frame in frames)
            optimum, target = (square / np.linalg.norm(square) for square in (optimum, target))
            gram = np.diag(target + stretch * (optimum - target)) if best else np.eye(3)
            measured |= entries(9, name, 5 * gram) | entries(0, name, np.eye(3))
        measured[9, "all", "loss"] = depth * (1 if best else 1.01)
        runs.append(({"depth": depth, "seed": seed}, measured, {"loss": depth}))
    return results(settings, runs)


BALANCED = {"NC2_W_GOF": "NC2_W", "NC2_GOF": "NC2_OF", "NC3_GOF": "NC3_product"}
FALLS = {"NC1": 0.1, "NC2_W": 0.5, "NC2_H": 0.5, "NC3": 0.5, "duality": 0.5}
"""What is left at most of the metrics of `FRAME`, by the names of their claims."""
MINIMA = ("optimum_M1", "optimum_M3", "optimum_M6", "minimum")


def loss_of(depth, directions):
    """Return the least objective of the networks below that so many directions of the labels leave.

    One of n costs n/(2N) (1/(1 + x^M) + (b/n) x), and n/(2N) where it is left out.
    """
    cost = 0
    for place, size in enumerate(np.sort(SIZES)[::-1]):
        decay = depth * 400 / size * (400 * 1e-4 ** (depth + 1)) ** (1 / depth)
        x = stationary(depth, decay)
        cost += size / 800 * (1 / (1 + x**depth) + decay * x if place < directions else 1)
    return cost


def network():
    """Return networks whose distance to the frame falls to a hundredth from the first epoch on."""
    settings = {
        "seeds": 2,
        "training": {"epochs": 12_000},
        "head": {"bias": False},
        "weight_decay": 1e-4,
        "feature_decay": 1e-4,
    }
    runs = []
    for depth, seed in product((1, 3, 6), range(2)):
        measured = {(500, "all", "error"): 0.02} | per_class(500, "all", "class_size", SIZES)
        optimum = loss_of(depth, len(SIZES))
        measured |= {(1, "all", "loss"): 9.0, (500, "all", "loss"): 1.009 * optimum}
        for metric in FRAME:  # the last step first: the place in the table does not matter
            for step, value in ((500, 0.04), (0, 1e-9), (1, 4.0), (20, 50.0)):
                measured[step, "H1", metric] = measured[step, "H2", metric] = value
        for metric in BALANCED.values():
            measured |= {(500, "H1", metric): 2.0, (1, "H1", metric): 1e-3}
        runs.append(({"depth": depth, "seed": seed}, measured, {"loss": optimum}))
    return results(settings, runs)


OWN_LOGITS = {
    0.1: [0.101, 0.101, 0.101, 0.101],
    0.45: [0.101, 0.101, 0.05, 0.099],
    1.0: [0.101, 0.05, 0.099, 0.099],
}
"""Logits of 100, 50, 20 and 10 samples at decays of critical sizes 3.24, 14.58 and 32.4.

Of one layer 1 - sqrt(critical/n) is predicted: for 20 samples at the second and for 50 at the
third that is above zero and below 0.2, and does not count.
"""


def shuttle():
    settings = {
        "seeds": 2,
        "data": {"name": "shuttle"},
        "head": {"depth": 1},
        "grid": {"weight_decay": [*OWN_LOGITS]},
        "weight_decay": 0.1,
        "feature_decay": 1e-3,
    }
    runs = []
    for (decay, logits), seed in product(OWN_LOGITS.items(), range(2)):
        measured = per_class(0, "all", "class_size", [100, 50, 20, 10])
        measured |= per_class(0, "H1", "own_logit", [0.0] * 4)
        measured |= per_class(9, "H1", "own_logit", logits)
        runs.append(({"weight_decay": decay, "seed": seed}, measured, {}))
    return results(settings, runs)


GIVEN = {
    "direct": direct(),
    "sweeps": sweeps(),
    "critical": critical(),
    "bottleneck": bottleneck(),
    "with_bias": with_bias(),
    "released": released(),
    "network": network(),
    "shuttle": shuttle(),
}


def decided(name, experiment):
    """Return what was not replicated of the claims that one experiment decides."""
    rows = {
        "direct": lambda: [
            *claims._direct(experiment),
            *list(claims._orders(experiment, GIVEN["sweeps"]))[:2],
        ],
        "sweeps": lambda: [claims._feature_peak(experiment), *claims._transitions(experiment)],
        "critical": lambda: claims._critical(experiment),
        "bottleneck": lambda: [claims._bottleneck(experiment)],
        "with_bias": lambda: [claims._last_layer_bias(experiment)],
        "released": lambda: [claims._released(experiment)],
        "network": lambda: network_claims.network_mlp(experiment),
        "shuttle": lambda: [network_claims.network_shuttle(experiment)],
    }
    return undecided(rows[name]())


def verdicts(name, experiment):
    return {claim: verdict for claim, (verdict, _) in decided(name, experiment).items()}


NAMES = {
    "direct": [
        *[f"gof_M{m}" for m in DEPTHS],
        *("gof_lengths", "gof_loss", "longer_weights", "shorter_features"),
    ],
    "sweeps": [
        *("feature_peak_M1", "minority_collapse_M1"),
        *[f"{name}_M{m}" for m in (2, 3, 6) for name in ("minority_collapse", "metastability")],
    ],
    "critical": [f"critical_size_M{m}" for m in (1, 2, 3)],
    "bottleneck": ["bottleneck"],
    "with_bias": ["bias_not_orthogonal"],
    "released": ["released_floor"],
    "network": [f"network_mlp_{label}" for label in (*FALLS, "nearer", *MINIMA)],
    "shuttle": ["shuttle_collapse"],
}


def test_what_agrees_with_theory_replicates():
    rows = list(
        claims.decide(
            {
                "direct_optimisation": GIVEN["direct"],
                "minority_collapse": GIVEN["sweeps"],
                "critical_size": GIVEN["critical"],
                "bottleneck": GIVEN["bottleneck"],
                "last_layer_bias": GIVEN["with_bias"],
                "released_normalisation": GIVEN["released"],
                "network_mlp": GIVEN["network"],
                "network_shuttle": GIVEN["shuttle"],
            }
        )
    )
    assert not undecided(rows)
    names = [claim for names in NAMES.values() for claim in names]
    assert sorted(row["claim"] for row in rows) == sorted(names)
    (single, three) = (
        next(row for row in rows if row["claim"] == f"minority_collapse_M{m}") for m in (1, 3)
    )
    bound = "largest |measured - closed form| of a class's logit norm, below its critical decay"
    assert "gradually" in single["statement"] and single["expected"] == f"{bound}, is 0"
    assert "falls from 0.6667 to 0" in three["statement"]
    assert three["expected"] == f"{bound} and beyond the metastable branch, is 0"


@pytest.mark.parametrize("name", GIVEN)
def test_nothing_is_decided_with_a_seed_too_few(name):
    needed = GIVEN[name].config["seeds"]
    few = decided(name, configured(GIVEN[name], seeds=needed - 1))
    assert set(few) == set(NAMES[name])
    for verdict, measured in few.values():
        assert verdict == "inconclusive" and f"({needed - 1} of {needed} seeds)" in measured


@pytest.mark.parametrize("name", sorted(set(GIVEN) - {"shuttle"}))
@pytest.mark.parametrize("lost", [False, True])
def test_a_depth_that_was_lost_or_not_run_leaves_its_claims_undecided(name, lost):
    given = GIVEN[name]
    lacking = diverged(given, depth=1, seed=0) if lost else without(given, depth=1)
    outcome = decided(name, lacking)
    others = {f"gof_M{m}" for m in DEPTHS[1:]}
    others |= {f"{kind}_M{m}" for m in (2, 3, 6) for kind in ("minority_collapse", "metastability")}
    others |= {f"critical_size_M{m}" for m in (2, 3)} | {
        f"network_mlp_optimum_M{m}" for m in (3, 6)
    }
    assert set(outcome) == set(NAMES[name]) - others
    for verdict, measured in outcome.values():
        assert verdict == "inconclusive"
        assert (" diverged)" if lost else "no M 1 at this scale") in measured


@pytest.mark.parametrize("name", GIVEN)
def test_nothing_is_decided_where_every_run_diverged(name):
    late = diverged(GIVEN[name])
    at_once = replace(late, metrics=late.values("diverged"))  # nothing else was measured
    for gone in (late, at_once):
        assert verdicts(name, gone) == dict.fromkeys(NAMES[name], "inconclusive")


@pytest.mark.parametrize("name", ["direct", "with_bias"])
def test_descent_of_fewer_steps_than_the_paper_decides_nothing(name):
    short = decided(name, configured(GIVEN[name], optimiser__steps=29_999))
    assert set(short) == set(NAMES[name])
    for verdict, measured in short.values():
        assert verdict == "inconclusive" and "(29999 of 30000 steps)" in measured


@pytest.mark.parametrize(
    ("changes", "text"),
    [({"problem__bias": True}, "last-layer bias"), ({"problem__loss": "ce"}, "loss ce")],
)
def test_where_theory_has_no_orthogonal_frame_none_is_decided(changes, text):
    outcome = decided("direct", configured(GIVEN["direct"], **changes))
    assert set(outcome) == set(NAMES["direct"])
    for verdict, measured in outcome.values():
        assert verdict == "inconclusive" and f"({text})" in measured


# Direct optimisation

LAST = {"step": 30_000}


@pytest.mark.parametrize("metric", FRAME)
def test_every_metric_of_the_frame_counts_up_to_1e_10(metric):
    place = LAST | {"layer": "H1"}
    assert not verdicts("direct", valued(GIVEN["direct"], metric, 0.99e-10, **place))
    outside = valued(GIVEN["direct"], metric, 1.01e-10, depth=[1, 3, 9], **place)
    assert verdicts("direct", outside) == {f"gof_M{m}": "not replicated" for m in (1, 3, 9)}
    one = valued(GIVEN["direct"], metric, 1.0, depth=[2, 6], seed=4, **place)
    assert verdicts("direct", one) == {"gof_M2": "inconclusive", "gof_M6": "inconclusive"}


def test_a_run_without_one_of_the_metrics_is_not_judged_by_the_others():
    one = without(GIVEN["direct"], metric="NC2_GOF", depth=3, seed=0)
    assert verdicts("direct", one) == {"gof_M3": "inconclusive"}
    unmeasured = without(GIVEN["direct"], metric="NC1")
    assert verdicts("direct", unmeasured) == {f"gof_M{m}": "inconclusive" for m in DEPTHS}


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("claim", "metric", "bound"),
    [
        ("gof_lengths", "weight_norm[2]", 1e-6),
        ("gof_lengths", "feature_norm[0]", 1e-6),
        ("gof_lengths", "layer_singular_values[1]", 1e-6),
        ("gof_loss", "loss", 1e-10),
    ],
)
def test_lengths_and_loss_count_up_to_their_bounds(claim, metric, bound, sign):
    given = GIVEN["direct"]
    assert not verdicts("direct", scaled(given, metric, 1 + sign * 0.99 * bound, **LAST))
    outside = scaled(given, metric, 1 + sign * 1.01 * bound, **LAST)
    assert verdicts("direct", outside) == {claim: "not replicated"}
    one = scaled(given, metric, 1 + sign * 1e-4, depth=6, seed=2, **LAST)
    assert verdicts("direct", one) == {claim: "inconclusive"}


def test_lengths_are_measured_in_every_run_for_every_class():
    measured = measured_lengths(GIVEN["direct"])
    assert len(measured) == 5 * 5 * 3 * 4
    np.testing.assert_allclose(measured["value"], measured["predicted"], rtol=1e-12)


@pytest.mark.parametrize(
    ("claim", "metric", "factor"),
    [("longer_weights", "weight_norm[2]", 0.2), ("shorter_features", "feature_norm[2]", 5.0)],
)
def test_one_pair_of_classes_in_the_wrong_order_refutes_it(claim, metric, factor):
    """The class of 100 gets beyond those of 50."""
    place = LAST | {"layer": "H1"}
    outcome = verdicts("direct", scaled(GIVEN["direct"], metric, factor, **place))
    assert outcome == {claim: "not replicated", "gof_lengths": "not replicated"}
    one = verdicts("direct", scaled(GIVEN["direct"], metric, factor, seed=1, depth=3, **place))
    assert one == {claim: "inconclusive", "gof_lengths": "inconclusive"}


# Sweeps

LOGITS = [f"logit_norm[{k}]" for k in range(4)]


def rows_where(stage_of):
    """Return by depth which stages and classes are where a function of size and depth says."""
    return {
        depth: [
            (stage, k)
            for stage, decay in enumerate(DECAYS)
            for k, size in enumerate(SIZES)
            if stage_of(decay * 200 / size, depth)
        ]
        for depth in THRESHOLDS
    }


BELOW = rows_where(lambda decay, depth: decay < THRESHOLDS[depth])
BETWEEN = rows_where(lambda decay, depth: THRESHOLDS[depth] < decay < ENDS[depth])
BEYOND = rows_where(lambda decay, depth: decay > ENDS[depth])


def moved(places, by, **keys):
    """Return the verdicts where a logit of the upward sweeps, given by depth, is moved."""
    given = GIVEN["sweeps"]
    for depth, (stage, k) in places.items():
        place = {"depth": depth, "direction": "up", "step": int(stage), **keys}
        given = changed(given, f"logit_norm[{k}]", lambda value: value + by, **place)
    return verdicts("sweeps", given)


@pytest.mark.parametrize("sign", [1, -1])
def test_logits_count_up_to_1e_3_below_the_critical_decay_and_beyond_the_branch(sign):
    for places, depths in ((BELOW, (1, 2, 3, 6)), (BEYOND, (2, 3, 6))):
        for chosen in (0, -1):
            at = {depth: places[depth][chosen] for depth in depths}
            assert not moved(at, sign * 0.99e-3)
            names = {f"minority_collapse_M{m}": "not replicated" for m in depths}
            assert moved(at, sign * 1.01e-3) == names
    assert moved({3: BELOW[3][2]}, 0.1, seed=4) == {"minority_collapse_M3": "inconclusive"}


def test_logits_of_the_metastable_branch_do_not_count():
    assert not moved({depth: BETWEEN[depth][0] for depth in (2, 3, 6)}, 0.1)
    assert not moved({1: BEYOND[1][0]}, 0.1)


@pytest.mark.parametrize("depth", [2, 3, 6])
def test_a_class_that_comes_back_refutes_metastability(depth):
    place = {"depth": depth, "direction": "down", "step": 0}
    given, claim = GIVEN["sweeps"], f"metastability_M{depth}"
    assert not verdicts("sweeps", valued(given, "logit_norm", 0.99e-3, **place))
    back = valued(given, "logit_norm[1]", 1.01e-3, **place)
    assert verdicts("sweeps", back) == {claim: "not replicated"}
    one = valued(given, "logit_norm[1]", 1.0, seed=1, **place)
    assert verdicts("sweeps", one) == {claim: "inconclusive"}


def test_sweeps_over_fewer_than_twenty_decays_show_no_transition():
    few = decided("sweeps", configured(GIVEN["sweeps"], sweep__scaled_decay=DECAYS[1:].tolist()))
    assert set(few) == set(NAMES["sweeps"]) - {"feature_peak_M1"}
    for verdict, measured in few.values():
        assert verdict == "inconclusive" and "(too few decays)" in measured


@pytest.mark.parametrize(("stage", "factor"), [(0, 2.0), (EVEN + 2, 0.5)])
def test_one_feature_in_the_wrong_order_on_either_side_of_the_peak_refutes_it(stage, factor):
    place = {"depth": 1, "direction": "up", "step": stage}
    wrong = scaled(GIVEN["sweeps"], "feature_norm[1]", factor, **place)
    assert verdicts("sweeps", wrong) == {"feature_peak_M1": "not replicated"}
    one = scaled(GIVEN["sweeps"], "feature_norm[1]", factor, seed=3, **place)
    assert verdicts("sweeps", one) == {"feature_peak_M1": "inconclusive"}


def test_decays_on_one_side_of_the_peak_only_do_not_show_it():
    small = [stage for stage, decay in enumerate(DECAYS) if stage and decay > 0.08]
    one = decided("sweeps", without(GIVEN["sweeps"], step=small, depth=1, metric=LOGITS))
    verdict, measured = one["feature_peak_M1"]
    assert verdict == "inconclusive" and "(decays on one side only)" in measured


# Critical sizes, bottleneck


@pytest.mark.parametrize("metric", ["logit_norm[0]", "logit_norm[3]"])
def test_one_class_misjudged_at_the_best_start_refutes_its_critical_size(metric):
    given, place = GIVEN["critical"], {"depth": 2, "seed": 3}
    wrong = changed(given, metric, lambda value: 2e-3 - value, **place)
    assert verdicts("critical", wrong) == {"critical_size_M2": "not replicated"}
    one = changed(given, metric, lambda value: 2e-3 - value, weight_decay=1e-3, **place)
    assert verdicts("critical", one) == {"critical_size_M2": "inconclusive"}


def test_a_start_within_1e_8_of_the_optimum_has_reached_it():
    given = GIVEN["critical"]
    assert not verdicts("critical", scaled(given, "loss", 1 + 0.99e-8, seed=3))
    place = {"seed": 3, "depth": 3, "weight_decay": 2e-3}
    above = decided("critical", scaled(given, "loss", 1 + 1.01e-8, **place))
    assert set(above) == {"critical_size_M3"}
    verdict, measured = above["critical_size_M3"]
    assert verdict == "inconclusive" and "(optimum not reached at weight decay 0.002)" in measured


@pytest.mark.parametrize("far", [9.0, 22.5])
def test_class_sizes_must_lie_near_the_critical_size_on_both_sides(far):
    """Within 10 %: 10 samples above a critical size of 9.5, 20 samples below one of 21."""
    near, rows = (9.5 if far == 9.0 else 21.0), GIVEN["critical"].predictions
    value = rows["value"].where(rows["value"] != near, far)
    given = replace(GIVEN["critical"], predictions=rows.assign(value=value))
    outcome = decided("critical", given)
    assert set(outcome) == set(NAMES["critical"])
    for verdict, measured in outcome.values():
        assert verdict == "inconclusive" and "(no class size near the critical one)" in measured


def test_critical_sizes_lie_near_a_class_size_at_every_depth():
    for depth in (1, 2, 3):
        ratios = []
        for run in ATLAS.runs("imbalanced", "critical_size"):
            if run.config.problem.depth == depth and run.seed == 0:
                sizes = run.config.problem.class_sizes
                outcome = imbalanced.predict(
                    class_sizes=sizes,
                    depth=depth,
                    weight_decay=run.config.weight_decay,
                    feature_decay=run.config.feature_decay,
                )
                ratios += [n / outcome["critical_class_size"] for n in sizes]
        assert min(r for r in ratios if r > 1) < 1.1 and max(r for r in ratios if r < 1) > 0.9


@pytest.mark.parametrize("sign", [1, -1])
def test_the_loss_of_a_bottleneck_counts_up_to_1e_10_on_both_sides(sign):
    given = GIVEN["bottleneck"]
    assert not verdicts("bottleneck", scaled(given, "loss", 1 + sign * 0.99e-10, seed=2))
    outside = scaled(given, "loss", 1 + sign * 1.01e-10, seed=2)
    assert verdicts("bottleneck", outside) == {"bottleneck": "not replicated"}
    one = scaled(given, "loss", 1 + sign * 1e-3, seed=2, depth=3)
    assert verdicts("bottleneck", one) == {"bottleneck": "inconclusive"}


@pytest.mark.parametrize("metric", LOGITS)
def test_a_bottleneck_keeps_exactly_the_largest_classes(metric):
    wrong = changed(GIVEN["bottleneck"], metric, lambda value: 2e-3 - value, seed=2)
    assert verdicts("bottleneck", wrong) == {"bottleneck": "not replicated"}


# Gram matrices


def test_the_frame_with_a_bias_counts_up_to_1e_8():
    given, claim = GIVEN["with_bias"], "bias_not_orthogonal"
    assert not verdicts("with_bias", scaled(given, "product_gram", 1 + 0.99e-8, step=9))
    outside = scaled(given, "product_gram", 1 - 1.01e-8, step=9)
    assert verdicts("with_bias", outside) == {claim: "not replicated"}
    one = scaled(given, "product_gram", 2.0, step=9, depth=3, seed=2)
    assert verdicts("with_bias", one) == {claim: "inconclusive"}
    # Of one layer the squares along the two axes decide how much is off the diagonal.
    rows = given.metrics.query("step == 9 and seed == 0")
    shares = []
    for _, run in rows.groupby("depth"):
        gram = run["value"].to_numpy().reshape(3, 3)
        shares.append((1 - (np.diag(gram) ** 2).sum() / (gram**2).sum()) ** 0.5)
    text = f"; off-diagonal share {min(shares):.2f} to {max(shares):.2f}"
    assert claims._last_layer_bias(given)["measured"].endswith(text)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_floor_of_the_released_targets_counts_up_to_a_thousandth(sign):
    assert not verdicts("released", released(1 + sign * 0.97e-3))
    outside = released(1 + sign * 1.03e-3)
    assert verdicts("released", outside) == {"released_floor": "not replicated"}


@pytest.mark.parametrize("name", ["product_gram", "class_gram"])
def test_weights_and_class_means_both_count_against_the_floor(name):
    wrong = scaled(GIVEN["released"], f"{name}[0,0]", 2.0, depth=1, step=9, seed=1)
    assert verdicts("released", wrong) == {"released_floor": "inconclusive"}  # one of four
    others = scaled(GIVEN["released"], f"{name}[0,0]", 2.0, step=9, seed=[0, 2, 3])
    assert not verdicts("released", others)


@pytest.mark.parametrize(
    ("sizes", "depth", "weights", "means", "of_product"),
    [
        (CIFAR10, 1, 4.0e-3, 6.0e-3, 5.4e-3),
        (CIFAR10, 3, 1.9e-3, 1.2e-3, 2.2e-3),
        (CIFAR10, 6, 1.3e-3, 4.2e-4, 1.4e-3),
        (EMNIST, 1, 6.2e-2, 2.6e-2, 7.2e-2),
        (EMNIST, 3, 2.3e-2, 2.8e-3, 3.0e-2),
    ],
)
def test_the_released_targets_have_the_known_floors(sizes, depth, weights, means, of_product):
    nominal = 1e-5 * len(sizes)
    outcome = released_floor({"weight_decay": nominal, "feature_decay": nominal}, depth, sizes)
    assert outcome["NC2_W_GOF"] == pytest.approx(weights, rel=0.04)
    assert outcome["NC2_GOF"] == pytest.approx(means, rel=0.04)
    assert outcome["NC3_GOF"] == pytest.approx(of_product, rel=0.04)


# Networks


def test_what_is_left_of_a_networks_metrics_counts_up_to_its_bound():
    def left(share, labels, **keys):
        given = GIVEN["network"]
        for metric, label in zip(FRAME, FALLS, strict=True):
            if label in labels:
                value = share * FALLS[label] * 4.0
                given = valued(given, metric, value, layer="H1", step=500, **keys)
        return given

    for label in FALLS:
        outcome = verdicts("network", left(1.01, [label]))
        assert outcome.pop("network_mlp_nearer", None) in (None, "not replicated")
        assert outcome == {f"network_mlp_{label}": "not replicated"}
    assert set(verdicts("network", left(0.99, FALLS))) <= {"network_mlp_nearer"}
    names = {f"network_mlp_{label}": "inconclusive" for label in (*FALLS, "nearer")}
    assert verdicts("network", left(1e3, FALLS, depth=6, seed=1)) == names
    shorter = decided("network", configured(left(1.01, FALLS), training__epochs=11_999))
    assert {label: verdict for label, (verdict, _) in shorter.items()} == names
    assert all("(11999 of 12000 epochs)" in measured for _, measured in shorter.values())


@pytest.mark.parametrize(("general", "balanced"), BALANCED.items())
def test_a_network_must_end_nearer_to_the_general_frame_than_to_the_balanced(general, balanced):
    place, claim = {"layer": "H1", "step": 500}, "network_mlp_nearer"
    given = GIVEN["network"]
    assert not verdicts("network", valued(given, balanced, 0.04 * 1.01, **place))
    assert verdicts("network", valued(given, balanced, 0.04 * 0.99, **place)) == {
        claim: "not replicated"
    }
    one = valued(given, balanced, 0.01, depth=1, seed=0, **place)
    assert verdicts("network", one) == {claim: "inconclusive"}
    unknown = without(given, metric=balanced, depth=1, seed=0)
    assert verdicts("network", unknown) == {claim: "inconclusive"}


@pytest.mark.parametrize("depth", [1, 3, 6])
def test_where_the_objective_of_a_network_ends(depth):
    def ending(factor, directions, **keys):
        value = factor * loss_of(depth, directions)
        return valued(GIVEN["network"], "loss", value, step=500, depth=depth, **keys)

    optimum, minimum = f"network_mlp_optimum_M{depth}", "network_mlp_minimum"
    # At no minimum at all: one run of six there, two of two here.
    for factor in (0.985, 1.015):
        missed = {optimum: "not replicated", minimum: "inconclusive"}
        assert verdicts("network", ending(factor, 4)) == missed
    for directions in (1, 2, 3):
        for factor in (0.991, 1.009):
            merged = ending(factor, directions)
            assert verdicts("network", merged) == {optimum: "not replicated"}
            shorter = configured(merged, training__epochs=11_999)
            assert verdicts("network", shorter) == {optimum: "inconclusive"}


def test_one_network_that_did_not_learn_its_samples_leaves_all_undecided():
    outcome = decided("network", valued(GIVEN["network"], "error", 0.021, depth=3, seed=0))
    # What an objective is near to does not depend on it.
    assert set(outcome) == {f"network_mlp_{label}" for label in (*FALLS, "nearer")}
    for verdict, measured in outcome.values():
        assert verdict == "inconclusive" and "(training error above 2 %)" in measured


@pytest.mark.parametrize(
    ("name", "metric", "claim"),
    [
        ("direct", "weight_norm", "gof_lengths"),
        ("direct", "layer_singular_values", "gof_lengths"),
        ("direct", "weight_norm", "longer_weights"),
        ("network", "NC1", "network_mlp_NC1"),
        ("with_bias", "product_gram", "bias_not_orthogonal"),
    ],
)
def test_the_values_of_a_diverged_run_are_not_among_those_measured(name, metric, claim):
    run = {"depth": 3, "seed": 1}
    lost = diverged(GIVEN[name], **run)
    wild = changed(lost, metric, lambda value: 1e9 - 1e6 * value, **run)
    assert decided(name, wild)[claim] == decided(name, lost)[claim]


@pytest.mark.parametrize(
    ("decay", "k", "value"), [(0.1, 3, 0.099), (0.45, 1, 0.099), (0.45, 3, 0.101), (1.0, 2, 0.101)]
)
def test_one_class_of_shuttle_on_the_wrong_side_is_counted(decay, k, value):
    wrong = valued(GIVEN["shuttle"], f"own_logit[{k}]", value, weight_decay=decay, step=9)
    assert verdicts("shuttle", wrong) == {"shuttle_collapse": "inconclusive"}
    most = valued(wrong, "own_logit[0]", 0.099, step=9)
    assert verdicts("shuttle", most) == {"shuttle_collapse": "not replicated"}


@pytest.mark.parametrize(
    ("experiment", "text"),
    [
        (configured(GIVEN["shuttle"], data={"name": "digits"}), "other data than Shuttle"),
        (without(GIVEN["shuttle"], weight_decay=0.1), "2 of 3 decays"),
        (diverged(GIVEN["shuttle"], weight_decay=0.1, seed=1), "1 diverged"),
    ],
)
def test_shuttle_needs_its_data_three_decays_and_every_run(experiment, text):
    verdict, measured = decided("shuttle", experiment)["shuttle_collapse"]
    assert verdict == "inconclusive" and f"({text})" in measured


def test_weight_decays_are_named_as_in_the_tables():
    given = {"head": {"depth": 2}, "weight_decay": 1e-3, "grid": {}}
    assert weight_decays(given) == {1e-3: [1e-3, 1e-3]}
    assert decays(given | {"feature_decay": 0.1}, 3) == ([1e-3] * 3, 0.1)
    layers = {"weight_decay": [1e-3, 2e-3], "feature_decay": 0.1}
    assert decays(layers, 2) == ([1e-3, 2e-3], 0.1)
    given["grid"] = {"weight_decay": [[1e-3, 2e-3], [0.1, 0.2]]}
    assert weight_decays(given) == {"0.001-0.002": [1e-3, 2e-3], "0.1-0.2": [0.1, 0.2]}


# Geometry


def test_the_gram_matrix_that_is_drawn_is_the_first_seeds():
    config = {"weight_decay": 1e-4, "feature_decay": 1e-4, "head": {"bias": False}}
    runs = []
    for seed in (11, 10):
        measured = per_class(9, "all", "class_size", SIZES)
        measured |= entries(9, "class_gram", np.diag(1 + np.arange(4.0) * (seed - 10)))
        runs.append(({"depth": 3, "seed": seed}, measured, {}))
    drawn = compared("MLP", results(config, runs), "class_gram")
    np.testing.assert_allclose(drawn.measured, np.eye(4) / 2)
    features = lengths(SIZES, 400, [1e-4] * 3, 1e-4).features ** 2
    np.testing.assert_allclose(drawn.theory, np.diag(features / np.linalg.norm(features)))


# Sentences of captions


def drawn(columns, *rows):
    """Return what a figure drew as a table; `columns` are names in one text."""
    return pd.DataFrame(rows, columns=columns.split())


def sentences(name, rows):
    return import_module(f"collapse.studies.imbalanced.{name}").findings(rows)


@pytest.mark.parametrize("name", STUDY.figures)
def test_a_figure_without_a_run_says_so(name):
    columns = (
        "depth step metric median low high series panel head row column value class class_size "
        "experiment direction decay length weight_decay"
    )
    assert sentences(name, drawn(columns)) == "No run reached its end."


def test_lengths_are_given_beside_those_of_theory():
    rows = drawn(
        "length depth class_size median predicted series",
        ("feature_norm", 3, 50, 0.4, 0.4, "measured"),
        ("feature_norm", 3, 200, 0.1, 0.2, "measured"),
        *((length, 3, 50, 1e-3, None, "largest relative error") for length in LENGTHS),
        ("first_layer", 3, 200, 0.5, None, "largest relative error"),
        ("feature_norm", 3, 70, 9.0, None, "theory"),
    )
    assert sentences("gof_lengths", rows) == (
        "The largest relative errors over classes, depths and seeds are 0.5 (singular values of "
        "W1), 0.001 (rows of P) and 0.001 (class means). The length of the class mean of 200 "
        "samples over that of 50 is 0.25 (theory: 0.5) at M = 3."
    )


def test_classes_of_sweeps_are_held_against_where_theory_has_them_vanish():
    rows = drawn(
        "depth direction class_size decay value optimum series",
        (2, "up", 50, 0.1, 0.5, 0.51, "measured"),
        (2, "up", 50, 0.3, 0.4, 0.0, "measured"),
        (2, "up", 50, 0.5, 1e-4, 0.0, "measured"),
        (2, "down", 50, 0.1, 1e-9, 0.51, "measured"),
        (2, None, 50, 0.2, None, None, "critical decay"),
        (2, None, 50, 0.4, None, None, "end of the local minimum"),
    )
    assert sentences("minority_collapse", rows) == (
        "Below its critical decay a class of an upward sweep is at most 0.01 (M = 2) from the "
        "global optimum. The last decay at which it is above 0.001 is 0.75 (M = 2) of the one at "
        "which theory has it vanish, the critical decay at M = 1 and the end of the local minimum "
        "from M = 2 on. From M = 2 on, where zero is a local minimum at every decay, classes of "
        "downward sweeps reach 1e-09 at most."
    )


def test_shuttle_is_held_against_theory_on_both_sides_of_the_critical_size():
    rows = drawn(
        "weight_decay class_size median predicted step metric series",
        (0.1, 5, 0.02, 0.0, None, "own_logit", "measured"),
        (0.1, 100, 0.7, 0.8, None, "own_logit", "measured"),
        (0.1, 20, None, None, None, "own_logit", "critical class size"),
        (0.2, 100, 0.5, 0.6, None, "own_logit", "measured"),
        (0.1, None, 0.9, None, 1, "error", "measured"),
        (0.1, None, 0.25, None, 8, "error", "measured"),
    )
    assert sentences("network_shuttle", rows) == (
        "At weight decay 0.1 (critical class size 20) the median logits lie at most 0.02 from 0 "
        "where theory has 0 (classes: 1) and at most 0.1 from theory for the others "
        "(n = 100: 0.7; theory: 0.8). At weight decay 0.2 the median logits lie at most 0.1 from "
        "theory for all classes (n = 100: 0.5; theory: 0.6). The median training error ends at "
        "0.25 at 0.1."
    )


def test_accuracies_are_averaged_over_classes_of_more_and_of_fewer_samples():
    rows = drawn(
        "experiment depth class class_size median",
        *(("network_mlp", 3, k, size, size / 1000) for k, size in enumerate((100, 200, 600))),
    )
    assert sentences("accuracy_by_class", rows) == (
        "Left, the median accuracies, averaged over the classes of more samples than N/K = 300 (1) "
        "and over the others (2), are 0.6 and 0.15 at M = 3."
    )
