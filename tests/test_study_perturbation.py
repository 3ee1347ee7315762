"""The perturbation study: what its claims decide of made-up tables, and what its figures draw."""

import math
import re
from dataclasses import replace
from importlib import import_module
from itertools import product

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from collapse.errors import InputError
from collapse.plotting import paper_style
from collapse.studies import along_axes
from collapse.studies.perturbation import STUDY, claims, layer_claims
from collapse.studies.perturbation.analysis import (
    arms,
    exact_rates,
    flows,
    responses,
    spectrum,
    wide,
)
from collapse.studies.perturbation.resnet import ARMS, LOSSES, log_ratios, of_loss
from collapse.studies.perturbation.resnet_claims import resnets
from tables import changed, configured, diverged, results, scaled, undecided, valued, without

TIMES = (0.0, 0.5, 1.5, 4.0)
FALL, GROWTH = 0.7, 0.3
"""Rates of the within-class part and of the class means, freed of the feature decay."""


def flow_rows(feature_decay, times=TIMES, size=1.0):
    """A flow whose rates are constant: exponentials, with what the rates are made of."""
    measured = {}
    for step, time in enumerate(times):
        within = 2 * size * math.exp(-2 * (FALL + feature_decay) * time)
        between = size * math.exp(2 * (GROWTH - feature_decay) * time)
        measured[step, "all", "time"] = time
        measured[step, "H1", "trace_within"] = within
        measured[step, "H1", "trace_between"] = between
        measured[step, "H1", "NC1_ratio"] = within / between
        measured[step, "H1", "within_logits"] = FALL * within
        measured[step, "H1", "between_growth"] = GROWTH * between
        measured[step, "H1", "NC1"] = 3 * within
        measured[step, "H1", "NC2_ETF"] = 0.5 / (1 + time)
    return measured


def flow(seeds=3):
    config = {"seeds": seeds, "grid": {}, "weight_decay": 0.1, "feature_decay": 0.05}
    return results(
        config,
        [
            (
                {"weight_decay": 0.1, "feature_decay": 0.05, "seed": s},
                flow_rows(0.05, size=1 + s),
                {},
            )
            for s in range(seeds)
        ],
    )


def many_flows(seeds=125):
    """A thousand flows, of which some have no feature decay."""
    runs = []
    for dim, classes, feature, seed in product((3, 6), (2, 4), (0.0, 0.3), range(seeds)):
        keys = {"classes": classes, "dim": dim, "weight_decay": 0.1, "feature_decay": feature}
        runs.append((keys | {"seed": seed}, flow_rows(feature, TIMES[:3]), {}))
    return results({"seeds": seeds, "grid": {}}, runs)


BETAS = (1e4, 100.0, 1.0, 0.01)


def ladder(seeds=3):
    """Minimisers nearer to collapse than H_0 the smaller beta is, at the distance of the limit."""
    runs = []
    for beta, seed in product(BETAS, range(seeds)):
        keys = {"beta": beta, "weight_decay": 0.1, "feature_decay": 0.05, "seed": seed}
        measured = {(0, "H1", "NC1_ratio"): 2.0, (1, "H1", "NC1_ratio"): 2 * beta / (beta + 1)}
        measured[1, "H1", "flow_gap_order"] = 0.5 + seed
        measured[1, "H1", "flow_gap"] = (0.5 + seed) / beta**2
        runs.append((keys, measured, {}))
    config = {"seeds": seeds, "grid": {"problem.beta": list(BETAS)}}
    return results(config | {"weight_decay": 0.1, "feature_decay": 0.05}, runs)


SHAPE = {"classes": 3, "samples_per_class": 2, "dim": 4}
PAIRS = [(0.3, 0.2, 0.7), (0.3, 0.05, 0.7), (0.3, 0.2, 100.0), (0.3, 0.05, 100.0)]


def closed_form(weight, feature, beta):
    """The spectra of F and of its blocks for K = 3, n = 2, d = 4, worked out by hand."""
    c, q = math.sqrt(weight * feature), math.sqrt(feature / weight)
    span, aside, symmetric = (beta / (beta + pull) for pull in (q, feature, 4 * feature * (1 - c)))
    half = (1 - symmetric) / 2
    whole = [span] * 9 + [aside] * 3 + [symmetric] * 6 + [1.0] * 6
    block = [1.0, aside, 1 - half, 1 - half, symmetric, span, span, span]
    return {
        "response_eigenvalue": sorted(whole),
        "block_singular_value": sorted(block, reverse=True),
        "cross_singular_value": [half, *[1e-17] * 7],
    }


def response(seeds=2):
    runs = []
    for (weight, feature, beta), seed in product(PAIRS, range(seeds)):
        keys = {"feature_decay": feature, "beta": beta, "seed": seed, "weight_decay": weight}
        measured = {
            (1, "H1", f"{name}[{index}]"): value
            for name, values in closed_form(weight, feature, beta).items()
            for index, value in enumerate(values)
        }
        runs.append((keys, measured, {}))
    config = {"seeds": seeds, "grid": {}, "problem": {"kind": "perturbation", **SHAPE}}
    # Weight decay is a column that the study adds: before the seed, as every key.
    return results(config, [(reordered(keys), *rest) for keys, *rest in runs])


def reordered(keys):
    return {**{key: keys[key] for key in keys if key != "seed"}, "seed": keys["seed"]}


SIZES = (0.1, 0.03, 0.01)


def generic(seeds=3, order=2.0, betas=(1.0, 100.0, 1000.0)):
    """Remainders of this order in the size of the change; of Eq. 5 of order 2 in 1/beta."""
    runs, points = [], []
    for beta, seed in product(betas, range(seeds)):
        keys = {"beta": beta, "weight_decay": 0.3, "feature_decay": 0.2, "seed": seed}
        runs.append((keys, {(1, "H1", "first_order_error"): (1 + seed) / beta**2}, {}))
        place = {"step": 1, "layer": "H1", "probe": "response"}
        points += [keys | place | {"size": s, "error": (1 + seed) / beta * s**order} for s in SIZES]
    given = results({"seeds": seeds, "grid": {"problem.beta": list(betas)}}, runs)
    return replace(given, samples=pd.DataFrame(points))


DECAYS = (0.05, 0.1, 0.2)


def near(seeds=3):
    """Near collapse: in the span of the means NC1 responds by (beta/(beta + q))^2."""
    runs, beta = [], 1.0
    for weight, feature, seed in product(DECAYS, DECAYS, range(seeds)):
        c, q = math.sqrt(weight * feature), math.sqrt(feature / weight)
        span, symmetric = (beta / (beta + p) for p in (q, 4 * feature * (1 - c)))
        ratio = (span**2 + (beta / (beta + feature)) ** 2) / 2
        measured = {}
        predicted = {
            "nc1_ratio_response_in_span": span**2,
            "nc2_ratio_response": symmetric,
            "nc1_ratio_response": ratio,
        }
        for metric, factor in (("NC1", span**2), ("NC2_ETF", symmetric), ("NC1_ratio", ratio)):
            measured[0, "H1", metric] = 1e-6 * (1 + seed)
            measured[1, "H1", metric] = factor * 1e-6 * (1 + seed)
        keys = {"weight_decay": weight, "feature_decay": feature, "beta": beta, "seed": seed}
        runs.append((keys, measured, predicted))
    grid = {"weight_decay": list(DECAYS), "feature_decay": list(DECAYS)}
    return results({"seeds": seeds, "grid": grid, "weight_decay": 0.1, "feature_decay": 0.1}, runs)


FAR = (0.025, 0.05, 0.1)


def far(seeds=3):
    """Far from collapse: ln NC1_ratio falls with both decays; at large beta with weights' only."""
    runs = []
    for weight, feature, beta, seed in product(FAR, FAR, (0.05, 100.0), range(seeds)):
        share = 1.0 if beta < 1 else 0.01
        log = -weight / beta - share * feature / beta
        measured = {(0, "H1", "NC1_ratio"): 2.0, (1, "H1", "NC1_ratio"): 2 * math.exp(log)}
        keys = {"weight_decay": weight, "feature_decay": feature, "beta": beta, "seed": seed}
        runs.append((keys, measured, {}))
    grid = {"weight_decay": list(FAR), "feature_decay": list(FAR), "problem.beta": [0.05, 100.0]}
    return results(
        {"seeds": seeds, "grid": grid, "weight_decay": 0.05, "feature_decay": 0.05}, runs
    )


LABELS = {"model": "MLP 10x8", "data": "digits", "samples": "all samples", "loss": "MSE"}
NETWORK = {"grid": {}, "labels": LABELS, "model": {"kind": "mlp", "hidden": [8] * 10}}
DEPTHS = range(1, 11)


def network_run(seed, measured):
    return {"weight_decay": 0.1, "feature_decay": 0.0, "seed": seed}, measured, {}


def layerwise(seeds=3):
    """NC1 = 2/depth and NC1_ratio = 3/depth of a step for each layer."""
    runs = []
    for seed in range(seeds):
        measured = {}
        for depth in DEPTHS:
            measured[depth, "H1", "NC1"] = (2 + seed) / depth
            measured[depth, "H1", "NC1_ratio"] = (3 + seed) / depth
            measured[depth, "all", "error"] = 0.3 / depth
        runs.append(network_run(seed, measured))
    return results({**NETWORK, "seeds": seeds}, runs)


def end_to_end(seeds=3):
    """Two epochs of all layers, of which the last is what counts."""
    runs = []
    for seed, (epoch, size) in product(range(seeds), ((5, 9.0), (20, 1.0))):
        measured = {(epoch, "all", "error"): 0.2 * size, (epoch, "H1", "NC1"): 77.0}
        for depth in DEPTHS:
            # At first the other way round.
            place = depth if epoch == 20 else 11 - depth
            measured[epoch, f"hidden{depth}", "NC1"] = size * (2 + seed) / place
            measured[epoch, f"hidden{depth}", "NC1_ratio"] = size * (3 + seed) / place
        runs.append(network_run(seed, measured))
    return results({**NETWORK, "layers": "all", "seeds": seeds}, runs)


RUNGS = (100.0, 1.0, 0.01)


def intermediate(seeds=3):
    """Minimisers nearer to collapse the smaller beta is, most like the next layer at beta 1."""
    runs = []
    for first, beta, seed in product((2, 9), RUNGS, range(seeds)):
        measured = {(0, "H1", name): 4 / (1 + 1 / beta) for name in ("NC1", "NC2_ETF", "NC1_ratio")}
        for depth in DEPTHS:
            layer = f"hidden{depth}"
            gap = abs(depth - first - 1) + abs(math.log10(beta)) / 10
            measured[0, layer, "CKA"] = 0.9 - gap / 20
            measured[0, layer, "procrustes"] = 0.1 + gap / 10
            for name in ("NC1", "NC2_ETF", "NC1_ratio"):
                measured[0, layer, f"network_{name}"] = 12.0 / depth**0.5
            measured[0, layer, "network_CKA"] = 0.8
            measured[0, layer, "network_procrustes"] = 0.3
        keys = {"from_layer": f"hidden{first}", "beta": beta, "weight_decay": 0.1}
        runs.append((keys | {"feature_decay": 0.1, "seed": seed}, measured, {}))
    config = {"seeds": seeds, "grid": {"problem.beta": list(RUNGS)}, "procedure": "problem"}
    return results(config, runs)


GIVEN = {
    "flows": many_flows(),
    "flow": flow(),
    "beta_ladder": ladder(),
    "response": response(),
    "generic_response": generic(),
    "near_collapse": near(),
    "far_from_collapse": far(),
    "layerwise_mlp": layerwise(),
    "end_to_end_mlp": end_to_end(),
    "intermediate_features": intermediate(),
}
# Networks, at what the decays of the last layer and of the features are multiplied by


EPOCHS = (1, 10, 200)
NC1 = {"baseline": 0.1, "2x FC": 0.09, "2x features": 0.05, "zero FC": 0.12, "zero features": 0.4}
"""NC1 at the last epoch of seed 0; the error is zero from the second on."""


def resnet(loss, key, factors, seeds=3):
    """Networks whose decay `key` is so many times the baseline's."""
    baseline = {"weight_decay": 5e-4, "feature_decay": 0.0, "backbone_decay": 5e-4}
    runs = []
    for factor, seed in product(factors, range(seeds)):
        keys = baseline | {key: factor * baseline[key], "seed": seed}
        pair = tuple(keys[name] / 5e-4 for name in ("weight_decay", "backbone_decay"))
        last = NC1[next(name for name, factors in ARMS.items() if factors == pair)]
        measured = {}
        for epoch in EPOCHS:
            measured[epoch, "H1", "NC1"] = last * (1 + seed) * 200 / epoch
            measured[epoch, "H1", "NC2_ETF"] = 0.1 + last / epoch
            measured[epoch, "all", "error"] = 0.25 if epoch == 1 else 0.0
        runs.append((keys, measured, {}))
    labels = {"model": "ResNet18", "data": "CIFAR-10", "samples": "all samples", "loss": loss}
    config = baseline | {"grid": {}, "seeds": seeds, "training": {"epochs": 200}, "labels": labels}
    return results(config, runs)


NETWORKS = {
    name: resnet(loss, *varied)
    for loss, names in LOSSES.items()
    for name, varied in zip(
        names, (("weight_decay", (1, 2, 0)), ("backbone_decay", (2, 0))), strict=True
    )
}
NETWORK_CLAIMS = [
    "resnet_mse_direction",
    "resnet_mse_asymmetry",
    "resnet_ce_direction",
    "resnet_ce_asymmetry",
    "resnet_ce_last_layer",
]
WHOLE = GIVEN | NETWORKS
NAMES = {
    "flows": ["flow_nc1_ratio", "flow_within", "flow_between"],
    "flow": ["flow_rate"],
    "beta_ladder": ["minimiser_nc1_ratio", "minimiser_flow_gap"],
    "response": ["response_factors", "response_block", "response_cross"],
    "generic_response": ["response_remainder", "response_first_order"],
    "near_collapse": [
        "near_nc1_ratio_response_in_span",
        "near_nc2_ratio",
        "near_feature_decay",
        "near_weight_decay",
        "near_equal_arms",
    ],
    "far_from_collapse": ["far_weight_decay", "far_feature_decay_cancels"],
    "layerwise_mlp": ["layerwise_nc1", "layerwise_nc1_ratio"],
    "end_to_end_mlp": ["end_to_end_nc1", "end_to_end_nc1_ratio"],
    "intermediate_features": [
        "intermediate_nc1_ratio",
        "intermediate_cka",
        "intermediate_procrustes",
    ],
}
ALL = [claim for names in NAMES.values() for claim in names]
SEEDS = dict.fromkeys(NAMES, 3) | {"flows": 1, "response": 2}


def rows_of(**experiments):
    return list(claims.decide(WHOLE | experiments))


def decided(name, experiment):
    """Return what was not replicated of the claims that one experiment decides."""
    rows = {
        "flows": lambda: claims._theorem_3_1(experiment),
        "flow": lambda: [claims._rates(experiment)],
        "beta_ladder": lambda: [claims._corollary_3_2(experiment), claims._flow_gap(experiment)],
        "response": lambda: claims._factors(experiment),
        "generic_response": lambda: claims._generic(experiment),
        "near_collapse": lambda: claims._near(experiment),
        "far_from_collapse": lambda: claims._far(experiment),
    }
    others = GIVEN | {name: experiment}
    decisions = rows[name]() if name in rows else layer_claims.decide(others)
    return undecided(row for row in decisions if row["claim"] in NAMES[name])


def verdicts(name, experiment):
    return {claim: verdict for claim, (verdict, _) in decided(name, experiment).items()}


def test_what_agrees_with_theory_replicates():
    rows = rows_of()
    assert [row["claim"] for row in rows] == ALL + NETWORK_CLAIMS and not undecided(rows)
    assert {*NAMES, *NETWORKS} == set(STUDY.claims_read)
    assert {row["claim"] for row in rows if row["bound"] == "theory"} == {
        "minimiser_nc1_ratio",
        "near_feature_decay",
        "near_weight_decay",
        "far_weight_decay",
        "intermediate_nc1_ratio",
        *NETWORK_CLAIMS,
    }
    assert (
        "1000 flows, 0 violations"
        in next(r for r in rows if r["claim"] == "flow_within")["expected"]
    )
    assert all(row["statement"] and row["source"] for row in rows)


@pytest.mark.parametrize("name", [name for name in GIVEN if SEEDS[name] > 1])
def test_nothing_is_decided_with_a_seed_too_few(name):
    few = decided(name, configured(GIVEN[name], seeds=SEEDS[name] - 1))
    assert set(few) == set(NAMES[name])
    for verdict, measured in few.values():
        assert verdict == "inconclusive"
        assert f"({SEEDS[name] - 1} of {SEEDS[name]} seeds)" in measured


@pytest.mark.parametrize("name", GIVEN)
def test_a_lost_run_leaves_its_claims_undecided(name):
    lost = decided(name, diverged(GIVEN[name], seed=0))
    runs = GIVEN[name].metrics.query("seed == 0")[GIVEN[name].keys].drop_duplicates()
    assert set(lost) == set(NAMES[name])
    for verdict, measured in lost.values():
        assert verdict == "inconclusive" and f"{len(runs)} diverged" in measured


@pytest.mark.parametrize("name", GIVEN)
def test_nothing_is_decided_where_every_run_diverged(name):
    late = diverged(GIVEN[name])
    at_once = replace(late, metrics=late.values("diverged"))  # nothing else was measured
    for gone in (late, replace(at_once, samples=at_once.samples.iloc[:0])):
        assert verdicts(name, gone) == dict.fromkeys(NAMES[name], "inconclusive")


# Flows


def test_a_verdict_on_the_theorem_needs_a_thousand_flows():
    less = decided("flows", without(GIVEN["flows"], seed=124, dim=3, classes=2, feature_decay=0.0))
    assert set(less) == set(NAMES["flows"])
    for verdict, measured in less.values():
        assert verdict == "inconclusive" and "999 of 1000 flows" in measured


@pytest.mark.parametrize(
    ("metric", "sign", "claim"),
    [
        ("NC1_ratio", 1, "flow_nc1_ratio"),
        ("trace_within", 1, "flow_within"),
        ("trace_between", -1, "flow_between"),
    ],
)
def test_one_step_the_other_way_counts_from_1e_9_on(metric, sign, claim):
    def stepped(rise, **keys):
        """Return the flows whose last step goes so far the other way, feature decay apart."""
        given = GIVEN["flows"]
        for feature in (0.0, 0.3):
            before = given.metrics.query(f"metric == '{metric}' and step == 1")
            value = before[before["feature_decay"] == feature]["value"].iloc[0]
            # What the trace may do by the feature decay alone.
            free = 0 if metric == "NC1_ratio" else 2 * feature * (TIMES[2] - TIMES[1])
            value *= math.exp(sign * rise - free)
            given = valued(given, metric, value, step=2, feature_decay=feature, **keys)
        return given

    assert not verdicts("flows", stepped(0.9e-9))
    assert not verdicts("flows", stepped(-1e-3))
    assert verdicts("flows", stepped(1.1e-9)) == {claim: "not replicated"}
    assert verdicts("flows", stepped(1e-3, seed=[7], dim=3)) == {claim: "inconclusive"}
    rows = rows_of(flows=stepped(1e-3, seed=[7], dim=3))
    (row,) = [row for row in rows if row["claim"] == claim]
    assert "1000 flows, 4 violations" in row["expected"] and "worst 0.001" in row["measured"]


def test_a_ratio_below_rounding_says_nothing():
    """What rises again below 1e-12 is noise, and so are its traces."""
    low = valued(GIVEN["flows"], "NC1_ratio", 0.99e-12, step=[1, 2])
    noise = valued(low, "NC1_ratio", 0.5e-12, step=1, seed=[3])
    assert verdicts("flows", noise) == dict.fromkeys(NAMES["flows"], "inconclusive")
    high = valued(GIVEN["flows"], "NC1_ratio", 1.01e-12, step=1)
    assert verdicts("flows", high) == {"flow_nc1_ratio": "not replicated"}


def test_flows_are_taken_in_the_order_of_time():
    shuffled = GIVEN["flows"].metrics.sample(frac=1, random_state=0)
    assert not verdicts("flows", replace(GIVEN["flows"], metrics=shuffled))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_slope_is_the_exact_rate_up_to_two_per_cent(sign):
    def off(by, **keys):
        given = GIVEN["flow"]
        for name in ("within_logits", "between_growth"):
            given = scaled(given, name, 1 / (1 + sign * by), **keys)
        return verdicts("flow", given)

    assert not off(0.0199)
    assert off(0.0201) == {"flow_rate": "not replicated"}
    assert off(0.5, seed=1) == {"flow_rate": "inconclusive"}


def test_one_step_that_is_too_long_does_not_count():
    """The rate at two ends of a long step need not be its slope: the median counts."""
    assert not verdicts("flow", scaled(GIVEN["flow"], "within_logits", 1.5, step=3))


# The ladder


def test_a_minimiser_no_nearer_to_collapse_refutes_the_corollary():
    def at(ratio, **keys):
        return verdicts("beta_ladder", valued(GIVEN["beta_ladder"], "NC1_ratio", ratio, **keys))

    assert not at(2 * (1 - 1e-12), step=1)
    assert at(2 * (1 + 1e-12), step=1) == {"minimiser_nc1_ratio": "not replicated"}
    assert at(2.1, step=1, beta=100.0) == {"minimiser_nc1_ratio": "not replicated"}
    assert at(2.1, step=1, beta=100.0, seed=1) == {"minimiser_nc1_ratio": "inconclusive"}


@pytest.mark.parametrize("sign", [1, -1])
def test_the_gap_is_measured_at_the_largest_beta(sign):
    def off(by, **keys):
        given = scaled(GIVEN["beta_ladder"], "flow_gap", 1 + sign * by, **keys)
        return verdicts("beta_ladder", given)

    assert not off(0.0099)
    assert off(0.0101) == {"minimiser_flow_gap": "not replicated"}
    assert not off(0.5, beta=list(BETAS[1:]))
    assert off(0.5, beta=1e4, seed=0) == {"minimiser_flow_gap": "inconclusive"}


def test_without_a_large_beta_the_gap_is_not_judged():
    small = decided("beta_ladder", without(GIVEN["beta_ladder"], beta=[1e4, 100.0]))
    assert set(small) == {"minimiser_flow_gap"}
    verdict, measured = small["minimiser_flow_gap"]
    assert verdict == "inconclusive" and "no beta of 100 or more" in measured
    assert not decided("beta_ladder", without(GIVEN["beta_ladder"], beta=1e4))


# The response


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("metric", "claim"),
    [
        ("response_eigenvalue", "response_factors"),
        ("block_singular_value", "response_block"),
        ("cross_singular_value", "response_cross"),
    ],
)
def test_one_value_of_a_spectrum_counts_from_1e_8_on(metric, claim, sign):
    def off(by, **keys):
        given = changed(GIVEN["response"], f"{metric}[0]", lambda value: value + sign * by, **keys)
        return verdicts("response", given)

    assert not off(0.99e-8)
    assert off(1.01e-8) == {claim: "not replicated"}
    # Four of eight runs, and one of them.
    assert off(1e-3, beta=0.7) == {claim: "not replicated"}
    assert off(1e-3, seed=1, beta=0.7, feature_decay=0.2) == {claim: "inconclusive"}


def test_a_multiplicity_counts():
    given = GIVEN["response"]
    rows = given.metrics.query("metric == 'response_eigenvalue[23]'")
    assert (rows["value"] == 1).all()
    for beta in (0.7, 100.0):
        value = given.metrics.query(f"metric == 'response_eigenvalue[0]' and beta == {beta}")
        given = valued(given, "response_eigenvalue[23]", value["value"].iloc[0], beta=beta)
    assert verdicts("response", given) == {"response_factors": "not replicated"}


@pytest.mark.parametrize("sign", [1, -1])
def test_the_remainder_is_of_second_order(sign):
    assert not verdicts("generic_response", generic(order=2 + sign * 0.049))
    off = verdicts("generic_response", generic(order=2 + sign * 0.051))
    assert off == {"response_remainder": "not replicated"}


@pytest.mark.parametrize("sign", [1, -1])
def test_the_remainder_of_the_first_order_is_of_second_order_in_large_beta(sign):
    def off(by, **keys):
        given = GIVEN["generic_response"]
        given = scaled(given, "first_order_error", 10 ** (sign * by), beta=1000.0, **keys)
        return verdicts("generic_response", given)

    assert not off(0.049)
    assert off(0.051) == {"response_first_order": "not replicated"}
    assert off(0.5, seed=2) == {"response_first_order": "inconclusive"}
    # Small beta do not count.
    small = scaled(GIVEN["generic_response"], "first_order_error", 9.0, beta=1.0)
    assert not verdicts("generic_response", small)


@pytest.mark.parametrize(("gone", "left"), [([1000.0], 1), ([100.0, 1000.0], 0)])
def test_an_order_in_beta_needs_two_large_ones(gone, left):
    few = decided("generic_response", without(GIVEN["generic_response"], beta=gone))
    assert set(few) == {"response_first_order"}
    verdict, measured = few["response_first_order"]
    assert verdict == "inconclusive" and f"{left} of 2 beta from 100 on" in measured


def test_a_remainder_of_zero_has_no_order():
    given = GIVEN["generic_response"]
    points = given.samples
    none = replace(given, samples=points.assign(error=0.0))
    assert verdicts("generic_response", none) == {"response_remainder": "inconclusive"}
    single = replace(given, samples=points[points["size"] == 0.1])
    assert verdicts("generic_response", single) == {"response_remainder": "inconclusive"}
    exact = valued(given, "first_order_error", 0.0)
    assert verdicts("generic_response", exact) == {"response_first_order": "inconclusive"}
    # Two sizes that have a remainder have an order.
    two = points.assign(error=points["error"].where(points["size"] != 0.01, 0.0))
    assert not verdicts("generic_response", replace(given, samples=two))


# Decays


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("metric", "claim"),
    [("NC1", "near_nc1_ratio_response_in_span"), ("NC2_ETF", "near_nc2_ratio")],
)
def test_near_collapse_the_response_counts_to_two_per_cent(metric, claim, sign):
    def off(by, **keys):
        return verdicts(
            "near_collapse", scaled(GIVEN["near_collapse"], metric, 1 + sign * by, step=1, **keys)
        )

    assert not off(0.0199)
    assert off(0.0201) == {claim: "not replicated"}
    assert off(0.0201, weight_decay=0.05, feature_decay=0.2) == {claim: "not replicated"}
    one = off(0.03, weight_decay=0.05, feature_decay=0.05, seed=2)
    assert one == {claim: "inconclusive"}


def of_arm(name, metric, arm, shift, **keys):
    """Return the experiment with ln of a response in one arm at the baseline's plus `shift`."""
    given = GIVEN[name]
    weight, feature = arms(given)[arm]
    base = arms(given)["baseline"]
    rows = given.metrics.query(f"metric == '{metric}' and step == 1")
    at = (rows["weight_decay"] == base[0]) & (rows["feature_decay"] == base[1])
    for place, (seed, beta) in rows.loc[at, ["seed", "beta"]].iterrows():
        wanted = {"seed": int(seed), "beta": beta, "weight_decay": weight, "feature_decay": feature}
        if all(wanted[key] == value for key, value in keys.items()):
            value = rows.loc[place, "value"] * math.exp(shift)
            given = valued(given, metric, value, step=1, **wanted)
    return given


@pytest.mark.parametrize(
    ("name", "metric", "claim", "arm", "sign"),
    [
        ("near_collapse", "NC1", "near_feature_decay", "2 feature", 1),
        ("near_collapse", "NC1", "near_feature_decay", "1/2 feature", -1),
        ("near_collapse", "NC1", "near_weight_decay", "1/2 weight", 1),
        ("near_collapse", "NC1", "near_weight_decay", "2 weight", -1),
        ("far_from_collapse", "NC1_ratio", "far_weight_decay", "2 weight", 1),
        ("far_from_collapse", "NC1_ratio", "far_weight_decay", "1/2 weight", -1),
    ],
)
def test_the_direction_of_each_arm_counts(name, metric, claim, arm, sign):
    keys = {"beta": 0.05} if name.startswith("far") else {}

    def verdict(shift, **more):
        moved = of_arm(name, metric, arm, sign * shift, **keys, **more)
        return decided(name, moved).get(claim, ("replicated",))[0]

    assert verdict(-1e-9) == "replicated"
    assert verdict(1e-9) == "not replicated"
    assert verdict(0.1, seed=1) == "inconclusive"


@pytest.mark.parametrize("sign", [1, -1])
def test_halving_one_decay_and_doubling_the_other_are_alike_to_two_per_cent(sign):
    shift = math.log(
        responses(GIVEN["near_collapse"], "NC1")
        .query("weight_decay == 0.1 and feature_decay == 0.2 and seed == 0")["value"]
        .item()
        / 0.25
    )

    def verdict(by):
        moved = of_arm("near_collapse", "NC1", "1/2 weight", shift + sign * by)
        return decided("near_collapse", moved).get("near_equal_arms", ("replicated",))[0]

    assert verdict(0.0199) == "replicated"
    assert verdict(0.0201) == "not replicated"


@pytest.mark.parametrize("arm", ["2 feature", "1/2 feature"])
@pytest.mark.parametrize("sign", [1, -1])
def test_far_from_collapse_the_feature_decay_has_little_effect_at_large_beta(arm, sign):
    """The weight decay's largest effect is that of doubling it, 0.05/100."""

    def verdict(share, **keys):
        shift = sign * share * 0.0005
        moved = of_arm("far_from_collapse", "NC1_ratio", arm, shift, beta=100.0, **keys)
        lost = decided("far_from_collapse", moved)
        assert set(lost) <= {"far_feature_decay_cancels"}
        return lost.get("far_feature_decay_cancels", ("replicated",))[0]

    assert verdict(0.049) == "replicated"
    assert verdict(0.051) == "not replicated"
    assert verdict(0.2, seed=0) == "inconclusive"


def without_decay(name, key, value):
    """Return an experiment that did not run one value of a decay."""
    given = without(GIVEN[name], **{key: value})
    grid = given.config["grid"]
    grid = grid | {key: [decay for decay in grid[key] if decay != value]}
    return configured(given, grid=grid)


@pytest.mark.parametrize(
    ("key", "value", "lacking"),
    [
        # The middle of what is left is the baseline: 0.1 of 0.1 and 0.2, 0.05 and 0.1.
        ("weight_decay", 0.2, "1/2 weight"),
        ("feature_decay", 0.2, "1/2 feature"),
        ("weight_decay", 0.1, None),
    ],
)
def test_an_arm_that_was_not_run_leaves_the_directions_undecided(key, value, lacking):
    lost = decided("near_collapse", without_decay("near_collapse", key, value))
    names = {"near_feature_decay", "near_weight_decay", "near_equal_arms"}
    assert set(lost) == names
    assert all(verdict == "inconclusive" for verdict, _ in lost.values())
    assert all("no arm" in measured for _, measured in lost.values())
    if lacking:
        absent = {"1/2 weight": "2 weight", "1/2 feature": "2 feature"}[lacking]
        assert all(absent in measured for _, measured in lost.values())


def test_without_a_large_beta_it_is_not_said_that_the_feature_decay_cancels():
    few = decided("far_from_collapse", without(GIVEN["far_from_collapse"], beta=100.0))
    assert set(few) == {"far_feature_decay_cancels"}
    assert "no beta of 100 or more" in few["far_feature_decay_cancels"][1]
    assert few["far_feature_decay_cancels"][0] == "inconclusive"


# Analysis


@pytest.mark.parametrize("metric", ["NC1", "NC1_ratio"])
@pytest.mark.parametrize("name", ["layerwise", "end_to_end"])
def test_a_metric_that_does_not_fall_with_depth_refutes_that_it_does(name, metric):
    experiment = GIVEN[f"{name}_mlp"]
    rising = changed(experiment, metric, lambda values: 1 / values)
    assert verdicts(f"{name}_mlp", rising) == {f"{name}_{metric.lower()}": "not replicated"}
    # Two neighbours the other way round: 1 - 6 * 2/(10 * 99) is above 0.9.
    last = {"step": 9} if name == "layerwise" else {"layer": "hidden9"}
    swapped = scaled(experiment, metric, 0.8, **last)
    assert not verdicts(f"{name}_mlp", swapped)


def test_a_shorter_network_is_not_judged():
    short = without(GIVEN["layerwise_mlp"], step=10)
    for verdict, measured in decided("layerwise_mlp", short).values():
        assert verdict == "inconclusive" and "9 of 10 layers" in measured


def test_a_last_layer_has_no_next_one_to_come_near():
    experiment = GIVEN["intermediate_features"]
    rows = experiment.metrics
    ends = rows.assign(from_layer=rows["from_layer"].replace("hidden9", "H1"))
    ends = replace(experiment, metrics=ends)
    lost = decided("intermediate_features", ends)
    assert {"intermediate_cka", "intermediate_procrustes"} <= set(lost)
    for name in ("intermediate_cka", "intermediate_procrustes"):
        assert "no layer after H1" in lost[name][1] and "nan" not in lost[name][1]
    table, _ = drawn("intermediate_features", intermediate_features=ends)
    assert set(table.loc[table["metric"] == "CKA", "from_layer"]) == {"hidden2"}
    text = found("intermediate_features", table)
    assert text.count("CKA") == 1 and "nan" not in text


@pytest.mark.parametrize("name", ["depthwise_mlp", "intermediate_features"])
def test_a_figure_of_layers_says_what_it_leaves_out(name):
    first = STUDY.figures[name].reads[0]
    given = GIVEN | {first: replace(diverged(GIVEN[first], seed=0), note="width = 8 of 2 values")}
    module = import_module(f"collapse.studies.perturbation.{name}")
    with paper_style():
        figure, _ = module.draw({key: given[key] for key in STUDY.figures[name].reads})
        written = [text.get_text() for text in figure.texts]
        written += [text.get_text() for axes in figure.axes for text in axes.texts]
        plt.close(figure)
    assert any("width = 8 of 2 values" in text for text in written)
    assert any("diverged" in text for text in written)


def test_without_layers_or_beta_the_figure_is_one_line():
    experiment = GIVEN["intermediate_features"]
    for gone in (["from_layer"], ["beta"]):
        other = replace(experiment, metrics=experiment.metrics.drop(columns=gone))
        with pytest.raises(InputError, match=r"needed are start.from_layer and a problem.beta"):
            drawn("intermediate_features", intermediate_features=other)


def test_one_beta_at_which_nc1_ratio_grows_refutes_the_corollary_on_a_network():
    grown = valued(GIVEN["intermediate_features"], "NC1_ratio", 50.0, beta=1.0)
    assert verdicts("intermediate_features", grown) == {"intermediate_nc1_ratio": "not replicated"}


def test_the_arms_are_what_doubles_and_halves_one_decay_of_the_baseline():
    assert arms(GIVEN["near_collapse"]) == {
        "baseline": (0.1, 0.1),
        "2 weight": (0.2, 0.1),
        "1/2 weight": (0.05, 0.1),
        "2 feature": (0.1, 0.2),
        "1/2 feature": (0.1, 0.05),
    }
    grid = {"weight_decay": [0.3, 0.1]}
    one = configured(GIVEN["near_collapse"], grid=grid, feature_decay=0.1)
    assert arms(one) == {"baseline": (0.3, 0.1)}
    # A decay of null is the other's.
    tied = configured(GIVEN["near_collapse"], grid={}, feature_decay=None)
    assert arms(tied) == {"baseline": (0.1, 0.1)}


def test_a_feature_decay_of_null_is_that_of_the_weights():
    given = configured(flow(), weight_decay=0.05, feature_decay=None)
    bare = given.metrics.drop(columns=["weight_decay", "feature_decay"])
    whole = along_axes(
        replace(given, metrics=bare, predictions=bare.iloc[:0], samples=bare.iloc[:0]),
        STUDY.own_axes["flow"],
    )
    assert (whole.metrics["feature_decay"] == 0.05).all()
    expected = flows(flow()).sort_values(["seed", "step"])["log_within"]
    np.testing.assert_allclose(
        flows(whole).sort_values(["seed", "step"])["log_within"], expected, rtol=1e-14
    )


def test_flows_are_logarithms_freed_of_the_feature_decay():
    table = flows(GIVEN["flow"])
    assert len(table) == 3 * len(TIMES)
    for seed, run in table.groupby("seed"):
        assert run["time"].tolist() == list(TIMES)
        time = run["time"].to_numpy()
        within = math.log(2 * (1 + seed)) - 2 * FALL * time
        np.testing.assert_allclose(run["log_within"], within, atol=1e-13)
        between = math.log(1 + seed) + 2 * GROWTH * time
        np.testing.assert_allclose(run["log_between"], between, atol=1e-13)
        np.testing.assert_allclose(run["log_nc1_ratio"], within - between, atol=1e-13)
    gone = flows(diverged(GIVEN["flow"], seed=1))
    assert set(gone["seed"]) == {0, 2}
    zero = valued(GIVEN["flow"], "NC1_ratio", 0.0, step=3)
    assert set(flows(zero)["step"]) == {0, 1, 2}


def test_rates_and_slopes_are_those_between_neighbours():
    table = exact_rates(GIVEN["flow"])
    assert len(table) == 3 * (len(TIMES) - 1)
    np.testing.assert_allclose(table["rate"], -2 * (FALL + GROWTH), rtol=1e-12)
    np.testing.assert_allclose(table["slope"], -2 * (FALL + GROWTH), rtol=1e-12)
    np.testing.assert_allclose(table["mean_rate"], -2 * (FALL + GROWTH), rtol=1e-12)
    run = table[table["seed"] == 1]
    assert list(zip(run["time"], run["next_time"], strict=True)) == [
        (0.0, 0.5),
        (0.5, 1.5),
        (1.5, 4.0),
    ]


def test_responses_are_out_over_in_of_each_run():
    given = responses(diverged(GIVEN["beta_ladder"], seed=2, beta=1.0), "NC1_ratio")
    assert len(given) == 4 * 3 - 1 and set(given) == {*GIVEN["beta_ladder"].keys, "value"}
    np.testing.assert_allclose(given["value"], given["beta"] / (given["beta"] + 1), rtol=1e-14)


def test_a_spectrum_has_its_numbers_as_indices():
    values = spectrum(GIVEN["response"], "block_singular_value")
    assert len(values) == 8 * 8 and sorted(values["index"].unique()) == list(range(8))
    run = values.query("seed == 0 and beta == 0.7 and feature_decay == 0.2")
    expected = closed_form(0.3, 0.2, 0.7)["block_singular_value"]
    assert run.sort_values("index")["value"].tolist() == expected
    assert "time" in wide(GIVEN["flow"], "time") and len(wide(GIVEN["flow"], "time")) == 12


# Figures


def drawn(name, **changes):
    """Draw a figure; return the numbers drawn, and the lines of each panel."""
    given = WHOLE | changes
    reads = STUDY.figures[name].reads
    module = import_module(f"collapse.studies.perturbation.{name}")
    with paper_style():
        figure, table = module.draw({key: given[key] for key in reads})
        figure.canvas.draw()
        lines = [[line.get_xydata() for line in axes.get_lines()] for axes in figure.axes]
        plt.close(figure)
    return table, lines


def found(name, table):
    """Say what a figure found in its table."""
    return import_module(f"collapse.studies.perturbation.{name}").findings(table)


def curves(lines):
    """All points of the lines of a panel, sorted, without guides of one value."""
    return sorted(map(tuple, np.concatenate([line for line in lines if len(line)])))


def near_points(left, right):
    np.testing.assert_allclose(np.array(sorted(left)), np.array(sorted(right)), rtol=1e-9)


def test_the_flow_is_drawn_with_what_is_monotone_and_what_need_not_be():
    table, panels = drawn("flow")
    series = ["log_nc1_ratio", "log_within", "log_between", None, "trace_between", "NC1", "NC2_ETF"]
    for place, name in enumerate(series):
        if name:
            rows = table[table["series"] == name]
            near_points(curves(panels[place]), rows[["time", "value"]].to_numpy().tolist())
            assert len(rows) == 3 * (len(TIMES) - 1)
    ratio = table[table["series"] == "log_nc1_ratio"]
    np.testing.assert_allclose(
        ratio["value"], 2 * np.exp(-2 * (FALL + GROWTH) * ratio["time"]), rtol=1e-12
    )
    largest = table[table["series"] == "NC1"]
    np.testing.assert_allclose(
        largest["value"], np.exp(-2 * (FALL + 0.05) * largest["time"]), rtol=1e-12
    )
    slopes = table[table["series"].isin(["slope between records", "exact rate"])]
    near_points(curves(panels[3]), slopes[["time", "value"]].to_numpy().tolist())
    np.testing.assert_allclose(slopes["value"], 2 * (FALL + GROWTH), rtol=1e-12)


def test_the_ladder_is_drawn_beside_the_flow_of_its_seeds():
    table, panels = drawn("beta_ladder")
    points = table[table["metric"] == "NC1_ratio"]
    assert len(points) == 4 * 3
    np.testing.assert_allclose(points["time"], 1 / points["beta"])
    path = table[table["metric"] == "flow NC1_ratio"]
    assert sorted(path["time"].unique()) == [0.5, 1.5, 4.0] and path["beta"].isna().all()
    both = pd.concat([points, path])
    near_points(curves(panels[0]), both[["time", "value"]].to_numpy().tolist())
    # Over its own constant the distance is the limit, of every seed.
    gaps = table[table["metric"] == "distance"]
    limit = table[table["metric"] == "limit"]
    assert len(gaps) == 4 * 3 and sorted(limit["beta"]) == pytest.approx(sorted(BETAS))
    assert limit["seed"].isna().all()
    for rows in (gaps, limit):
        np.testing.assert_allclose(rows["value"], rows["beta"] ** -2.0)
    near_points(curves(panels[1]), pd.concat([gaps, limit])[["time", "value"]].to_numpy().tolist())


def test_the_spectrum_is_drawn_on_the_levels_of_the_closed_form():
    table, panels = drawn("response_spectrum")
    measured = table[table["series"] == "measured"]
    closed = table[table["series"] == "closed form"]
    assert len(measured) == len(closed) == 4 * 8
    np.testing.assert_allclose(measured["median"], closed["median"], atol=1e-12)
    for (weight, feature, beta), rows in closed.groupby(["weight_decay", "feature_decay", "beta"]):
        expected = beta * (1 - np.array(closed_form(weight, feature, beta)["block_singular_value"]))
        np.testing.assert_allclose(rows.sort_values("index")["median"], expected, atol=1e-12)
    for place, beta in enumerate((0.7, 100.0)):
        points, levels = (rows[rows["beta"] == beta] for rows in (measured, closed))
        lines = [line for line in panels[place] if len(line) == 8]
        places = points.assign(place=points["index"] + 1)
        near_points(curves(lines), places[["place", "median"]].to_numpy().tolist())
        # Of each of both decays five levels, from half before the first place to half after.
        steps = [line for line in panels[place] if len(line) == 2]
        assert len(steps) == 2 * 5 and sum(line[1, 0] - line[0, 0] for line in steps) == 2 * 8
        heights = {round(line[0, 1], 9) for line in steps}
        assert heights == {round(height, 9) for height in levels["median"]}
    rest = table[table["series"] == "remainder"]
    assert len(rest) == 3 * len(SIZES)
    np.testing.assert_allclose(rest["median"], 2 / rest["beta"], rtol=1e-12)
    near_points(curves(panels[2]), rest[["size", "median"]].to_numpy().tolist())


def test_each_arm_is_drawn_over_its_baseline():
    table, panels = drawn("regularisation")
    measured = table[table["series"] == "measured"]
    closed = table[table["series"] == "closed form"]
    assert len(panels) == 3 and len(measured) == 3 * 4 and len(closed) == 4
    assert set(closed["where"]) == {"near collapse"}
    both = measured[measured["where"] == "near collapse"].merge(closed, on="arm")
    np.testing.assert_allclose(both["median_x"], both["median_y"], rtol=1e-9)
    for row in measured[measured["where"] == "far from it"].itertuples():
        weight, feature = (np.array(p) - 0.05 for p in arms(GIVEN["far_from_collapse"])[row.arm])
        share = 1.0 if row.beta < 1 else 0.01
        assert row.median == pytest.approx(math.exp(-(weight + share * feature) / row.beta))
    assert measured["seeds"].tolist() == [3] * 12
    heights = [line[0, 1] for line in panels[0] if len(line) == 2 and line[0, 0] != line[1, 0]]
    assert set(np.round(closed["median"], 12)) <= set(np.round(heights, 12))


def test_depths_are_drawn_of_both_trainings():
    table, panels = drawn("depthwise_mlp")
    for place, (metric, size) in enumerate((("NC1", 3.0), ("NC1_ratio", 4.0))):
        rows = table[table["metric"] == metric]
        assert len(rows) == 20
        np.testing.assert_allclose(rows["median"], size / rows["depth"])
        near_points(curves(panels[place]), rows[["depth", "median"]].to_numpy().tolist())
    errors = table[table["metric"] == "error"]
    ours = errors[errors["training"] == "layer by layer"]
    np.testing.assert_allclose(ours["median"], 0.3 / ours["depth"])
    (other,) = errors[errors["training"] == "end to end"].itertuples()
    assert (other.depth, other.median) == (10, 0.2)


def test_minimisers_are_drawn_beside_their_layers():
    table, panels = drawn("intermediate_features")
    experiment = GIVEN["intermediate_features"]
    for place, metric in enumerate(("NC1", "NC2_ETF", "CKA", "procrustes")):
        rows = table[table["metric"] == metric]
        line = rows[rows["series"] == "minimiser"]
        assert len(line) == 2 * len(RUNGS)
        start = rows[rows["series"] == "start"].set_index("from_layer")["median"]
        for first in (2, 9):
            own = line[line["from_layer"] == f"hidden{first}"].set_index("beta")["median"]
            layer = f"hidden{first + 1}" if metric in ("CKA", "procrustes") else "H1"
            expected = experiment.values(metric, layer)
            expected = expected[expected["from_layer"] == f"hidden{first}"]
            for beta in RUNGS:
                values = expected.loc[expected["beta"] == beta, "value"]
                assert own[beta] == pytest.approx(values.median())
            network = experiment.values(f"network_{metric}", f"hidden{first}")
            network = network[network["from_layer"] == f"hidden{first}"]
            assert start[f"hidden{first}"] == pytest.approx(network["value"].median())
        marks = rows[rows["series"] != "minimiser"]
        assert len(marks) == (2 if metric in ("CKA", "procrustes") else 4)
        heights = curves(panels[place])
        assert len(heights) == len(line) + len(marks)
        assert sorted(y for _, y in heights) == pytest.approx(sorted(rows["median"]))


@pytest.mark.parametrize("name", STUDY.figures)
def test_a_figure_is_drawn_of_the_runs_that_are_left(name):
    reads = STUDY.figures[name].reads
    table, _ = drawn(name, **{key: diverged(WHOLE[key], seed=0) for key in reads})
    assert len(table)
    assert re.fullmatch(r"[A-Z].*\.", found(name, table)) and "nan" not in found(name, table)
    if "seed" in table:
        assert 0 not in set(table["seed"])


@pytest.mark.parametrize("name", STUDY.figures)
def test_a_figure_is_drawn_where_every_run_diverged(name):
    reads = STUDY.figures[name].reads
    lost = {key: diverged(WHOLE[key]) for key in reads}
    gone = {key: replace(item, metrics=item.values("diverged")) for key, item in lost.items()}
    gone = {key: replace(item, samples=item.samples.iloc[:0]) for key, item in gone.items()}
    for changes in (lost, gone):
        table, _ = drawn(name, **changes)
        assert found(name, table) == "No run reached its end."


@pytest.mark.filterwarnings("ignore:Data has no positive values")
def test_a_minimiser_on_its_flow_is_drawn_too():
    """From a collapsed H_0 nothing moves: the distance is 0, of which there is no logarithm."""
    still = valued(GIVEN["beta_ladder"], "flow_gap", 0.0)
    still = valued(still, "flow_gap_order", 0.0)
    table, _ = drawn("beta_ladder", beta_ladder=still)
    assert table.loc[table["metric"] == "distance", "value"].isna().all()
    assert "distance" not in found("beta_ladder", table)


@pytest.mark.parametrize("name", STUDY.figures)
def test_a_figure_reads_what_the_study_says(name):
    figure = STUDY.figures[name]
    assert set(figure.reads) <= set(WHOLE) and figure.caption.endswith((".", "range."))
    with pytest.raises(KeyError):
        drawn_of = import_module(f"collapse.studies.perturbation.{name}").draw
        with paper_style():
            drawn_of({key: WHOLE[key] for key in figure.reads[1:]})


def test_of_several_shapes_the_first_is_judged_and_drawn():
    grid = {"problem.dim": [4, 7]}
    several = configured(GIVEN["response"], grid=grid, problem={**SHAPE, "dim": 7})
    assert not decided("response", several)
    assert len(drawn("response_spectrum", response=several)[0]) == len(
        drawn("response_spectrum")[0]
    )


def test_decays_outside_the_theory_are_one_line():
    """Spectra of c >= 1 have no closed form to be held against."""
    beyond = replace(
        GIVEN["response"],
        metrics=GIVEN["response"].metrics.assign(weight_decay=30.0),
    )
    with pytest.raises(InputError, match="sqrt of their product") as caught:
        rows_of(response=beyond)
    assert "\n" not in str(caught.value)


def test_a_flow_of_which_nothing_is_resolved_has_the_other_panels():
    """One sample a class: NC1_ratio is 0 from the start."""
    bare = scaled(scaled(GIVEN["flow"], "NC1_ratio", 0), "trace_within", 0)
    table, _ = drawn("flow", flow=bare)
    assert set(table["series"].dropna()) == {"trace_between", "NC1", "NC2_ETF"}
    assert found("flow", table) == (
        "Of 3 flows, the trace between classes falls in 0, NC1 rises in 0 and NC2 rises in 0 at "
        "some time."
    )


# Findings


@pytest.mark.parametrize("name", STUDY.figures)
def test_nothing_is_found_in_no_rows(name):
    assert found(name, drawn(name)[0].iloc[:0]) == "No run reached its end."


def by_series(**series):
    """Return values at the times 1, 2 and 3 of seed 0, by series."""
    parts = [
        pd.DataFrame({"seed": 0, "time": range(1, len(values) + 1), "value": values, "series": key})
        for key, values in series.items()
    ]
    return pd.concat(parts, ignore_index=True)


def test_a_flow_counts_the_steps_the_other_way():
    rows = by_series(
        log_nc1_ratio=[3.0, 2.0, 1.0],
        log_within=[3.0, 3.0 * (1 + 0.9e-9), 3.1],
        log_between=[2.0, 3.0, 1.0],
        trace_between=[1.0, 0.5, 0.4],
        NC1=[1.0, 0.5, 0.2],
        NC2_ETF=[0.5, 1.0, 0.9],
    )
    slopes = by_series(**{"slope between records": [2.0, 3.3], "exact rate": [1.0, 3.0]})
    slopes = slopes.assign(time=slopes["time"] + 0.5 * slopes["series"].str.startswith("slope"))
    assert found("flow", pd.concat([rows, slopes])) == (
        "Of 2 steps between records the NC1 ratio rises in 0, the freed trace within classes rises "
        "in 1 and the freed trace between classes falls in 1, by more than a billionth of itself; "
        "theory has no such step. Of 1 flow, the trace between classes falls in 1, NC1 rises in 0 "
        "and NC2 rises in 1 at some time. The slopes differ from the exact rate by 0 of it in the "
        "median, by 0 at most."
    )


def test_a_ladder_is_held_against_its_limit():
    rows = pd.DataFrame(
        [
            (0, 10.0, 0.1, "NC1_ratio", 2.0),
            (1, 10.0, 0.1, "NC1_ratio", 4.0),
            (0, 1.0, 1.0, "NC1_ratio", 1.0),
            (1, 1.0, 1.0, "NC1_ratio", 5.0),
            (0, 10.0, 0.1, "distance", 0.0101),
            (1, 10.0, 0.1, "distance", 0.0098),
            (0, 1.0, 1.0, "distance", 0.5),
            (1, 1.0, 1.0, "distance", 0.25),
            (None, 10.0, 0.1, "limit", 0.01),
            (None, 1.0, 1.0, "limit", 1.0),
            (0, None, 0.9, "flow NC1_ratio", 0.125),
        ],
        columns=["seed", "beta", "time", "metric", "value"],
    )
    assert found("beta_ladder", rows) == (
        "From beta = 10 to 1 the median NC1 ratio of the minimiser goes from 3 to 3, that of the "
        "flow to 0.125 at time 0.9; as beta falls it falls in 1 of 2 steps of all seeds. Over its "
        "limit the distance from the flow is 1 within 0.02 at the largest beta, where theory has "
        "1, and 0.25 to 0.5 at the smallest."
    )


def test_arms_are_what_they_change_beside_the_closed_form():
    rows = pd.DataFrame(
        [
            ("2 weight", 1.0, 1.25, "near collapse", "measured"),
            ("2 feature", 1.0, 0.75, "near collapse", "measured"),
            ("2 weight", 1.0, 1.5, "near collapse", "closed form"),
            ("2 weight", 100.0, 1 + 2e-5, "far from collapse", "measured"),
        ],
        columns=["arm", "beta", "median", "where", "series"],
    )
    assert found("regularisation", rows) == (
        "As a fraction the NC1 ratio out over in differs from the baseline's by 0.25 (twice "
        "lambda_W, closed form 0.5) and -0.25 (twice lambda_H) near collapse at beta = 1; by 2e-05 "
        "(twice lambda_W) far from collapse at beta = 100."
    )


def test_singular_values_are_told_as_such():
    keys = {"weight_decay": 0.1, "feature_decay": 0.2}
    rows = [
        keys | {"beta": 10.0, "index": index, "median": height + off, "series": series}
        for index, height in enumerate((0.0, 2.0))
        for series, off in (("measured", 0.5), ("closed form", 0.0))
    ]
    rows += [
        {"beta": 1.0, "size": size, "median": value, "series": "remainder"}
        for size, value in ((0.1, 5.0), (0.01, 4.0))
    ]
    assert found("response_spectrum", pd.DataFrame(rows)) == (
        "Over all decays the singular values are 0.75 to 0.95 at beta = 10 (closed form 0.8 to 1); "
        "none is further than 0.05 from its closed form. Where H_0 is not collapsed, the remainder "
        "over the squared size of the smallest change is 4 at beta = 1; over all sizes it varies "
        "by 0.25 of itself at most, where theory has a constant for small changes."
    )


def test_networks_are_told_arm_by_arm():
    rows = pd.DataFrame(
        [
            ("baseline", 1, 9.0, "NC1"),
            ("baseline", 20, 0.5, "NC1"),
            ("2x FC", 20, 0.25, "NC1"),
            ("baseline", 20, 0.01, "error"),
            ("2x FC", 20, 0.0, "error"),
        ],
        columns=["arm", "step", "median", "metric"],
    ).assign(loss="ce")
    assert found("resnet_weight_decay", rows) == (
        "With cross-entropy the median NC1 at epoch 20 is 0.5 (baseline) and 0.25 (2x FC), at a "
        "median training error of 0 to 0.01. The paper has the decay of the features move "
        "collapse more than that of the last layer does."
    )
    bare = rows[rows["metric"] == "error"]
    assert "NC1 at epoch 20 is not defined," in found("resnet_weight_decay", bare)


def test_depths_are_told_with_the_steps_that_fall():
    rows = pd.DataFrame(
        [(1, 2.0, "NC1"), (2, 3.0, "NC1"), (3, 1.0, "NC1"), (3, 0.5, "error")],
        columns=["depth", "median", "metric"],
    ).assign(training="end to end")
    assert found("depthwise_mlp", rows) == (
        "Trained end to end, from hidden layer 1 to 3, the median NC1 goes from 2 to 1 (down in 1 "
        "of 2 steps) and NC1 ratio is not defined; the training error at the last is 0.5. The "
        "paper's features come nearer to collapse with every layer."
    )


# Networks


def of_arm_of(loss, arm):
    """Return the experiment that runs an arm, and the keys of its runs."""
    factors = ARMS[arm]
    keys = {"weight_decay": factors[0] * 5e-4, "backbone_decay": factors[1] * 5e-4}
    return LOSSES[loss][arm.endswith("features")], keys


def with_nc1(loss, arm, value, **seed):
    """Return the networks with NC1 of an arm at the last epoch as if seed 0 had this value."""
    name, keys = of_arm_of(loss, arm)
    return {name: scaled(NETWORKS[name], "NC1", value / NC1[arm], step=200, **keys, **seed)}


def judged(**networks):
    """Return what was not replicated of the claims about networks."""
    return undecided(resnets(NETWORKS | networks))


def verdicts_of(networks):
    return {claim: verdict for claim, (verdict, _) in judged(**networks).items()}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("arm", "sign"), [("2x features", 1), ("zero features", -1)])
def test_the_direction_of_each_features_arm_counts(loss, arm, sign):
    def verdict(shift, **seed):
        moved = with_nc1(loss, arm, 0.1 * math.exp(sign * shift), **seed)
        return verdicts_of(moved).get(f"resnet_{loss}_direction", "replicated")

    assert verdict(-1e-9) == "replicated"
    assert verdict(1e-9) == "not replicated"
    assert verdict(1e-9, seed=1) == "inconclusive"


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("arm", "distance"), [("2x FC", math.log(2)), ("zero FC", math.log(4))], ids=["2x", "zero"]
)
def test_a_last_layer_that_moves_as_much_refutes_the_asymmetry(loss, sign, arm, distance):
    """Either way: the features' arms are at half and at four times the baseline's NC1."""

    def verdict(shift, **seed):
        moved = with_nc1(loss, arm, 0.1 * math.exp(sign * (distance + shift)), **seed)
        lost = verdicts_of(moved)
        assert set(lost) <= {f"resnet_{loss}_asymmetry", "resnet_ce_last_layer"}
        return lost.get(f"resnet_{loss}_asymmetry", "replicated")

    assert verdict(-1e-9) == "replicated"
    assert verdict(1e-9) == "not replicated"
    assert verdict(1e-9, seed=2) == "inconclusive"


def test_one_seed_whose_last_layer_brings_it_closer_is_sometimes():
    further = with_nc1("ce", "2x FC", 0.11)
    assert verdicts_of(further) == {"resnet_ce_last_layer": "not replicated"}
    for seeds, count in (([0], 2), ([0, 1], 1)):
        some = NETWORKS | with_nc1("ce", "2x FC", 0.11, seed=seeds)
        row = next(row for row in resnets(some) if row["claim"] == "resnet_ce_last_layer")
        assert row["verdict"] == "replicated" and f"closer in {count} of 3 seeds" in row["expected"]
    assert not judged(**with_nc1("ce", "2x FC", 0.1 * (1 - 1e-12)))


def test_of_mse_nothing_is_said_about_closer_by_the_last_layer():
    assert not judged(**with_nc1("mse", "2x FC", 0.11))


@pytest.mark.parametrize(
    ("arm", "claimed"),
    [
        ("baseline", ["direction", "asymmetry", "last_layer"]),
        ("2x FC", ["asymmetry", "last_layer"]),
        ("zero FC", ["asymmetry"]),
        ("2x features", ["direction", "asymmetry"]),
        ("zero features", ["direction", "asymmetry"]),
    ],
)
def test_an_arm_that_is_missing_or_lost_leaves_its_claims_undecided(arm, claimed):
    name, keys = of_arm_of("ce", arm)
    names = {f"resnet_ce_{each}" for each in claimed}
    for change, told in (
        (without(NETWORKS[name], **keys), f"no arm {arm} at this scale"),
        (diverged(NETWORKS[name], **keys, seed=1), "1 diverged"),
        (diverged(NETWORKS[name], **keys), "3 diverged"),
        (valued(NETWORKS[name], "error", 0.021, **keys, step=200, seed=1), "error above 2 %"),
    ):
        lost = judged(**{name: change})
        assert set(lost) == names
        for verdict, measured in lost.values():
            assert verdict == "inconclusive" and told in measured
    assert not judged(**{name: valued(NETWORKS[name], "error", 0.02, **keys, step=200)})


@pytest.mark.parametrize("name", NETWORKS)
def test_claims_about_networks_need_three_seeds(name):
    lost = judged(**{name: configured(NETWORKS[name], seeds=2)})
    loss = next(loss for loss, names in LOSSES.items() if name in names)
    assert set(lost) == {claim for claim in NETWORK_CLAIMS if f"_{loss}_" in claim}
    assert all("2 of 3 seeds" in measured for _, measured in lost.values())


def test_a_short_training_may_replicate_and_not_refute():
    short = {name: configured(each, training__epochs=199) for name, each in NETWORKS.items()}
    assert not judged(**short)
    wrong = scaled(short["resnet_mse_features"], "NC1", 4, backbone_decay=1e-3, step=200)
    (verdict, measured) = judged(**short | {"resnet_mse_features": wrong})["resnet_mse_direction"]
    assert verdict == "inconclusive" and "199 of 200 epochs" in measured


def test_a_metric_that_a_run_lacks_is_not_passed_over():
    name, keys = of_arm_of("mse", "2x features")
    lost = verdicts_of({name: valued(NETWORKS[name], "NC1", np.nan, **keys, seed=1)})
    assert lost == dict.fromkeys(NETWORK_CLAIMS[:2], "inconclusive")


def test_where_every_network_diverged_nothing_is_decided():
    late = {name: diverged(each) for name, each in NETWORKS.items()}
    at_once = {name: replace(each, metrics=each.values("diverged")) for name, each in late.items()}
    for gone in (late, at_once):
        assert verdicts_of(gone) == dict.fromkeys(NETWORK_CLAIMS, "inconclusive")


def test_two_experiments_are_five_arms_named_by_their_decays():
    found = of_loss(NETWORKS, "mse")
    assert set(found.keys) == {"arm", "seed"} and len(found.last("NC1", "H1")) == 5 * 3
    for row in found.last("NC1", "H1").itertuples():
        assert row.value == pytest.approx(NC1[row.arm] * (1 + row.seed))
    ratios = log_ratios(found)
    assert ratios.index.tolist() == [0, 1, 2] and list(ratios) == list(ARMS)
    np.testing.assert_allclose(ratios["2x features"], math.log(0.5), rtol=1e-12)
    assert (ratios["baseline"] == 0).all()


def test_the_baseline_counts_once_and_other_decays_not_at_all():
    twice = NETWORKS | {"resnet_mse_features": resnet("MSE", "backbone_decay", (1, 2, 0))}
    again = of_loss(twice, "mse").metrics
    assert len(again) == len(of_loss(NETWORKS, "mse").metrics)
    halved = NETWORKS["resnet_mse"].metrics.assign(weight_decay=2.5e-4)
    other = pd.concat([NETWORKS["resnet_mse"].metrics, halved], ignore_index=True)
    more = NETWORKS | {"resnet_mse": replace(NETWORKS["resnet_mse"], metrics=other)}
    assert of_loss(more, "mse").metrics.equals(of_loss(NETWORKS, "mse").metrics)


def circles(lines):
    """The points that stand alone in a panel."""
    return sorted(tuple(line[0]) for line in lines if len(line) == 1)


def test_each_arm_of_a_network_is_drawn_with_the_epoch_of_no_error():
    table, panels = drawn("resnet_weight_decay")
    assert len(panels) == 6 and len(table) == 2 * 3 * 5 * len(EPOCHS)
    assert set(table["loss"]) == set(LOSSES) and set(table["seeds"]) == {3}
    metrics = ["NC1", "NC2_ETF", "error"]
    for place, (loss, metric) in enumerate(product(LOSSES, metrics)):
        rows = table[(table["loss"] == loss) & (table["metric"] == metric)]
        whole = [line for line in panels[place] if len(line) > 1]
        near_points(curves(whole), rows[["step", "median"]].to_numpy().tolist())
        # The error's own panel shows it without a mark.
        first = rows[(rows["step"] == 10) & (metric != "error")]
        assert circles(panels[place]) == sorted(zip(first["step"], first["median"], strict=True))
    nc1 = table[(table["metric"] == "NC1") & (table["step"] == 200)]
    for row in nc1.itertuples():
        expected = [NC1[row.arm] * factor for factor in (1, 2, 3)]
        assert [row.low, row.median, row.high] == pytest.approx(expected)


def test_a_loss_of_one_arm_is_not_drawn_unless_nothing_else_is():
    alone = {name: without(NETWORKS[name], weight_decay=[0.0, 1e-3]) for name in ("resnet_ce",)}
    alone["resnet_ce_features"] = resnet("CE", "backbone_decay", (1,))
    table, panels = drawn("resnet_weight_decay", **alone)
    assert len(panels) == 3 and set(table["loss"]) == {"mse"}
    bare = {f"resnet_mse{part}": alone[f"resnet_ce{part}"] for part in ("", "_features")}
    table, panels = drawn("resnet_weight_decay", **alone, **bare)
    assert len(panels) == 6 and set(table["arm"]) == {"baseline"}


def test_an_error_that_stays_is_not_marked():
    left = {name: valued(each, "error", 1e-4, step=[10, 200]) for name, each in NETWORKS.items()}
    _, panels = drawn("resnet_weight_decay", **left)
    assert not any(circles(lines) for lines in panels)
