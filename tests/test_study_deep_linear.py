"""The deep-linear study: what its claims decide of made-up tables, on both sides of each bound."""

from dataclasses import replace
from importlib import import_module
from itertools import product

import numpy as np
import pandas as pd
import pytest

from collapse.plotting import head_colours
from collapse.studies.analysis import loss_gap
from collapse.studies.deep_linear import STUDY, claims
from collapse.studies.deep_linear.analysis import excess_losses, fractions
from collapse.studies.deep_linear.geometry import class_gram
from collapse.studies.geometry import vectors
from tables import changed, configured, diverged, results, scaled, undecided, valued, without

DEPTHS = (1, 3, 6, 9)
HEADS = (False, True)
FRAME = {False: "NC2_OF", True: "NC2_ETF"}
THRESHOLDS = {1: 1.0, 2: 0.5, 3: 2 ** (2 / 3) / 3, 6: 5 ** (5 / 6) / 6}
NETWORKS = {
    "network_mlp_of": ("mlp", False),
    "network_mlp_etf": ("mlp", True),
    "network_width_of": ("width", False),
    "network_width_etf": ("width", True),
    "network_conv_etf": ("conv", True),
    "network_vgg_etf": ("vgg", True),
}
FALLS = {"NC1": 0.1, "NC2": 0.5, "NC3": 0.5}
"""What is left at most of NC1 to NC3 of a network."""


def direct():
    """Return runs that reach the frame of their head (not the other's) at the last step."""
    config = {"seeds": 5, "optimiser": {"steps": 30_000}}
    runs = []
    for depth, bias, seed in product(DEPTHS, HEADS, range(5)):
        last = dict.fromkeys(("NC1", FRAME[bias], "NC2_W", "NC3_product"), 1e-13)
        last = {("H1", metric): value for metric, value in last.items()}
        loss = 2.0 + depth
        last |= {("H1", FRAME[not bias]): 1, ("H2", "NC1"): 1, ("all", "loss"): loss}
        first = {(0, *place): value + 1 for place, value in last.items()}
        measured = first | {(30_000, *place): value for place, value in last.items()}
        runs.append(({"depth": depth, "bias": bias, "seed": seed}, measured, {"loss": loss}))
    return results(config, runs)


def direct_width():
    """Return wide runs from two initial scales, of which the first is the released code's."""
    runs = []
    for scale, depth, seed in product((0.1, 0.0177), DEPTHS, range(3)):
        metrics = ("NC1", "NC2_OF", "NC2_W", "NC3_product")
        measured = {(30_000, "H1", metric): 1e-13 for metric in metrics}
        runs.append(({"init_scale": scale, "depth": depth, "seed": seed}, measured, {}))
    config = {"seeds": 3, "optimiser": {"steps": 30_000}, "problem": {"widths": 2048}}
    return results(config, runs)


def second_solver():
    """Return starts of which one of eight reaches the optimum, and the others do not."""
    runs = []
    for depth, bias, seed in product((1, 2, 3), HEADS, range(8)):
        loss = 0.2 * depth
        measured = {(7, "all", "loss"): loss if seed == 5 else 1.01 * loss}
        runs.append(({"depth": depth, "bias": bias, "seed": seed}, measured, {"loss": loss}))
    return results({"seeds": 8}, runs)


def sweeps():
    """Return sweeps over ten decays on either side of the threshold, and what they measure.

    A fraction f of the label is stationary at the scaled decay M x^(M-1) (1-f)^2 with
    x^M = f/(1-f). Up to the threshold the upward sweep follows it; beyond, it stays on the
    metastable branch, which costs more than zero. The downward sweep stays at zero.
    """
    runs = []
    for depth, tau in THRESHOLDS.items():
        left = (depth - 1) / depth
        fraction = left + (1 - left) * np.linspace(0.95, 0.05, 10)
        root = (fraction / (1 - fraction)) ** (1 / depth)
        below = depth * root ** (depth - 1) * (1 - fraction) ** 2
        assert (np.diff(below) > 0).all() and below[-1] < tau
        decays = [*below, *(tau * np.linspace(1.01, 1.5, 10))]
        for direction, seed in product(("up", "down"), range(5)):
            up = direction == "up"
            sizes = [*fraction, *[0.6] * 10] if up else [0.0] * 20
            losses = [*[0.3] * 10, *[0.51] * 10] if up else [0.5] * 20
            measured = {}
            for stage, (decay, size, loss) in enumerate(zip(decays, sizes, losses, strict=True)):
                measured[stage, "all", "scaled_decay"] = decay
                measured[stage, "Z", "logit_singular_values[0]"] = 5 * size
                measured[stage, "W1", "layer_singular_values[0]"] = 99
                measured[stage, "all", "loss"] = loss
            runs.append(({"depth": depth, "direction": direction, "seed": seed}, measured, {}))
    return results({"seeds": 5, "problem": {"class_sizes": [25] * 4}}, runs)


def network(heads):
    """Return networks whose NC1 to NC3 fall to a hundredth of what they were."""
    runs = []
    for depth, bias, seed in product(DEPTHS, heads, range(2)):
        measured = {(200, "all", "error"): 0.02}
        for metric in ("NC1", FRAME[bias], "NC3_product"):
            # The last step comes first: its place in the table does not matter.
            falls = {(200, "H1", metric): 0.04, (0, "H1", metric): 4.0, (10, "H1", metric): 50.0}
            measured |= falls | {(200, "H2", metric): 4.0}
        measured |= {(step, "H1", FRAME[not bias]): 1.0 for step in (0, 200)}
        runs.append(({"depth": depth, "bias": bias, "seed": seed}, measured, {}))
    return results({"seeds": 2, "training": {"epochs": 200}}, runs)


def wide():
    """Return the same of two widths, the column before the seed."""
    given = network(HEADS)
    tables = [
        pd.concat([table.assign(hidden=f"{d}-{d}") for d in (64, 128)], ignore_index=True)
        for table in (given.metrics, given.predictions)
    ]
    first = ["depth", "bias", "hidden"]
    tables = [table[[*first, *table.columns.drop(first)]] for table in tables]
    return replace(given, metrics=tables[0], predictions=tables[1])


def cross_entropy():
    """Return runs that end at the best ETF or above; for M = 1 it is the optimum."""
    runs = []
    for depth, count, seed in product((1, 2, 3), (4, 6, 10), range(10)):
        etf = depth + 0.1 * count
        keys = {"class_sizes": "-".join(["4"] * count), "depth": depth, "seed": seed}
        measured = {(0, "all", "loss"): 0.1, (9, "all", "loss"): etf * (1 + 0.1 * seed)}
        predicted = {"loss_etf": etf, "loss_cross_polytope": 0.9 * etf}
        runs.append((keys, measured, {"loss": etf} if depth == 1 else predicted))
    return results({"seeds": 10}, runs)


GIVEN = {
    "direct": direct(),
    "second_solver": second_solver(),
    "sweeps": sweeps(),
    "mlp": network(HEADS),
    "width": wide(),
    "conv": network([True]),
    "vgg": network([True]),
    "cross_entropy": cross_entropy(),
}


def decided(name, experiment):
    """Return what was not replicated of the claims that one experiment decides."""
    rows = {
        "direct": lambda: [*claims._direct(experiment), claims._reached_loss(experiment)],
        "second_solver": lambda: [claims._second_solver(experiment)],
        "sweeps": lambda: claims._transitions(experiment),
        "mlp": lambda: [
            row for bias in HEADS for row in claims._networks("network_mlp", experiment, bias)
        ],
        "width": lambda: [
            row for bias in HEADS for row in claims._networks("network_width", experiment, bias)
        ],
        "conv": lambda: claims._networks("network_conv", experiment, True),
        "vgg": lambda: claims._networks("network_vgg", experiment, True),
        "cross_entropy": lambda: claims._cross_entropy(experiment),
    }
    return undecided(rows[name]())


def verdicts(name, experiment):
    return {claim: verdict for claim, (verdict, _) in decided(name, experiment).items()}


NAMES = {
    "direct": [f"direct_{head}_M{m}" for head in ("of", "etf") for m in DEPTHS] + ["direct_loss"],
    "direct_width": [*(f"direct_width_M{m}" for m in DEPTHS), "direct_width_start"],
    "second_solver": ["global_optimum"],
    "sweeps": [f"{name}_M{m}" for m in (1, 2, 3, 6) for name in ("threshold", "transition")],
    "mlp": [f"network_mlp_{head}_{label}" for head in ("of", "etf") for label in FALLS],
    "width": [f"network_width_{head}_{label}" for head in ("of", "etf") for label in FALLS],
    "conv": [f"network_conv_etf_{label}" for label in FALLS],
    "vgg": [f"network_vgg_etf_{label}" for label in FALLS],
    "cross_entropy": [f"ce_etf_M{m}" for m in (1, 2, 3)],
}


WHOLE = {
    "direct_optimisation": GIVEN["direct"],
    "direct_width": direct_width(),
    "global_optimum": GIVEN["second_solver"],
    "collapse_threshold": GIVEN["sweeps"],
    "network_mlp": GIVEN["mlp"],
    "network_width": GIVEN["width"],
    "network_conv": GIVEN["conv"],
    "network_vgg": GIVEN["vgg"],
    "cross_entropy_depth": GIVEN["cross_entropy"],
}


def test_what_agrees_with_theory_replicates():
    rows = list(claims.decide(WHOLE))
    assert [row["claim"] for row in rows] == [claim for names in NAMES.values() for claim in names]
    assert not undecided(rows)
    assert {row["claim"] for row in rows if row["bound"] == "theory"} == {
        "direct_width_start",
        *(f"threshold_M{m}" for m in (1, 2, 3, 6)),
    }
    texts = {row["claim"]: row["statement"] for row in rows}
    assert texts["direct_of_M3"].endswith("converge to the orthogonal frame.")
    assert texts["direct_etf_M3"].endswith("converge to the simplex ETF.")
    assert "continuous" in texts["transition_M1"]
    assert "from 0.6667 to 0" in texts["transition_M3"]
    assert "MLP" in texts["network_mlp_of_NC1"] and "convol" in texts["network_conv_etf_NC1"]
    assert "two further widths" in texts["network_width_of_NC1"]
    assert "VGG16" in texts["network_vgg_etf_NC1"]


def test_a_table_without_some_runs_of_its_grid_decides_nothing():
    lacking = without(GIVEN["width"], depth=9, bias=True, hidden="64-64")
    few = decided("width", lacking)
    assert set(few) == {f"network_width_etf_{label}" for label in FALLS}
    assert all(v == "inconclusive" and "2 runs missing" in m for v, m in few.values())


def test_a_network_that_a_config_leaves_out_has_no_claims():
    left = {name: given for name, given in WHOLE.items() if name != "network_vgg"}
    names = {row["claim"] for row in claims.decide(left)}
    assert names == {claim for claims in NAMES.values() for claim in claims} - {*NAMES["vgg"]}


@pytest.mark.parametrize("name", GIVEN)
def test_nothing_is_decided_with_a_seed_too_few(name):
    needed = GIVEN[name].config["seeds"]
    few = decided(name, configured(GIVEN[name], seeds=needed - 1))
    assert set(few) == set(NAMES[name])
    for verdict, measured in few.values():
        assert verdict == "inconclusive"
        assert f"({needed - 1} of {needed} seeds)" in measured


@pytest.mark.parametrize("name", GIVEN)
def test_a_lost_run_leaves_the_claims_that_need_it_undecided(name):
    lost = decided(name, diverged(GIVEN[name], seed=0, depth=1))
    count = len(
        GIVEN[name].metrics.query("seed == 0 and depth == 1")[GIVEN[name].keys].drop_duplicates()
    )
    for claim, (verdict, measured) in lost.items():
        runs = 1 if claim in ("direct_of_M1", "direct_etf_M1") else count
        assert verdict == "inconclusive" and f"({runs} diverged)" in measured, claim
    unaffected = {f"direct_{head}_M{m}" for head in ("of", "etf") for m in (3, 6, 9)}
    assert set(lost) == set(NAMES[name]) - unaffected


@pytest.mark.parametrize("name", GIVEN)
def test_nothing_is_decided_where_every_run_diverged(name):
    late = diverged(GIVEN[name])
    at_once = replace(late, metrics=late.values("diverged"))  # nothing else was measured
    for gone in (late, at_once):
        assert verdicts(name, gone) == dict.fromkeys(NAMES[name], "inconclusive")


@pytest.mark.parametrize(
    ("name", "depth", "claims_of_it"),
    [
        (
            "direct",
            9,
            {"direct_of_M9": "no M 9", "direct_etf_M9": "no M 9", "direct_loss": "6 of 8"},
        ),
        ("second_solver", 1, {"global_optimum": "no M 1"}),
        ("second_solver", 3, {"global_optimum": "no M 3"}),
        ("second_solver", 2, {}),
        ("sweeps", 6, {"threshold_M6": "no M 6", "transition_M6": "no M 6"}),
        *[("mlp", m, dict.fromkeys(NAMES["mlp"], f"no M {m}")) for m in DEPTHS],
        ("conv", 6, dict.fromkeys(NAMES["conv"], "no M 6")),
        ("cross_entropy", 2, {"ce_etf_M2": "no run; no K 4, 6, 10"}),
    ],
)
def test_a_depth_that_was_not_run_leaves_its_claims_undecided(name, depth, claims_of_it):
    lacking = decided(name, without(GIVEN[name], depth=depth))
    assert set(lacking) == set(claims_of_it)
    for claim, (verdict, measured) in lacking.items():
        assert verdict == "inconclusive" and claims_of_it[claim] in measured


# Direct optimisation


ARMS = list(product(DEPTHS, HEADS))


def of_frame(value, metrics, arms=ARMS, **keys):
    """Return the verdicts where these metrics of these arms end at a value."""
    given = GIVEN["direct"]
    for metric, (depth, bias) in product(metrics, arms):
        name = FRAME[bias] if metric == "NC2" else metric
        place = {"step": 30_000, "layer": "H1", "depth": depth, "bias": bias}
        given = valued(given, name, value, **place, **keys)
    return verdicts("direct", given)


METRICS = ("NC1", "NC2", "NC2_W", "NC3_product")


def arms_named(arms, verdict):
    return {f"direct_{'etf' if bias else 'of'}_M{depth}": verdict for depth, bias in arms}


@pytest.mark.parametrize("arms", [ARMS[:5], ARMS[5:]])
@pytest.mark.parametrize("metric", METRICS)
def test_one_metric_off_the_frame_refutes_it(metric, arms):
    assert of_frame(1.01e-10, [metric], arms) == arms_named(arms, "not replicated")


def test_the_frame_is_reached_up_to_1e_10_in_every_run():
    assert not of_frame(0.99e-10, METRICS)
    assert of_frame(1.0, ["NC3_product"], seed=3) == arms_named(ARMS, "inconclusive")


def test_a_run_without_one_of_the_metrics_is_not_judged_by_the_others():
    given = without(GIVEN["direct"], metric="NC2_W", seed=4, depth=3, bias=True)
    assert verdicts("direct", given) == {"direct_etf_M3": "inconclusive"}


@pytest.mark.parametrize("sign", [1, -1])
def test_the_loss_counts_up_to_1e_10_of_the_optimum_on_both_sides(sign):
    inside = scaled(GIVEN["direct"], "loss", 1 + sign * 0.99e-10, step=30_000)
    outside = scaled(GIVEN["direct"], "loss", 1 + sign * 1.01e-10, step=30_000)
    assert not verdicts("direct", inside)
    assert verdicts("direct", outside) == {"direct_loss": "not replicated"}
    one = scaled(GIVEN["direct"], "loss", 1 + sign, step=30_000, depth=6, bias=True, seed=0)
    assert verdicts("direct", one) == {"direct_loss": "inconclusive"}


def test_direct_optimisation_of_fewer_steps_than_the_paper_decides_nothing():
    short = decided("direct", configured(GIVEN["direct"], optimiser__steps=29_999))
    assert set(short) == set(NAMES["direct"])
    for verdict, measured in short.values():
        assert verdict == "inconclusive" and "(29999 of 30000 steps)" in measured


def test_the_gap_of_the_loss_is_relative_to_the_optimum_of_its_run():
    gaps = loss_gap(scaled(diverged(GIVEN["direct"], seed=1), "loss", 0.5, step=30_000, seed=0))
    assert list(gaps) == ["depth", "bias", "seed", "step", "value"]
    assert set(gaps["seed"]) == {0, 2, 3, 4} and len(gaps) == 4 * 8 * 2
    last = gaps[gaps["step"] == 30_000]
    np.testing.assert_array_equal(last["value"], np.where(last["seed"] == 0, 0.5, 0.0))
    first = gaps[gaps["step"] == 0]
    np.testing.assert_allclose(first["value"], 1 / (2 + first["depth"]))


# Direct optimisation at the released width


def of_width(experiment):
    return undecided(claims._width(experiment))


@pytest.mark.parametrize("metric", ["NC1", "NC2_OF", "NC2_W", "NC3_product"])
def test_the_width_is_judged_by_the_runs_from_the_narrower_start(metric):
    given = WHOLE["direct_width"]
    released = valued(given, metric, 1.0, init_scale=0.1)
    assert not of_width(released)
    assert not of_width(valued(given, metric, 0.99e-10, init_scale=0.0177))
    off = valued(given, metric, 1.01e-10, init_scale=0.0177, depth=6)
    assert {claim: verdict for claim, (verdict, _) in of_width(off).items()} == {
        "direct_width_M6": "not replicated"
    }


def test_the_released_start_is_refuted_by_a_run_that_diverges():
    lost = diverged(WHOLE["direct_width"], init_scale=0.1, depth=[3, 9], seed=[0, 2])
    assert of_width(lost) == {
        "direct_width_start": (
            "not replicated",
            "diverged: 0 of 3 at M=1, 2 of 3 at M=3, 0 of 3 at M=6, 2 of 3 at M=9",
        )
    }


def test_a_lost_run_from_the_narrower_start_leaves_its_depth_undecided():
    lost = diverged(WHOLE["direct_width"], init_scale=0.0177, depth=3, seed=1)
    assert of_width(lost)["direct_width_M3"][0] == "inconclusive"
    assert len(of_width(lost)) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"seeds": 2}, "2 of 3 seeds"),
        ({"optimiser__steps": 29_999}, "29999 of 30000 steps"),
        ({"problem__widths": 256}, "256 of 2048 columns of each layer"),
    ],
)
def test_nothing_is_decided_about_the_width_by_less(change, reason):
    given = diverged(WHOLE["direct_width"], init_scale=0.1, depth=9)
    few = of_width(configured(given, **change))
    assert set(few) == set(NAMES["direct_width"])
    for verdict, measured in few.values():
        assert verdict == "inconclusive" and reason in measured


def test_a_depth_that_was_not_run_leaves_its_width_and_the_start_undecided():
    lacking = of_width(without(WHOLE["direct_width"], depth=9))
    assert set(lacking) == {"direct_width_M9", "direct_width_start"}
    assert all("no M 9 at this scale" in measured for _, measured in lacking.values())


# Second solver


@pytest.mark.parametrize("sign", [1, -1])
def test_the_best_start_counts_up_to_1e_10_of_the_optimum_on_both_sides(sign):
    given = GIVEN["second_solver"]
    inside = scaled(given, "loss", 1 + sign * 0.99e-10, seed=5)
    outside = scaled(given, "loss", 1 + sign * 1.01e-10, seed=5)
    assert not verdicts("second_solver", inside)
    assert verdicts("second_solver", outside) == {"global_optimum": "not replicated"}
    one = scaled(given, "loss", 1 + sign * 1e-3, seed=5, depth=2, bias=True)
    assert verdicts("second_solver", one) == {"global_optimum": "inconclusive"}


def test_a_start_below_the_optimum_counts_whatever_the_others_reach():
    below = scaled(GIVEN["second_solver"], "loss", 0.9, seed=2)
    assert verdicts("second_solver", below) == {"global_optimum": "not replicated"}


# Thresholds


def stage(experiment, metric, number, value, **keys):
    """Return the sweeps with another value at a stage of the upward ones."""
    return valued(experiment, metric, value, direction="up", step=number, **keys)


@pytest.mark.parametrize(("number", "sign"), [(9, 1), (10, -1)])
def test_the_threshold_lies_where_zero_becomes_the_better(number, sign):
    """The last decay at which zero is worse, or the first at which it is not, lies beyond tau."""

    def off(by, **keys):
        given = GIVEN["sweeps"]
        for depth, tau in THRESHOLDS.items():
            value = tau + sign * by
            given = stage(given, "scaled_decay", number, value, depth=depth, **keys)
        outcome = verdicts("sweeps", given)
        # The closed form of the fraction at this decay is another one.
        return {claim: v for claim, v in outcome.items() if claim.startswith("threshold")}

    assert not off(0.9e-12)
    assert off(1.1e-12) == {f"threshold_M{m}": "not replicated" for m in THRESHOLDS}
    assert off(1e-3, seed=2) == {f"threshold_M{m}": "inconclusive" for m in THRESHOLDS}


@pytest.mark.parametrize(
    ("number", "loss", "refuted"),
    [
        (9, 0.5 * (1 - 1.1e-9), False),
        (9, 0.5 * (1 - 0.9e-9), True),
        (10, 0.5 * (1 - 0.9e-9), False),
        (10, 0.5 * (1 - 1.1e-9), True),
        (0, 0.5, True),
        (19, 0.3, True),
    ],
)
def test_a_loss_below_that_of_zero_is_told_from_rounding(number, loss, refuted):
    outcome = verdicts("sweeps", stage(GIVEN["sweeps"], "loss", number, loss))
    assert outcome == ({f"threshold_M{m}": "not replicated" for m in THRESHOLDS} if refuted else {})


@pytest.mark.parametrize("loss", [0.3, 0.5])
def test_a_sweep_in_which_zero_is_never_or_always_the_better_has_no_threshold_at_tau(loss):
    never = valued(GIVEN["sweeps"], "loss", loss, depth=3, direction="up")
    assert verdicts("sweeps", never) == {"threshold_M3": "not replicated"}


@pytest.mark.parametrize("sign", [1, -1])
def test_singular_values_count_up_to_1e_3_below_the_threshold(sign):
    def off(by, **keys):
        step = sign * 5 * by  # 5 is the root of the class size
        place = {"layer": "Z", "direction": "up", **keys}
        return verdicts(
            "sweeps", changed(GIVEN["sweeps"], "logit_singular_values", lambda v: v + step, **place)
        )

    assert not off(0.99e-3)
    for number in (0, 9):  # the first and the last decay below the threshold
        refuted = {f"transition_M{m}": "not replicated" for m in THRESHOLDS}
        assert off(1.01e-3, step=number) == refuted
    assert off(1.0, step=4, seed=1, depth=3) == {"transition_M3": "inconclusive"}
    assert not off(0.5, step=10)  # beyond it a metastable branch may go on


def test_sweeps_over_fewer_than_twenty_decays_decide_nothing():
    few = decided("sweeps", without(GIVEN["sweeps"], step=19))
    assert set(few) == set(NAMES["sweeps"])
    for verdict, measured in few.values():
        assert verdict == "inconclusive" and "(too few decays)" in measured


def test_fractions_are_of_the_square_root_of_the_class_size():
    outcome = fractions(diverged(GIVEN["sweeps"], seed=4))
    assert list(outcome) == ["depth", "direction", "seed", "step", "scaled_decay", "value"]
    assert set(outcome["seed"]) == {0, 1, 2, 3}
    rows = outcome[
        (outcome["depth"] == 1) & (outcome["direction"] == "up") & (outcome["step"] < 10)
    ]
    # Of one layer the fraction is 1 - sqrt(b/n).
    np.testing.assert_allclose(rows["value"], 1 - np.sqrt(rows["scaled_decay"]), rtol=1e-12)


# Networks


@pytest.mark.parametrize("claim", NETWORKS)
def test_what_is_left_of_a_networks_metrics_counts_up_to_its_bound(claim):
    name, bias = NETWORKS[claim]
    metrics = {"NC1": "NC1", "NC2": FRAME[bias], "NC3": "NC3_product"}
    place = {"bias": bias, "layer": "H1", "step": 200}

    def left(share, labels, **keys):
        given = GIVEN[name]
        for label in labels:
            value = share * FALLS[label] * 4.0
            given = valued(given, metrics[label], value, **place, **keys)
        return given

    assert not verdicts(name, left(0.99, FALLS))
    for label in FALLS:
        assert verdicts(name, left(1.01, [label])) == {f"{claim}_{label}": "not replicated"}
    some = {f"{claim}_{label}": "inconclusive" for label in FALLS}
    assert verdicts(name, left(1e3, FALLS, depth=[1, 3, 6], seed=0)) == some
    shorter = decided(name, configured(left(1.01, FALLS), training__epochs=199))
    assert {label: verdict for label, (verdict, _) in shorter.items()} == some
    assert all("(199 of 200 epochs)" in measured for _, measured in shorter.values())


def test_the_values_of_a_diverged_network_are_not_among_those_measured():
    wild = valued(GIVEN["conv"], "NC1", 1e9, depth=6, seed=1, step=200)
    _, measured = decided("conv", diverged(wild, depth=6, seed=1))["network_conv_etf_NC1"]
    assert measured == "median 0.01, worst 0.01 (1 diverged)"


@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_one_network_that_did_not_learn_its_samples_leaves_all_undecided(name):
    given = valued(GIVEN[name], "error", 0.021, depth=3, bias=True, seed=0)
    outcome = decided(name, given)
    assert set(outcome) == set(NAMES[name])
    for verdict, measured in outcome.values():
        assert verdict == "inconclusive" and "(training error above 2 %)" in measured


@pytest.mark.parametrize(
    ("bias", "head", "text"), [(False, "of", "no bias-free head"), (True, "etf", "no head with a")]
)
def test_a_head_that_was_not_run_leaves_its_claims_undecided(bias, head, text):
    outcome = decided("mlp", without(GIVEN["mlp"], bias=bias))
    assert set(outcome) == {f"network_mlp_{head}_{label}" for label in FALLS}
    for verdict, measured in outcome.values():
        assert verdict == "inconclusive" and measured.startswith("no run") and text in measured


# Cross-entropy


@pytest.mark.parametrize(("depth", "count"), [(1, 4), (2, 10), (3, 6)])
def test_one_point_more_than_1e_6_below_the_etf_refutes_it_at_any_scale(depth, count):
    place = {"depth": depth, "class_sizes": "-".join(["4"] * count), "step": 9, "seed": 0}
    claim = f"ce_etf_M{depth}"
    inside = scaled(GIVEN["cross_entropy"], "loss", 1 - 0.99e-6, **place)
    assert not verdicts("cross_entropy", inside)
    outside = scaled(GIVEN["cross_entropy"], "loss", 1 - 1.01e-6, **place)
    assert verdicts("cross_entropy", outside) == {claim: "not replicated"}
    few = decided("cross_entropy", configured(diverged(outside, seed=1), seeds=1))
    verdict, measured = few[claim]
    assert verdict == "not replicated" and f"0.000101 % at K={count}" in measured
    assert sorted(v for v, _ in few.values()) == ["inconclusive", "inconclusive", "not replicated"]


def test_a_loss_above_the_etf_is_no_drop():
    (row, *_) = claims._cross_entropy(scaled(GIVEN["cross_entropy"], "loss", 2.0))
    assert row["verdict"] == "replicated"
    assert row["measured"] == "largest drop 0 % at K=4, 0 % at K=6, 0 % at K=10"


@pytest.mark.parametrize("count", [4, 6, 10])
def test_a_number_of_classes_that_was_not_run_leaves_the_etf_undecided(count):
    given = without(GIVEN["cross_entropy"], class_sizes="-".join(["4"] * count))
    outcome = decided("cross_entropy", given)
    assert set(outcome) == set(NAMES["cross_entropy"])
    for verdict, measured in outcome.values():
        assert verdict == "inconclusive" and f"(no K {count} at this scale)" in measured


def test_excess_losses_are_relative_to_the_best_etf():
    outcome = excess_losses(GIVEN["cross_entropy"]).sort_values(["depth", "classes", "seed"])
    assert list(outcome) == ["class_sizes", "depth", "seed", "classes", "reached", "cross_polytope"]
    assert outcome["classes"].tolist() == [k for k in (4, 6, 10) for _ in range(10)] * 3
    np.testing.assert_allclose(outcome["reached"], 0.1 * outcome["seed"], atol=1e-14)
    single = outcome["depth"] == 1
    assert outcome.loc[single, "cross_polytope"].isna().all()
    pd.testing.assert_series_equal(
        outcome.loc[~single, "cross_polytope"],
        pd.Series(-0.1, outcome.index[~single], name="cross_polytope"),
    )


# Geometry


@pytest.mark.parametrize("bias", HEADS)
def test_the_gram_matrix_that_is_drawn_is_the_first_seeds(bias):
    runs = [
        (
            {"depth": depth, "bias": bias, "seed": seed},
            {
                (9, "all", f"class_gram[{i},{j}]"): float(i == j) * (1 + i * (seed - 10) + depth)
                for i in range(3)
                for j in range(i, 3)
            },
            {},
        )
        for depth in (1, 3)
        for seed in (11, 10)
    ]
    found = class_gram(results({}, runs), bias)
    expected = np.eye(3) - (1 / 3 if bias else 0)
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-12)
    assert class_gram(results({}, runs), not bias) is None


# Sentences of captions


def drawn(columns, *rows):
    """Return what a figure drew as a table; `columns` are names in one text."""
    return pd.DataFrame(rows, columns=columns.split())


def sentences(name, rows):
    return import_module(f"collapse.studies.deep_linear.{name}").findings(rows)


@pytest.mark.parametrize("name", STUDY.figures)
def test_a_figure_without_a_run_says_so(name):
    columns = (
        "depth step metric median low high head series panel row column value bias width "
        "init_scale direction scaled_decay optimum classes reached cross_polytope"
    )
    assert sentences(name, drawn(columns)) == "No run reached its end."


def test_what_direct_optimisation_ends_at_is_the_worst_run_of_the_last_step():
    rows = drawn(
        "depth step high head metric",
        (1, 10, 5.0, "bias-free", "NC1"),
        (1, 20, 1e-30, "bias-free", "NC1"),
        (3, 20, 2e-30, "last-layer bias", "NC1"),
        (3, 20, 3e-15, "last-layer bias", "NC2_ETF"),
        (1, 20, 4e-13, "bias-free", "loss_gap"),
    )
    assert sentences("direct_optimisation", rows) == (
        "At step 20 the largest values over depths, heads and seeds are NC1 2e-30, NC2 to the "
        "simplex ETF 3e-15 and relative loss gap 4e-13, where theory has 0 for all."
    )


def test_runs_that_diverged_are_counted_by_their_initial_scale():
    rows = drawn(
        "depth step high seeds init_scale metric",
        (1, 20, 1e-30, 3, 0.1, "NC1"),
        (1, 20, 1e-13, 3, 0.1, "loss_gap"),
        (3, None, None, 2, 0.1, "diverged runs"),
        (3, 20, 2e-30, 1, 0.1, "NC1"),
        (3, None, None, 3, 0.02, "diverged runs"),
    )
    assert sentences("direct_width", rows) == (
        "From initial scale 0.1, 2 of 6 runs diverged (at M = 3); of those that did not the "
        "largest values at step 20 are NC1 2e-30 and relative loss gap 1e-13, where theory has "
        "0 for all. From initial scale 0.02, 3 of 3 runs diverged (at M = 3)."
    )


def test_sweeps_are_held_against_the_optimum_and_the_end_of_the_local_minimum():
    rows = drawn(
        "depth direction scaled_decay low high optimum series",
        (1, "up", 0.5, 0.3, 0.31, 0.3, "measured"),
        (1, "up", 1.5, 0.0, 1e-4, 0.0, "measured"),
        (2, "up", 0.4, 0.5, 0.5, 0.52, "measured"),
        (2, "up", 0.6, 0.3, 0.3, 0.0, "measured"),
        (2, "down", 0.4, 0.0, 1e-9, 0.52, "measured"),
        (1, "down", 0.4, 0.0, 0.3, 0.3, "measured"),
        (1, None, 1.0, None, None, None, "tau"),
        (2, None, 0.5, None, None, None, "tau"),
        (2, None, 0.65, None, None, None, "tau_loc"),
    )
    assert sentences("collapse_threshold", rows) == (
        "Below tau the upward sweeps are at most 0.01 (M = 1) and 0.02 (M = 2) from the global "
        "optimum. The last scaled decay at which they are above 0.001 is 0.5 (M = 1; theory: 1) "
        "and 0.6 (M = 2; theory: 0.65). From M = 2 on, where zero is a local minimum at every "
        "decay, downward sweeps reach 1e-09 at most."
    )


def trained(*errors):
    """Return an MLP's figure, whose training error takes these values."""
    rows = []
    for (epoch, value), error in zip([(1, 2.0), (5, 0.5), (20, 0.75)], errors, strict=True):
        for metric in ("NC1", "NC2_OF", "NC3_product"):
            rows.append((3, epoch, value, "bias-free", metric))
        rows.append((3, epoch, error, "bias-free", "error"))
    rows.append((None, 15, None, None, "fall of the learning rate"))
    return drawn("depth step median head metric", *rows).astype({"depth": "Int64"})


def test_a_network_says_where_it_ends_where_its_error_is_gone_and_where_nc3_rises():
    ends = (
        "Without a bias the medians at epoch 20 (at epoch 1) are, over depths, NC1 0.75 (2), NC2 "
        "to the orthogonal frame 0.75 (2) and NC3 0.75 (2), where theory has 0."
    )
    left = "The median training error ends at 0.1 and is zero at no recorded epoch."
    assert sentences("network_conv", trained(0.5, 0.2, 0.1)) == f"{ends} {left}"
    gone = (
        "Circles mark the first recorded epoch at which the median training error is zero: "
        "5 (M = 3). It ends at 0.25."
    )
    rise = (
        "From one recorded epoch to the next NC3 rises most from 5 to 20, from 0.5 to 0.75 in the "
        "median over lines; the learning rate first falls after epoch 15."
    )
    assert sentences("network_mlp", trained(0.5, 0.0, 0.25)) == f"{ends} {gone} {rise}"


def test_losses_below_the_etf_are_counted_beyond_rounding():
    rows = drawn(
        "depth classes reached cross_polytope",
        (1, 4, -1e-7, None),
        (1, 4, 0.1, None),
        (2, 4, -0.1, -0.12),
        (2, 6, -0.2, -0.18),
        (2, 6, 0.0, -0.18),
    )
    assert sentences("cross_entropy_depth", rows) == (
        "More than 0.0001 % below the best simplex ETF end 0/2 at M = 1 and 1/1 and 1/2 at M = 2 "
        "of the starts (K = 4 and 6). The lowest loss relative to that ETF's is -20 % (M = 2, "
        "K = 6), the best cross-polytope's there -18 %."
    )


def test_vectors_of_a_plane_have_no_length_across_it():
    # Rounding of the Gram matrix is its own root, 1e8 times larger, across the plane.
    for rounding in (1e-17, -1e-17):
        frame = vectors(np.eye(3) - 1 / 3 + rounding)
        assert abs(frame.sum(0)).max() < 1e-14
        np.testing.assert_allclose(frame @ frame.T, 1.5 * (np.eye(3) - 1 / 3), atol=1e-14)


def test_a_depth_has_one_colour_in_all_figures():
    whole = head_colours([1, 3, 6, 9])
    for depths in ([1, 3], [6], [1, 2, 3, 6], [3, 4, 5]):
        colours = head_colours(depths)
        assert all(colours[depth] == whole.get(depth, colours[depth]) for depth in depths)
        assert len(set(colours.values())) == len(depths)
    assert len(set(head_colours([1, 3, 6, 9, 12, 20]).values())) == 6
