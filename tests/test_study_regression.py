"""The regression study: what its claims decide of tables that agree with theory or do not."""

from dataclasses import replace
from importlib import import_module
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse import config, jobs
from collapse.metrics import measure
from collapse.metrics.regression import nrc3_at
from collapse.plotting import paper_style
from collapse.studies import Results, along_axes, load
from collapse.studies.regression import (
    claims,
    closed_form_claims,
    feature_space,
    gamma,
    norms,
    nrc,
    ufm_regularisation,
    weight_decay,
    whitened_residuals,
)
from collapse.studies.regression.analysis import working_decay
from collapse.theory.regression import gram, nrc3, predict, truncated_gram
from tables import configured, diverged, results, scaled, selected, valued, without

STUDY = load("regression")
ATLAS = config.load("config", {"scale": "paper"})
COVARIANCE = {
    "reacher": np.array([[0.012, 0.002], [0.002, 0.024]]),
    "swimmer": np.array([[0.5, 0.2], [0.2, 0.8]]),
    "hopper": np.array([[0.4, 0.1, 0.05], [0.1, 0.3, -0.02], [0.05, -0.02, 0.2]]),
}
SAMPLES = {"reacher": 1000, "swimmer": 1000, "hopper": 10_000}
FREE_STARTS = {1.0: 0.7, 0.3: 0.5, 0.1: 0.2, 0.03: 0.04}
"""NRC1 that is left of a start of this scale without decay."""


def entries(name, values):
    values = np.asarray(values)
    places = zip(*np.triu_indices(len(values)), strict=True)
    return {f"{name}[{i},{j}]": values[i, j] for i, j in places}


def numbers(name, values):
    return {f"{name}[{k}]": value for k, value in enumerate(values)}


def decayed_network(covariance, decay, *, linear=False, biases=False):
    """Return what is measured of a network that does as the paper says of weight decay."""
    count = len(covariance)
    spread = np.full(count, 1 / count) if decay else np.full(5, 0.2)
    centred = (1e-9 if linear else 1e-8) if decay else 0.5
    uncentred = 1e-5 if decay and not biases else centred  # a mean that biases leave
    return {
        "NRC1": uncentred,
        "NRC2": uncentred,
        "NRC1_centred": centred,
        "NRC2_centred": centred,
        "NRC3": 1e-4 if decay else 0.3,
        "mean_feature_ratio": 1e-4 if biases and linear else 0.5,
        "r2": 0.9,
        **numbers("explained_variance_ratio", [*spread, 0, 0, 0][:5]),
        **entries("gram", np.eye(count)),
        **entries("residual_covariance", 1e-3 * decay * np.eye(count)),
    }


def penalised_network(covariance, decays):
    """Return what is measured of a network that reaches the closed form, and that form."""
    if not all(decays):
        measured = decayed_network(covariance, 0.0)
        return measured | {"loss": 0.0, "mse_sum": 0.0}, {}
    found = predict(target_covariance=covariance, weight_decay=decays[0], feature_decay=decays[1])
    shares = found["explained_variance_ratio"]
    values, axes = np.linalg.eigh(covariance)
    residual = axes * np.minimum(values, decays[0] * decays[1]) @ axes.T
    closed = {name: found[name] for name in ("loss", "mse_sum", "r2")} | entries(
        "gram", found["gram"]
    )
    measured = {
        "NRC1": 1e-9,
        "NRC2": 1e-9,
        **closed,
        **({} if shares is None else numbers("explained_variance_ratio", [*shares, 0, 0, 0][:5])),
        **entries("residual_covariance", residual),
    }
    return measured, closed


def free(run):
    """Return the covariance and what is measured and predicted of free features."""
    problem = run.config.problem
    covariance = np.array(problem.target_covariance)
    measured, closed = penalised_network(
        covariance, (run.config.weight_decay, run.config.feature_decay)
    )
    if not run.config.weight_decay:
        scale = min(FREE_STARTS, key=lambda known: abs(known - problem.init_scale))
        measured |= {"NRC1": FREE_STARTS[scale], "loss": 1e-20}
    return covariance, problem.samples, measured, closed


def outcome(run):
    """Return covariance, samples, what is measured and what is predicted of a run."""
    if hasattr(run.config, "problem"):
        return free(run)
    name = run.config.data.name.removeprefix("noisy_")
    noisy = name != run.config.data.name
    covariance, samples = COVARIANCE[name], 100_000 if noisy else SAMPLES[name]
    decay, feature = run.config.weight_decay, run.config.feature_decay
    if feature == 0.0:
        linear, biases = run.config.model.ending == "linear", run.config.decayed != "weights"
        measured = decayed_network(covariance, decay, linear=linear, biases=biases)
        return covariance, samples, measured, {}
    decays = (decay, decay if feature is None else feature)
    return covariance, samples, *penalised_network(covariance, decays)


def world(names=STUDY.claims_read, **changes):
    """Return experiments of the paper's config with these changes, in agreement with theory."""
    atlas = config.load("config", {"scale": "paper", "regression": changes})
    described = jobs.described(atlas, "regression", tuple(names))
    found = {}
    for name in names:
        runs = []
        for run in atlas.runs("regression", name):
            covariance, samples, measured, closed = outcome(run)
            measured |= {"samples": samples, **entries("target_covariance", covariance)}
            measured = {(9, "H1", metric): value for metric, value in measured.items()}
            runs.append((run.keys, measured, closed))
        axes = (*STUDY.axes, *STUDY.own_axes.get(name, ()))
        found[name] = along_axes(results(described[name], runs), axes)
    return found


def less_decayed(kind):
    return (
        lambda name, *given: claims._less_decayed(name, kind, *given),
        "reacher",
        ("reacher", "reacher_partly"),
    )


def penalised(kind):
    return (
        lambda name, given: closed_form_claims.ufm_networks(name, kind, given),
        "reacher",
        ("reacher_features" if kind == "ufm" else "reacher_noisy",),
    )


FAMILIES = {
    "weight_decay": (claims._weight_decay, "reacher", ("reacher",)),
    "weights": less_decayed("weights"),
    "backbone": less_decayed("backbone"),
    "mean": (lambda *given: [claims._mean(*given)], "reacher", ("reacher", "reacher_partly")),
    "ufm": penalised("ufm"),
    "noisy": penalised("noisy"),
    "batchnorm": penalised("batchnorm"),
    "residuals": (closed_form_claims.residuals, None, ("reacher", "reacher_features")),
    "norms": (closed_form_claims.norms, "reacher", ("reacher_norms",)),
    "free_features": (closed_form_claims.free_features, None, ("free_features",)),
    "no_decay": (closed_form_claims.no_decay, None, ("no_decay",)),
    "two_targets": (lambda found: [claims._weakness(found)], None, ("reacher",)),
}


def decided(family, experiments):
    """Return verdict and measured text of a family's claims by name."""
    decide, name, reads = FAMILIES[family]
    given_name = [] if name is None else [name]
    rows = decide(*given_name, *(experiments[read] for read in reads))
    return {row["claim"]: (row["verdict"], row["measured"]) for row in rows}


def verdicts(family, experiments):
    return {claim: verdict for claim, (verdict, _) in decided(family, experiments).items()}


def having(found, verdict):
    return {claim for claim, each in found.items() if each == verdict}


def shortened(experiment):
    training = experiment.config["training"]
    return configured(experiment, training=training | {"epochs": training["epochs"] // 2})


@pytest.fixture(scope="module")
def theory():
    """Return the experiments of `FAMILIES`, with fewer decays, all as theory has it."""
    grid = ATLAS.experiment("regression", "free_features").grid
    return world(
        sorted({name for *_, reads in FAMILIES.values() for name in reads}),
        reacher={"grid": {"model.ending": ["relu", "linear"], "weight_decay": [*DECAYED, 0.0]}},
        free_features={"grid": grid | {"weight_decay": [1.0, 12.5], "problem.bias": [True]}},
    )


DECAYED = [3e-3, 1e-3]
PENALISED = [1e-2, 1e-3, 1e-4, 1e-5]
NOISY = [2 * decay for decay in PENALISED]
RELU = {"ending": ["relu"], "weight_decay": DECAYED}
LINEAR = {"ending": ["linear"], "weight_decay": DECAYED}
WEIGHTS, BACKBONE = {"decayed": "weights"}, {"decayed": "all"}
WRONG = {"reacher_norms_monotone", "gram_between_thresholds_paper"}
"""Claims of the paper that its own closed form refutes."""


@pytest.mark.parametrize("family", FAMILIES)
def test_what_agrees_with_theory_replicates(theory, family):
    found = verdicts(family, theory)
    assert found
    for claim, verdict in found.items():
        assert verdict == ("not replicated" if claim in WRONG else "replicated"), claim


def test_every_claim_of_the_study_is_decided_once_of_every_data_set():
    with np.errstate(invalid="ignore"):  # norms that vanish at two decays in a row
        rows = list(claims.decide(world()))
    names = [row["claim"] for row in rows]
    assert len(set(names)) == len(names) == 3 * (13 + 2 * 4 + 1 + 3 * 5) + 3 + 2 * 4 + 4 + 2 + 1
    assert {row["claim"] for row in rows if row["verdict"] != "replicated"} == WRONG | {
        "swimmer_norms_monotone"
    }


OF_NO_DATA = {"free_features", "no_decay"}
"""Families whose targets are drawn."""
SPOILED = [
    (
        "weight_decay",
        {
            "reacher": [
                ("NRC1", 1e8, RELU),
                ("NRC2", 1e9, LINEAR),
                ("NRC1_centred", 1e8, RELU),
                ("NRC2_centred", 1e9, LINEAR),
                ("NRC3", 1e-3, {"weight_decay": [0.0]}),
                ("explained_variance_ratio", 0.9, RELU),
            ]
        },
        {
            "reacher_NRC1",
            "reacher_NRC2_linear",
            "reacher_NRC1_centred",
            "reacher_NRC2_centred_linear",
            "reacher_NRC3_decay",
            "reacher_explained_variance",
        },
    ),
    (
        "weight_decay",
        {
            "reacher": [
                ("NRC1", 1e9, LINEAR),
                ("NRC2", 1e8, RELU),
                ("NRC1_centred", 1e9, LINEAR),
                ("NRC2_centred", 1e8, RELU),
                ("NRC3", 1e3, RELU),
                ("explained_variance_ratio", 0.9, LINEAR),
                ("mean_feature_ratio", 1e5, LINEAR),
            ]
        },
        {
            "reacher_relu_mean",
            "reacher_NRC1_linear",
            "reacher_NRC2",
            "reacher_NRC1_centred_linear",
            "reacher_NRC2_centred",
            "reacher_NRC3",
            "reacher_NRC3_decay",
            "reacher_last_relu",
        },
    ),
    (
        "backbone",
        {"reacher_partly": [("NRC1", 1e8, RELU | BACKBONE), ("NRC2", 1e9, LINEAR | BACKBONE)]},
        {"reacher_backbone_NRC1", "reacher_backbone_NRC2_linear"},
    ),
    (
        "weights",
        {"reacher_partly": [("NRC1", 1e5, LINEAR | WEIGHTS), ("NRC2", 1e5, RELU | WEIGHTS)]},
        {"reacher_weights_NRC1_linear", "reacher_weights_NRC2"},
    ),
    (
        "ufm",
        {
            "reacher_features": [
                ("gram[0,1]", 1.2, {}),
                ("mse_sum", 0.95, {}),
                ("NRC2", 1e9, {"weight_decay": PENALISED}),
            ]
        },
        {"reacher_ufm_gram", "reacher_ufm_mse", "reacher_ufm_NRC2"},
    ),
    (
        "ufm",
        {
            "reacher_features": [
                ("loss", 1.05, {}),
                ("gram", 2, {"weight_decay": [1e-3]}),  # too weak a decay to be held against it
                ("NRC1", 1e-9, {"weight_decay": [0.0]}),
            ]
        },
        {"reacher_ufm_loss", "reacher_ufm_NRC1"},
    ),
    (
        "residuals",
        {
            "reacher": [("residual_covariance[0,0]", 3, RELU)],
            "reacher_features": [("residual_covariance", 1.2, {})],
        },
        {"residuals_white_weight_decay", "residuals_level"},
    ),
    (
        "residuals",
        {
            "reacher": [("residual_covariance[0,0]", 3, LINEAR)],
            "reacher_features": [("residual_covariance[0,0]", 3, {})],
        },
        {"residuals_white_ufm", "residuals_level"},
    ),
    ("norms", {"reacher_norms": [("gram", 1.5, {})]}, {"reacher_norms"}),
    (
        "norms",
        {"reacher_norms": [("gram", 1e5, {"feature_decay": [1e-3]})]},
        {"reacher_norms_monotone_to_0.1", "reacher_norms_peak"},
    ),
    (
        "free_features",
        {
            "free_features": [
                ("loss", 1 + 1e-6, {}),
                ("gram", 1.01, {"weight_decay": [1.0]}),
            ]
        },
        {"free_features_loss", "free_features_gram"},
    ),
    (
        "free_features",
        {"free_features": [("gram", 1.01, {"weight_decay": [12.5]})]},
        {"free_features_gram", "gram_between_thresholds_derived"},
    ),
    ("no_decay", {"no_decay": [("NRC1", 0.1, {"init_scale": [1.0]})]}, {"no_decay_no_collapse"}),
    ("no_decay", {"no_decay": [("NRC1", 10, {"init_scale": [0.03]})]}, {"no_decay_small_start"}),
    ("mean", {"reacher_partly": [("NRC1", 1e-4, LINEAR | WEIGHTS)]}, {"reacher_biases_mean"}),
    (
        "noisy",
        {"reacher_noisy": [("mse_sum", 5, {}), ("NRC1", 1e9, {"weight_decay": NOISY})]},
        {"reacher_noisy_mse", "reacher_noisy_NRC1"},
    ),
    (
        "batchnorm",
        {"reacher_noisy": [("gram", 1.2, {}), ("NRC2", 1e9, {"weight_decay": NOISY})]},
        {"reacher_batchnorm_gram", "reacher_batchnorm_NRC2"},
    ),
]


def spoiled(theory, changes):
    """Return the experiments with these changes: by experiment, arguments of `scaled`."""
    found = dict(theory)
    for name, each in changes.items():
        for metric, factor, keys in each:
            found[name] = scaled(found[name], metric, factor, **keys)
    return found


@pytest.mark.parametrize(("family", "changes", "refuted"), SPOILED)
def test_what_differs_from_theory_does_not(theory, family, changes, refuted):
    found = verdicts(family, spoiled(theory, changes))
    assert having(found, "not replicated") == refuted | (WRONG & set(found))
    assert not having(found, "inconclusive")


SHORTER = [row for row in SPOILED if row[0] not in ("free_features", "no_decay")]


@pytest.mark.parametrize(("family", "changes", "refuted"), SHORTER)
def test_a_shorter_training_confirms_but_does_not_refute(theory, family, changes, refuted):
    experiments = spoiled(theory, changes)
    for name in FAMILIES[family][-1]:
        experiments[name] = shortened(experiments[name])
    found = decided(family, experiments)
    for claim, (verdict, measured) in found.items():
        if claim in refuted | WRONG:
            assert verdict == "inconclusive", claim
            assert "units of training time)" in measured or "epochs)" in measured
        else:
            assert verdict == "replicated", claim


NETWORKS = set(FAMILIES) - {"norms", "free_features", "no_decay", "two_targets"}


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_decided_of_other_data_few_seeds_or_lost_runs(theory, family):
    lacking = {
        name: configured(diverged(each, seed=[0]), seeds=1, data={"name": "linnerud"})
        for name, each in theory.items()
    }
    for claim, (verdict, measured) in decided(family, lacking).items():
        assert verdict == "inconclusive", claim
        assert "diverged" in measured, claim
        assert ("linnerud in place of" in measured) == (family not in OF_NO_DATA), claim
        assert "seeds" in measured or family not in NETWORKS, claim


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"two_targets"}))
def test_nothing_is_decided_where_every_run_diverged(theory, family):
    lost = {}
    for name, each in theory.items():  # at the first step: nothing else was measured
        gone = diverged(each)
        lost[name] = replace(gone, metrics=gone.values("diverged"))
    assert set(verdicts(family, lost).values()) == {"inconclusive"}


@pytest.mark.parametrize("family", ["weight_decay", "weights"])
def test_runs_lost_without_decay_keep_their_ratio_undecided(theory, family):
    lost = theory | {"reacher": diverged(theory["reacher"], weight_decay=[0.0], seed=[0, 1])}
    found = verdicts(family, lost)
    prefix = "reacher_weights_NRC" if family == "weights" else "reacher_NRC"
    for claim in found:
        if claim.startswith(prefix) and claim != "reacher_NRC3":
            assert found[claim] == "inconclusive", claim


def test_seeds_of_both_arms_of_a_ratio_count(theory):
    one = configured(without(theory["reacher"], seed=[1, 2]), seeds=1)
    assert verdicts("weights", theory | {"reacher": one})["reacher_weights_NRC1"] == "inconclusive"


def test_networks_no_better_than_a_constant_and_single_failures_are_undecided(theory):
    changed = scaled(theory["reacher"], "r2", -1, ending=["relu"], weight_decay=[0.0], seed=[1])
    changed = scaled(changed, "NRC1", 1e9, ending=["linear"], weight_decay=DECAYED, seed=[2])
    found = decided("weight_decay", {"reacher": changed})
    for claim, (verdict, measured) in found.items():
        # That of means compares the endings under decay only.
        if not claim.endswith(("_linear", "_relu_mean")):
            assert verdict == "inconclusive" and "R2 is not above 0" in measured, claim
    linear = {claim: verdict for claim, (verdict, _) in found.items() if claim.endswith("_linear")}
    assert having(linear, "inconclusive") == {"reacher_NRC1_linear"}
    assert having(linear, "replicated") == set(linear) - {"reacher_NRC1_linear"}


def test_the_fit_of_networks_of_which_less_is_decayed_is_asked_for_too(theory):
    given = theory | {"reacher_partly": scaled(theory["reacher_partly"], "r2", 0, **LINEAR)}
    found = verdicts("weights", given)
    assert having(found, "inconclusive") == {
        "reacher_weights_NRC1_linear",
        "reacher_weights_NRC2_linear",
    }
    assert having(found, "replicated") == {"reacher_weights_NRC1", "reacher_weights_NRC2"}
    assert verdicts("mean", given) == {"reacher_biases_mean": "inconclusive"}


def test_without_an_arm_for_the_linear_ending_the_other_is_still_decided(theory):
    given = theory | {"reacher_partly": without(theory["reacher_partly"], ending="linear")}
    found = verdicts("weights", given)
    assert having(found, "replicated") == {"reacher_weights_NRC1", "reacher_weights_NRC2"}
    assert not having(found, "not replicated")
    assert verdicts("mean", given) == {"reacher_biases_mean": "inconclusive"}


def test_a_constant_network_with_penalised_features_does_not_pass_for_collapse(theory):
    dead = scaled(theory["reacher_features"], "r2", 0)
    found = verdicts("ufm", {"reacher_features": dead})
    assert found["reacher_ufm_NRC1"] == found["reacher_ufm_NRC2"] == "inconclusive"


def rewritten(experiment, matrix_of):
    """Return an experiment whose W W^T is this function of the run's keys."""
    rows = experiment.metrics
    grams = rows[selected(rows, "gram", {})]
    values = [
        matrix_of(row)[tuple(int(i) for i in row["metric"][len("gram[") : -1].split(","))]
        for row in grams.to_dict("records")
    ]
    value = rows["value"].copy()
    value[grams.index] = values
    return replace(experiment, metrics=rows.assign(value=value))


def test_between_thresholds_either_formula_can_be_what_is_found(theory):
    experiment = theory["free_features"]
    covariances = {
        "-".join(f"{each:g}" for row in given for each in row): given
        for given in experiment.config["grid"]["problem.target_covariance"]
    }
    feature = experiment.config["feature_decay"]
    found = rewritten(
        experiment,
        lambda row: truncated_gram(
            covariances[row["target_covariance"]], row["weight_decay"], feature
        ),
    )
    found = verdicts("free_features", {"free_features": found})
    assert found["gram_between_thresholds_paper"] == "replicated"
    assert found["gram_between_thresholds_derived"] == "not replicated"
    assert found["free_features_loss"] == "replicated"
    below = without(experiment, weight_decay=12.5)
    found = decided("free_features", {"free_features": below})
    for formula in ("paper", "derived"):
        verdict, measured = found[f"gram_between_thresholds_{formula}"]
        assert verdict == "inconclusive" and "no c between eigenvalues" in measured
    assert found["free_features_gram"][0] == "replicated"


def colour(distance):
    """Return by how much one of two equal variances grows at this distance from white."""
    return np.tan(np.pi / 4 + 2 * np.arcsin(distance / 2))


NONE, AT_WORK = {"weight_decay": 0.0}, {"weight_decay": 1e-2}
STRONGEST = {"weight_decay": DECAYED[0]}
BOUNDED = [
    # family, claim, experiment, metric, keys, values on either side of the bound, whether factors
    *[
        (family, claim, experiment, metric, STRONGEST | {"ending": ending}, 0.0499, 0.0501, False)
        for family, experiment, prefix, metrics in (
            ("weight_decay", "reacher", "", ("NRC1", "NRC2", "NRC1_centred", "NRC2_centred")),
            ("weights", "reacher_partly", "weights_", ("NRC1", "NRC2")),
            ("backbone", "reacher_partly", "backbone_", ("NRC1", "NRC2")),
        )
        for metric in metrics
        for ending, suffix in (("relu", ""), ("linear", "_linear"))
        for claim in [f"reacher_{prefix}{metric}{suffix}"]
    ],  # 0.5 without decay
    ("weight_decay", "reacher_NRC3", "reacher", "NRC3", RELU, 0.0099, 0.0101, False),
    ("weight_decay", "reacher_NRC3_decay", "reacher", "NRC3", NONE, 1.01e-3, 0.99e-3, False),
    (
        *("weight_decay", "reacher_explained_variance", "reacher", "explained_variance_ratio"),
        *(RELU, 0.951, 0.949, True),
    ),
    ("weight_decay", "reacher_last_relu", "reacher", "NRC1_centred", LINEAR, 9.9, 10.1, True),
    ("mean", "reacher_biases_mean", "reacher_partly", "NRC1", LINEAR, 1.01e-8, 0.99e-8, False),
    (
        *("weight_decay", "reacher_relu_mean", "reacher", "mean_feature_ratio"),
        *(LINEAR, 0.499, 0.501, False),
    ),
    *[
        (kind, f"reacher_{kind}_{key}", "reacher_noisy", metric, {"weight_decay": 2e-2}, *ends)
        for kind in ("noisy", "batchnorm")
        for key, metric in (("gram", "gram"), ("loss", "loss"), ("mse", "mse_sum"))
        for ends in ((1.0099, 1.0101, True), (0.9901, 0.9899, True))
    ],
    *[
        ("ufm", f"reacher_ufm_{key}", "reacher_features", metric, AT_WORK, inside, outside, True)
        for key, metric in (("gram", "gram"), ("loss", "loss"), ("mse", "mse_sum"))
        for inside, outside in ((1.0099, 1.0101), (0.9901, 0.9899))
    ],
    *[
        ("ufm", f"reacher_ufm_{metric}", "reacher_features", metric, AT_WORK, 0.0499, 0.0501, False)
        for metric in ("NRC1", "NRC2")
    ],
    *[
        ("residuals", claim, experiment, "residual_covariance[0,0]", keys, *ends, True)
        for claim, experiment, keys in (
            ("residuals_white_weight_decay", "reacher", RELU),
            ("residuals_white_ufm", "reacher_features", AT_WORK),
        )
        for ends in ((colour(0.099), colour(0.101)), (colour(-0.099), colour(-0.101)))
    ],
    *[
        ("residuals", "residuals_level", "reacher_features", "residual_covariance", AT_WORK, *ends)
        for ends in ((1.0499, 1.0501, True), (0.9501, 0.9499, True))
    ],
    *[
        ("norms", "reacher_norms", "reacher_norms", "gram", {}, *ends, True)
        for ends in ((1.0499**2, 1.0501**2), (0.9501**2, 0.9499**2))
    ],
    *[
        ("free_features", claim, "free_features", metric, {}, 1 + 0.99 * end, 1 + 1.01 * end, True)
        for claim, metric, bound in (
            ("free_features_loss", "loss", 1e-9),
            ("free_features_gram", "gram", 1e-4),
            ("gram_between_thresholds_derived", "gram", 1e-3),
        )
        for end in (bound, -bound)
    ],
    *[
        ("no_decay", claim, "no_decay", "NRC1", {"init_scale": scale}, inside, outside, False)
        for claim, scale, inside, outside in (
            ("no_decay_no_collapse", 1.0, 0.101, 0.099),
            ("no_decay_small_start", 0.03, 0.099, 0.101),
        )
    ],
]


@pytest.mark.parametrize(
    ("family", "claim", "name", "metric", "keys", "inside", "outside", "factors"),
    BOUNDED,
    ids=[f"{row[0]}-{row[1]}-{number}" for number, row in enumerate(BOUNDED)],
)
def test_a_claim_holds_up_to_its_bound(
    theory, family, claim, name, metric, keys, inside, outside, factors
):
    change = scaled if factors else valued
    held = theory | {name: change(theory[name], metric, inside, **keys)}
    assert verdicts(family, held)[claim] == "replicated"
    refuted = theory | {name: change(theory[name], metric, outside, **keys)}
    assert verdicts(family, refuted)[claim] == "not replicated"
    one = theory | {name: change(theory[name], metric, outside, seed=0, **keys)}
    assert verdicts(family, one)[claim] == "inconclusive"
    if family not in OF_NO_DATA:
        shorter = {read: shortened(refuted[read]) for read in FAMILIES[family][-1]}
        assert verdicts(family, shorter)[claim] == "inconclusive"


@pytest.mark.parametrize(("fall", "verdict"), [(0.0099, "replicated"), (0.0101, "not replicated")])
@pytest.mark.parametrize(
    ("fallen", "claims_of_it"),
    [
        (0.1, ["reacher_norms_monotone", "reacher_norms_monotone_to_0.1"]),
        (0.3, ["reacher_norms_monotone"]),
    ],
)
def test_norms_may_fall_by_a_hundredth_to_count_as_growing(
    theory, fallen, claims_of_it, fall, verdict
):
    """They double from decay to decay but for the one at which they fall."""
    steps = sorted(theory["reacher_norms"].metrics["feature_decay"].unique())
    norms = {decay: 2.0**place for place, decay in enumerate(steps)}
    norms[fallen] = norms[steps[steps.index(fallen) - 1]] * (1 - fall)
    given = rewritten(
        theory["reacher_norms"], lambda row: norms[row["feature_decay"]] ** 2 * np.eye(2)
    )
    found = verdicts("norms", {"reacher_norms": given})
    for claim in claims_of_it:
        assert found[claim] == verdict
    assert found["reacher_norms_monotone_to_0.1"] == (verdict if fallen == 0.1 else "replicated")


def test_the_norm_peaks_at_the_decay_of_the_closed_form_in_the_median_run(theory):
    beside = scaled(theory["reacher_norms"], "gram", 1e5, feature_decay=1e-3)
    found = verdicts("norms", {"reacher_norms": beside})
    assert found["reacher_norms_peak"] == "not replicated"
    assert verdicts("norms", {"reacher_norms": shortened(beside)})["reacher_norms_peak"] == (
        "inconclusive"
    )


def test_weight_decay_is_judged_by_the_components_of_the_targets_only(theory):
    beyond = scaled(theory["reacher"], "explained_variance_ratio", 0.9, **RELU)
    beyond = valued(beyond, "explained_variance_ratio[4]", 0.1, **RELU)
    found = verdicts("weight_decay", {"reacher": beyond})
    assert having(found, "not replicated") == {"reacher_explained_variance"}


def test_weight_decay_without_a_fit_or_a_network_of_the_linear_ending_compares_no_endings(theory):
    unfit = decided("weight_decay", {"reacher": scaled(theory["reacher"], "r2", 0, **LINEAR)})
    alone = decided("weight_decay", {"reacher": without(theory["reacher"], ending="linear")})
    for found, text in ((unfit, "R2 is not above 0"), (alone, "no ending linear")):
        verdict, measured = found["reacher_last_relu"]
        assert verdict == "inconclusive" and text in measured


def test_weight_decay_without_a_run_of_one_arm_is_measured_by_the_others(theory):
    lost = diverged(theory["reacher"], weight_decay=0.0, seed=0)
    for verdict, measured in decided("weight_decay", {"reacher": lost}).values():
        assert "nan" not in measured, verdict


@pytest.mark.parametrize(("loss", "verdict"), [(0.99e-12, "replicated"), (1e-12, "inconclusive")])
def test_without_decay_the_loss_must_be_below_1e_12(theory, loss, verdict):
    ended = valued(theory["no_decay"], "loss", loss, seed=2)
    assert set(verdicts("no_decay", {"no_decay": ended}).values()) == {verdict}


@pytest.mark.parametrize(("off", "verdict"), [(0.9e-8, "replicated"), (1.01e-8, "not replicated")])
def test_of_two_targets_nrc3_must_vanish_up_to_1e_8(theory, monkeypatch, off, verdict):
    monkeypatch.setattr(claims, "nrc3", lambda *given: np.maximum(nrc3(*given), off))
    assert set(verdicts("two_targets", theory).values()) == {verdict}


SEEDS = {"free_features": 3, "no_decay": 5, "norms": 1}


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_decided_with_a_seed_too_few(theory, family):
    needed = SEEDS.get(family, 2)
    for seeds in (needed, needed - 1):
        given = {name: configured(each, seeds=seeds) for name, each in theory.items()}
        found = decided(family, given)
        for claim, (verdict, measured) in found.items():
            assert (f"{seeds} of {needed} seeds" in measured) == (seeds < needed), claim
            assert (verdict == "inconclusive") == (seeds < needed), claim


def test_norms_that_only_grow_are_what_the_paper_says_and_theory_does_not(theory):
    growing = rewritten(theory["reacher_norms"], lambda row: row["feature_decay"] * np.eye(2))
    found = verdicts("norms", {"reacher_norms": growing})
    assert having(found, "replicated") == {
        "reacher_norms_monotone",
        "reacher_norms_monotone_to_0.1",
    }
    assert having(found, "not replicated") == {"reacher_norms", "reacher_norms_peak"}
    few = without(theory["reacher_norms"], feature_decay=[0.3, 0.7, 1.5, 3.0])
    found = verdicts("norms", {"reacher_norms": few})
    assert having(found, "inconclusive") >= {"reacher_norms_monotone", "reacher_norms_peak"}
    assert not having(found, "not replicated")


def test_no_decay_needs_a_loss_of_zero_and_both_kinds_of_start(theory):
    large = scaled(theory["no_decay"], "loss", 1e9)
    assert set(verdicts("no_decay", {"no_decay": large}).values()) == {"inconclusive"}
    some = without(theory["no_decay"], init_scale=[1.0, 0.03])
    found = decided("no_decay", {"no_decay": some})
    assert {verdict for verdict, _ in found.values()} == {"inconclusive"}
    assert "no start of scale 1, at most 0.3" in found["no_decay_no_collapse"][1]
    assert "no start of scale 0.03, at least 0.1" in found["no_decay_small_start"][1]


@pytest.fixture(scope="module")
def single():
    """Return one run of each experiment, as a user has it who takes everything out of the grid."""
    names = sorted({name for *_, reads in FAMILIES.values() for name in reads})
    return world(names, **{name: {"grid": {}, "seeds": 1} for name in names})


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"norms", "two_targets"}))
def test_one_run_decides_nothing(single, family):
    assert set(verdicts(family, single).values()) == {"inconclusive"}


def test_one_run_says_nothing_of_how_norms_change(single):
    found = verdicts("norms", single)
    assert having(found, "inconclusive") >= set(found) - {"reacher_norms"}


@pytest.mark.parametrize(
    ("family", "name", "changes"),
    [
        ("weight_decay", "reacher", {"grid": {"weight_decay": [0.0]}}),
        ("weight_decay", "reacher", {"grid": {"weight_decay": [1e-3]}}),
        ("weights", "reacher_partly", {"grid": {"weight_decay": [1e-4]}}),
        ("backbone", "reacher_partly", {"grid": {"decayed": ["weights"]}}),
        ("mean", "reacher_partly", {"grid": {"decayed": ["all"]}}),
        ("batchnorm", "reacher_noisy", {"grid": {"model.normalisation": ["none"]}}),
        ("ufm", "reacher_features", {"grid": {"weight_decay": [0.0]}}),
        ("ufm", "reacher_features", {"grid": {"weight_decay": [1e-3]}}),
        ("free_features", "free_features", {"grid": {"weight_decay": [0.0]}}),
    ],
)
def test_a_missing_arm_leaves_what_needs_it_undecided(theory, family, name, changes):
    found = verdicts(family, theory | world([name], **{name: changes}))
    decided_without = {
        "reacher_NRC3",
        "reacher_explained_variance",
        "gram_between_thresholds_derived",
    }
    for claim in set(found) - decided_without:
        assert found[claim] == "inconclusive", claim


def test_a_network_without_the_last_relu_answers_only_for_itself():
    alone = {"model": {"ending": "linear"}, "grid": {"weight_decay": [1e-3, 0.0]}}
    found = decided("weight_decay", world(["reacher"], reacher=alone))
    for claim, (verdict, measured) in found.items():
        if claim.endswith("_linear"):
            assert verdict == "replicated", claim
        else:
            assert verdict == "inconclusive" and "no ending relu" in measured, claim


def test_residuals_at_a_decay_below_one_that_gives_up_a_direction(theory):
    wide = {"grid": {"weight_decay": [1.0, 0.1, 1e-2, 0.0]}}  # of 1e-2 only both remain
    found = verdicts("residuals", theory | world(["reacher_features"], reacher_features=wide))
    assert found["residuals_white_ufm"] == found["residuals_level"] == "replicated"


@pytest.mark.parametrize(
    "changes", [{"grid": {"feature_decay": [0.0, 0.1]}}, {"weight_decay": 0.0}]
)
def test_norms_without_decay_have_no_closed_form(changes):
    found = verdicts("norms", world(["reacher_norms"], reacher_norms=changes))
    assert "not replicated" not in found.values()


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ({1e-2: (0.9, 0.1), 1e-3: (0.9, 0.2), 0.0: (0.9, 0.3)}, 1e-2),
        ({1e-2: (0.9, 1e-4), 1e-3: (0.9, 0.2), 0.0: (0.9, 0.3)}, 1e-3),  # a direction is gone
        ({1e-2: (-0.1, 0.1), 1e-3: (0.9, 0.2), 0.0: (0.9, 0.3)}, 1e-3),  # no fit
        ({1e-2: (0.0, None), 1e-3: (0.9, 0.2), 0.0: (0.9, 0.3)}, 1e-3),  # nothing varies
        ({1e-2: (0.9, 1e-4), 1e-3: (0.0, 0.2), 0.0: (0.9, 0.3)}, 1e-2),  # only without decay
        ({0.0: (0.9, 0.3)}, 0.0),
    ],
)
def test_the_working_decay_is_the_largest_that_keeps_all_directions(outcomes, expected):
    rows = []
    for decay, (fit, share) in outcomes.items():
        for seed in (0, 1):
            keys = ("relu", decay, seed, 9, "all")
            rows += [(*keys, *each) for each in entries("target_covariance", np.eye(2)).items()]
            rows.append((*keys, "r2", fit if seed else 0.9))  # the worse seed decides
            rows.append((*keys, "explained_variance_ratio[0]", 0.5))
            if share is not None:
                rows.append((*keys, "explained_variance_ratio[1]", share if seed else 0.5))
    columns = ["ending", "weight_decay", "seed", "step", "layer", "metric", "value"]
    tables = (pd.DataFrame(rows, columns=columns), pd.DataFrame(), pd.DataFrame())
    experiment = Results({}, *tables)
    assert working_decay(experiment) == expected


def with_residuals(experiment, seed):
    """Return an experiment with residuals of three samples in every run, and another's points."""
    steps = experiment.values("r2")[[*experiment.keys, "step"]]
    place = pd.DataFrame({"sample": [0, 0, 1, 1, 2, 2], "output": [0, 1] * 3})
    rows = steps.merge(place, how="cross").assign(layer="all", probe="residuals")
    drawn = np.random.default_rng(seed).normal(size=(2, len(rows)))
    rows = rows.assign(target=drawn[0], residual=drawn[1]).sample(frac=1, random_state=seed)
    other = steps.assign(layer="H1", probe="means", x=1.0)
    return replace(experiment, samples=pd.concat([rows, other], ignore_index=True))


def test_the_residuals_drawn_are_those_of_one_run_with_their_whitened_targets(theory):
    names = ("reacher", "reacher_features")
    found = {name: with_residuals(theory[name], seed) for seed, name in enumerate(names)}
    with paper_style():
        figure, drawn = whitened_residuals.draw(found)
        figure.canvas.draw()
    values, axes = np.linalg.eigh(COVARIANCE["reacher"])
    root = axes / np.sqrt(values) @ axes.T
    for name in names:
        run = found[name].points("residuals")
        assert "x" not in run
        run = run[(run["weight_decay"] == working_decay(found[name])) & (run["seed"] == 0)]
        run = run[run["ending"] == "relu"] if name == "reacher" else run
        run = run.pivot(index="sample", columns="output", values=["target", "residual"])
        z = run["target"].to_numpy() @ root
        rows = drawn[drawn["data"] == name]
        measured = rows[rows["series"] == "measured"]
        assert len(measured) == 2 * 3  # before and after training, the same step here
        np.testing.assert_array_equal(measured[["residual_1", "residual_2"]][3:], run["residual"])
        np.testing.assert_allclose(measured[["z_1", "z_2"]][3:], z, rtol=1e-12)
    closed = rows.loc[rows["series"] == "theory", ["residual_1", "residual_2"]]
    np.testing.assert_allclose(closed, -working_decay(found[name]) * z, rtol=1e-12)


def test_where_no_residuals_were_kept_the_figure_says_so(theory):
    names = ("reacher", "reacher_features")
    with paper_style():
        figure, drawn = whitened_residuals.draw({name: theory[name] for name in names})
        figure.canvas.draw()
    assert drawn.empty


# What captions say


def lost(experiment):
    """Return an experiment of which every run diverged at the first step."""
    gone = diverged(experiment)
    return replace(gone, metrics=gone.values("diverged"))


@pytest.fixture(scope="module")
def nothing():
    return {name: lost(experiment) for name, experiment in world().items()}


@pytest.mark.parametrize("name", STUDY.figures)
def test_every_figure_is_drawn_and_says_so_where_every_run_diverged(nothing, name):
    module = import_module(f"collapse.studies.regression.{name}")
    with paper_style():
        figure, rows = module.draw({read: nothing[read] for read in STUDY.figures[name].reads})
        figure.canvas.draw()
    of_two = " of two targets" if name in ("feature_space", "whitened_residuals") else ""
    assert module.findings(rows) == f"No run{of_two} reached its end."


def told(columns, *rows):
    """Return a figure's table."""
    return pd.DataFrame(rows, columns=columns.split())


def test_what_is_left_of_collapse_is_said_by_ending_and_data():
    rows = told(
        "data ending step metric median",
        ("Reacher", "relu", 1, "NRC1", 0.9),  # before the last epoch
        ("Reacher", "relu", 8, "NRC1", 0.5),
        ("Reacher", "relu", 8, "NRC3", 0.0123456),
        ("Reacher", "relu", 8, "r2", 0.8),
        ("Reacher", "linear", 8, "NRC1", 2e-11),
        ("Reacher", "linear", 8, "NRC1_centred", 1e-12),
        ("Reacher", "linear", 8, "r2", 0.7),
        ("Hopper", "relu", 9, "NRC1", 0.25),
        ("Hopper", "relu", 9, "r2", 0.999),
    )
    assert nrc.findings(rows) == (
        "With a ReLU before W there remain, where collapse leaves 0, NRC1 0.5 and NRC3 0.0123 on "
        "Reacher; NRC1 0.25 on Hopper. Without a ReLU before W there remain, where collapse leaves "
        "0, NRC1 2e-11 on Reacher. R2 on training samples ends at 0.7 to 0.8 on Reacher; 0.999 on "
        "Hopper."
    )


def test_the_gamma_of_the_minimum_is_said_beside_the_paper_s():
    rows = told(
        "data series gamma_ratio value",
        ("Reacher", "NRC3", 0.0, 0.4),
        ("Reacher", "minimum", 0.25, 0.02),
        ("Reacher", "minimum", 0.5, 0.01),
        ("Reacher", "paper", 0.749, None),
        ("Iris", "minimum", 0.0, 0.2),
        ("Hopper", "paper", 0.011, None),  # of which no run is left
    )
    assert gamma.findings(rows) == (
        "NRC3 is smallest at a gamma, in units of the smallest eigenvalue of the targets' "
        "covariance, of 0.25 to 0.5 (NRC3 0.01 to 0.02; the paper has 0.749) on Reacher; 0 (NRC3 "
        "0.2) on Iris."
    )


def test_what_nrc1_ends_at_is_said_between_the_extreme_decays():
    rows = told(
        "data ending weight_decay metric series median",
        ("Reacher", "relu", 0.01, "NRC1", "at the last epoch", 1e-6),
        ("Reacher", "relu", 0.0, "NRC1", "at the last epoch", 0.7),
        ("Reacher", "relu", 0.001, "NRC1", "at the last epoch", 0.3),
        ("Reacher", "relu", 0.01, "r2", "at the last epoch", 0.2),
        ("Reacher", "relu", 0.0, "r2", "at the last epoch", 0.9),
        ("Reacher", "relu", 0.01, "NRC1", "at the last epoch, weights", 0.1),
        ("Reacher", "relu", 0.01, "NRC1", "at the last epoch, backbone", 0.2),
    )
    assert weight_decay.findings(rows) == (
        "With a ReLU before W NRC1 ends under the smallest and the largest weight decay at 0.7 and "
        "1e-06 (decay 0 and 0.01, R2 0.9 and 0.2) on Reacher. Where weights only are decayed it "
        "ends at 0.1 on Reacher."
    )


def test_penalised_features_are_said_to_be_as_near_theory_as_they_are():
    end, distance = "at the last epoch", "relative distance of W W^T"
    rows = told(
        "data weight_decay step metric series median",
        ("Reacher", 0.01, 5, "NRC1", "against the epoch", 3e-4),
        ("Reacher", 0.01, 5, "NRC3_c", "against the epoch", 2e-7),
        ("Reacher", 0.0, 5, "NRC1", "against the epoch", 0.4),
        ("Reacher", 0.01, None, "mse", "theory", 1e-4),
        ("Reacher", 0.01, None, "mse", end, 1.01e-4),
        ("Reacher", 0.0, None, "mse", end, 1e-9),
        ("Reacher", 0.01, None, distance, end, 2e-4),
        ("Reacher", 0.001, None, distance, end, 0.03),
    )
    assert ufm_regularisation.findings(rows) == (
        "Under the largest decay the mean squared error ends at 0.000101 (theory: 0.0001) on "
        "Reacher. There remain, where theory has 0, NRC1 0.0003 and NRC3 2e-07 on Reacher. The "
        "relative distance of the Gram matrix of W from its closed form ends, over all decays, at "
        "0.0002 to 0.03 on Reacher."
    )


def test_norms_are_compared_at_the_decays_that_were_run_where_theory_has_any():
    rows = told(
        "data norm feature_decay series median",
        *[
            ("Swimmer", 1, decay, "measured", norm)
            for decay, norm in ((0.1, 1.0), (1, 2.2), (9, 0.1))
        ],
        *[
            ("Swimmer", 1, decay, "theory", norm)
            for decay, norm in ((0.1, 1.0), (1, 2.0), (9, 0.0))
        ],
        ("Swimmer", 1, 2.0, "theory", 2.5),
        ("Swimmer", "h", 0.1, "measured", 3.0),
        ("Swimmer", "h", 0.1, "theory", 3.0),
    )
    assert norms.findings(rows) == (
        "The rows of W are longest at feature decays of 1 (theory: 2) on Swimmer. Where theory's "
        "norms are not 0, the medians of W and h differ from them by 0 % in the median and up to "
        "10 % (at feature decay 1) on Swimmer."
    )


def test_the_plane_and_the_residuals_are_said_before_and_after_training():
    places = told(
        "step role axis_1 axis_2 axis_3",
        (0, "feature", 0.0, 1.0, 2.0),
        (0, "weight", 1.0, 0.0, 9.0),
        (7, "feature", 3.0, 1.0, 0.0),
    )
    assert feature_space.findings(places) == (
        "Of the squared length of the features drawn a share of 0.8 is along the direction outside "
        "the plane at epoch 0, and of 0 at epoch 7, where collapse has 0."
    )
    residuals = told(
        "data series residual_1 residual_2 correlation eigenvalue_ratio",
        ("reacher", "measured", 9.0, 9.0, 0.5, 4.0),
        ("reacher", "measured", 1.0, 1.0, -0.25, 2.0),
        ("reacher_features", "measured", 9.0, 9.0, 0.5, 4.0),
        ("reacher_features", "measured", 1.1, -2.2, 0.0, 1.0),
        ("reacher_features", "theory", 1.0, -2.0, None, None),
    )
    assert whitened_residuals.findings(residuals) == (
        "Under decay of all parameters, before and after training, the residuals' correlation is "
        "0.5 and -0.25 and the ratio of the eigenvalues of their second moments 4 and 2; white "
        "residuals have 0 and 1. Under decay of W and h only, before and after training, the "
        "residuals' correlation is 0.5 and 0 and the ratio of the eigenvalues of their second "
        "moments 4 and 1; white residuals have 0 and 1. After training the latter's residuals "
        "differ from the closed form by 10 % of its root mean square."
    )


def randoms(seed, *shapes):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes]


few = settings(max_examples=12, deadline=None)


@few
@given(
    outputs=st.integers(2, 4),
    seed=st.integers(0, 10**6),
    share=st.floats(0.01, 0.99),
    near=st.booleans(),
)
def test_nrc3_is_what_is_measured_and_smallest_at_the_measured_gamma(outputs, seed, share, near):
    features, noise, mix, weight = randoms(
        seed, (30, 6), (30, outputs), (outputs, outputs), (outputs, 6)
    )
    targets = noise @ mix
    centred = targets - targets.mean(0)
    covariance = centred.T @ centred / 30
    least = float(torch.linalg.eigvalsh(covariance)[0])
    if near:  # close to the closed form, where the minimum lies inside
        axes = torch.linalg.qr(weight.T)[0].T
        wanted = gram(covariance.numpy(), share * least**0.5, share * least**0.5)
        values, vectors = np.linalg.eigh(wanted)
        root = torch.tensor(vectors * np.sqrt(values.clip(0)))
        weight = root @ axes + 1e-3 * weight * float(np.sqrt(values[-1]))
    found = measure(features, targets=targets, weight=weight)
    weights = (weight @ weight.T).numpy()
    assert nrc3(weights, covariance.numpy(), found["gamma"]) == pytest.approx(
        found["NRC3"], abs=1e-9
    )
    fine = least * np.linspace(0, 1, 1001)[:-1] ** 2
    assert found["NRC3"] <= nrc3(weights, covariance.numpy(), fine).min() + 1e-9
    gamma = share * least
    assert nrc3(weights, covariance.numpy(), gamma) == pytest.approx(
        nrc3_at(weight, covariance, gamma), abs=1e-9
    )


def test_nrc3_of_the_closed_form_is_zero_at_c_only():
    for covariance in COVARIANCE.values():
        least = np.linalg.eigvalsh(covariance)[0]
        gammas = least * np.array([0, 0.2, 0.5, 0.9])
        found = nrc3(gram(covariance, 0.5, least), covariance, gammas)
        assert found.shape == gammas.shape
        assert found[2] == pytest.approx(0, abs=1e-14) and (np.delete(found, 2) > 1e-4).all()


@few
@given(
    variances=st.lists(st.floats(0.01, 10), min_size=2, max_size=4, unique=True),
    level=st.floats(0.01, 20),
    balance=st.floats(0.1, 10),
)
def test_the_first_columns_of_the_root_hold_for_descending_variances(variances, level, balance):
    covariance = np.diag(sorted(variances, reverse=True))
    decays = level * balance, level / balance
    np.testing.assert_allclose(
        truncated_gram(covariance, *decays), gram(covariance, *decays), atol=1e-9
    )


@pytest.mark.parametrize("covariance", COVARIANCE.values(), ids=COVARIANCE)
def test_the_first_columns_of_the_root_hold_below_all_eigenvalues_only(covariance):
    eigenvalues = np.linalg.eigvalsh(covariance)
    below = 0.9 * eigenvalues[0], 1.0
    np.testing.assert_allclose(
        truncated_gram(covariance, *below), gram(covariance, *below), rtol=1e-9, atol=1e-12
    )
    for lower, upper in pairwise(eigenvalues):
        between = (lower + upper) / 2, 1.0
        right = gram(covariance, *between)
        wrong = truncated_gram(covariance, *between)
        assert np.linalg.norm(wrong - right) > 0.01 * np.linalg.norm(right)


def test_the_first_columns_of_the_root_are_a_fifth_off_in_the_known_case():
    covariance, decays = [[1.0, 0.3], [0.3, 0.5]], (0.5**0.5, 0.5**0.5)
    right, wrong = gram(covariance, *decays), truncated_gram(covariance, *decays)
    distance = np.linalg.norm(wrong - right) / np.linalg.norm(right)
    assert distance == pytest.approx(0.19, abs=0.005)
