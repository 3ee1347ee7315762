"""The mixup study's figures and claims, on tables made of the closed form."""

from dataclasses import replace
from importlib import import_module
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb

from collapse.errors import InputError
from collapse.plotting import paper_style
from collapse.studies.mixup import STUDY, claims, model_claims, network_claims
from collapse.studies.mixup.triangle import DIFFERENT, MOST, SAME
from collapse.studies.sentences import UNFINISHED
from collapse.theory.mixup import (
    amplification,
    balanced_norm,
    coordinates,
    feature_norm,
    same_class_gap,
)
from tables import configured, diverged, results, undecided, valued, without

K = 4
SEEDS = 3
MIX = np.array([0.0, 0.25, 0.5, 0.75, 1.0])


def with_points(experiment, tables):
    return replace(experiment, samples=pd.concat(tables, ignore_index=True))


REFUTED, UNDECIDED = "not replicated", "inconclusive"


# Free features, exactly as the closed form has them


DECAYS = (1e-1, 1e-3, 1e-5, 1e-6)
WEIGHT_DECAY = 1e-3


def columns(norm, decay, loss):
    """The features of all pairs of classes, those of one class first, as the closed form says."""
    inner = MIX[1:-1]
    pairs = [(i, i, 1.0) for i in range(K)]
    pairs += [(*pair, mix) for pair in combinations(range(K), 2) for mix in inner]
    table = pd.DataFrame(pairs, columns=["first", "second", "mix"])
    u, v = coordinates(K, norm, decay, table["mix"].to_numpy(), loss)
    size = feature_norm(K, norm, decay, table["mix"].to_numpy(), loss)
    table = table.assign(u=u, v=v, norm=size, spread=0.0, off_plane=0.0)
    return table.assign(layer="H1", probe="mixed_columns")


def model(loss="ce", decays=DECAYS, free=False, steps=(0, 9), seeds=SEEDS):
    runs, points = [], []
    for decay, seed in product(decays, range(seeds)):
        norm = balanced_norm(K, WEIGHT_DECAY, decay, 1.0, loss) if free else 1.0
        keys = {"feature_decay": decay, "seed": seed}
        measured = {}
        for step in steps:
            left = 10.0 ** -(13 * step / steps[-1]) * (1 + seed)
            measured[step, "H1", "classifier_ETF"] = left
            measured[step, "H1", "classifier_norm"] = norm * (1 + left)
        measured[steps[-1], "H1", "classifier_norm"] = norm
        runs.append((keys, measured, {"classifier_norm": norm}))
        points.append(columns(norm, decay, loss).assign(**keys, step=steps[-1]))
    problem = {"classes": K, "classifier_norm": 1.0, "loss": loss}
    return with_points(results({"problem": problem, "seeds": seeds}, runs), points)


# Networks whose mixed features reach beyond convex combinations by a share of the closed form's


EPOCHS = (0, 20, 200)
LAYERS = ("hidden1", "hidden2", "H1")
TRIPLE = (0, 1, 3)
CORNERS = np.array([[1.0, -0.5], [-1.0, -0.5], [0.0, 1.0]])
SPREAD = 0.1


def decay_of(seed):
    return 1e-3 / (1 + seed)


def reach(share, seed, mix=MIX):
    """A(lambda) of a network, 1 at both ends."""
    return 1 + (share - 0.01 * seed) * (amplification(K, 1.0, decay_of(seed), mix) - 1)


def gap(seed):
    return float(same_class_gap(K, 1.0, decay_of(seed)))


def frame(rows, *names):
    return pd.DataFrame(rows, columns=names)


# u and v of all pairs at each layer; at the last epoch also in training mode.
CURVES = frame(
    [
        (step, layer, view, *pair, mix)
        for step, layer, view in product(EPOCHS, LAYERS, ("eval", "train"))
        if view == "eval" or step == EPOCHS[-1]
        for pair, mix in product(combinations(range(K), 2), MIX)
    ],
    *("step", "layer", "view", "first", "second", "mix"),
).assign(probe="mixed_curves")
# Pairs of three classes, by their place among them: three samples of each, `off` its own place.
PLANE = frame(
    [
        (step, layer, view, *pair)
        for step, layer, view in product(EPOCHS, LAYERS, ("train", "eval"))
        if step == EPOCHS[-1] or (layer, view) == ("H1", "train")
        for pair in product(range(3), range(3), (0.25, 0.45, 0.5), (-1, 0, 1))
    ],
    *("step", "layer", "view", "first", "second", "mix", "off"),
).assign(probe="mixed_points")
WEIGHTS = frame(
    [
        (step, layer, "weights", place, place)
        for step, layer in product(EPOCHS, LAYERS)
        if step == EPOCHS[-1] or layer == "H1"
        for place in range(3)
    ],
    *("step", "layer", "view", "first", "second"),
).assign(probe="mixed_points")


def curve_points(share, seed):
    """What mixed_curves finds: in training mode all is twice as long, at the start half."""
    # The first class of a pair is the further one.
    straight = gap(seed) * (0.9 + 0.2 * CURVES["mix"])
    along = straight * np.interp(CURVES["mix"], MIX, reach(share, seed))
    along = along * np.where(CURVES["view"] == "train", 2, 1) * (1 + CURVES["step"] / 200) / 2
    return CURVES.assign(u=along * CURVES["mix"], v=along * (1 - CURVES["mix"]))


def plane_points(share, seed):
    """What mixed_points finds: further out the later, along the channel twice in training mode."""
    first, second, mix, off = (PLANE[name].to_numpy() for name in PLANE.columns[3:7])
    stretch = (1 + SPREAD * off) * (1 + PLANE["step"].to_numpy())
    ends = mix[:, None] * CORNERS[first] + (1 - mix[:, None]) * CORNERS[second]
    x, y = stretch * ends.T
    straight = np.where(first != second, gap(seed), np.nan)
    half = np.interp(mix, MIX, reach(share, seed)) * (1 + SPREAD * off)
    along = straight * half * np.where(PLANE["view"] == "train", 2, 1)
    along = along * np.where(PLANE["layer"] == "H1", 1, 3)
    table = PLANE.drop(columns="off").assign(x=x, y=y, along=along, convex_along=straight)
    x, y = CORNERS[WEIGHTS["first"]].T / 7
    whole = pd.concat([table, WEIGHTS.assign(x=x, y=y)])
    names = {column: np.array(TRIPLE)[whole[column]] for column in ("first", "second")}
    return whole.assign(**names)


def bin_points(seed):
    table = pd.DataFrame({"bin": [3, 7, 13], "bin_confidence": [0.2, 0.5, 0.9]})
    table["bin_accuracy"] = table["bin_confidence"] + 0.01 * seed
    table = table.assign(count=[9, 10, 30 + seed], step=EPOCHS[-1], layer="all")
    return table.assign(probe="calibration")


def measured_of(share, seed, sure):
    measured = {}
    for step in EPOCHS:
        for layer in LAYERS:
            half = reach(share, seed, 0.5) - 0.5 * (step == 0)
            measured[step, layer, "amplification_half"] = half
            measured[step, layer, "convex_r2"] = 1 - share**2 / 10 - 0.01 * seed
        for metric, value in (("classifier_ETF", 0.05), ("NC1", 0.2), ("NC3", 0.03)):
            measured[step, "H1", metric] = value * (1 + seed) * 200 / (1 + step)
        # Before the first epoch there is no loss.
        if step:
            measured[step, "all", "least_excess"] = 0.1 / step
    last = EPOCHS[-1]
    measured[last, "all", "ECE"] = abs(sure) + 0.001 * seed
    measured[last, "all", "confidence_gap"] = sure
    measured[last, "all", "test_accuracy"] = 0.9 + 0.001 * seed
    return measured


def labels(data="Fashion-MNIST", model="CNN", loss="CE"):
    names = {"model": model, "data": data, "loss": loss}
    return names | {"samples": "all samples", "classes": [*range(K)]}


def network(share, alphas=(None,), loss="CE", sure=-0.05, seeds=SEEDS, alpha=1.0):
    runs, points = [], []
    for own, seed in product(alphas, range(seeds)):
        keys = {"seed": seed} if own is None else {"alpha": own, "seed": seed}
        # At an alpha of its own a network is further from theory, and less sure.
        scale = (own or 1.0) ** 0.25
        runs.append((keys, measured_of(share * scale, seed, sure * scale), {}))
        tables = curve_points(share * scale, seed), plane_points(share * scale, seed)
        points += [table.assign(**keys) for table in (*tables, bin_points(seed))]
    config = {
        "seeds": seeds,
        "grid": {} if None in alphas else {"input.alpha": list(alphas)},
        "input": {"kind": "plain"} if alpha is None else {"kind": "mixup", "alpha": alpha},
        "training": {"epochs": 200},
        "data": {"name": "fashion_mnist"},
        "probes": [
            {"kind": "calibration"},
            {"kind": "mixed_curves", "views": ["eval", "train"]},
            {"kind": "mixed_points", "views": ["train", "eval"]},
        ],
        "labels": labels(loss=loss),
    }
    return with_points(results(config, runs), points)


MODELS = {
    "fixed_classifier": model(),
    "fixed_classifier_mse": model("mse", decays=DECAYS[:2]),
    "free_classifier": model(decays=DECAYS[:2], free=True),
    "free_classifier_mse": model("mse", decays=DECAYS[:2], free=True),
    "free_descent": model(decays=(1e-2,), free=True, steps=(0, 1, 10, 100)),
}
NETWORKS = {
    "network_baseline": network(-0.5, sure=0.08, alpha=None),
    "network_mixup": network(0.8, alphas=(1.0, 0.2)),
    "network_mse_mixup": network(0.0, loss="MSE"),
    "network_fixed_etf": network(0.95),
}
SINGLE = network(0.8, seeds=1)
FURTHER = {
    "network_second_data": configured(SINGLE, labels=labels("digits")),
    "network_fashion": network(0.7),
    "wideresnet_mixup": configured(SINGLE, labels=labels("digits", "WideResNet")),
    "vit_mixup": configured(SINGLE, labels=labels("digits", "ViT")),
    "vit_second_data": configured(SINGLE, labels=labels("CIFAR-100", "ViT")),
    "vit_fashion": configured(SINGLE, labels=labels(model="ViT")),
}
WHOLE = MODELS | NETWORKS | FURTHER
ON_CIFAR = {"network_mixup": configured(NETWORKS["network_mixup"], data={"name": "cifar10"})}

READS = {
    "model_same_class": ("fixed_classifier",),
    "model_different_classes": ("fixed_classifier",),
    "model_plane": ("fixed_classifier",),
    "model_growth": ("fixed_classifier",),
    "model_mse_convex": ("fixed_classifier_mse",),
    **{
        f"free_{what}{end}": (f"free_{name}",)
        for end, name in (("", "classifier"), ("_mse", "classifier_mse"), ("_descent", "descent"))
        for what in ("etf", "balance", "features")
    },
    "channels": ("network_mixup",),
    "mse_amplification": ("network_mse_mixup",),
    "baseline_amplification": ("network_baseline",),
    "amplification_order": ("network_baseline", "network_mixup", "network_mse_mixup"),
    "mse_convex": ("network_mixup", "network_mse_mixup"),
    "same_class_alignment": ("network_mixup",),
    "classifier_etf": ("network_mixup",),
    "entropy_floor": ("network_mixup",),
    "calibration_error": ("network_baseline", "network_mixup"),
    "confidence_falls": ("network_baseline", "network_mixup"),
    "earlier_layers": ("network_baseline", "network_mixup"),
    "fixed_etf_nearer": ("network_mixup", "network_fixed_etf"),
    "fixed_etf_accuracy": ("network_mixup", "network_fixed_etf"),
    "fashion_falls_short": ("network_mixup", "network_fashion"),
}
"""The experiments that each claim is decided from."""


REMEMBERED = []


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Work out distances from the closed form once for each experiment."""
    distance = network_claims._distance

    def remembered(experiment):
        for each, values in REMEMBERED:
            if each is experiment:
                return values
        REMEMBERED.append((experiment, distance(experiment)))
        return REMEMBERED[-1][1]

    monkeypatch.setattr(network_claims, "_distance", remembered)


def given(name):
    return ON_CIFAR.get(name, WHOLE[name])


def decided(**changes):
    """Return verdict and text of what is not replicated of the claims about what is changed."""
    experiments = {name: given(name) for name in STUDY.claims_read} | changes
    experiments = {name: each for name, each in experiments.items() if each is not None}
    found = {}
    for part, modules in ((MODELS, model_claims), (NETWORKS | FURTHER, network_claims)):
        if part.keys() & changes.keys():
            found |= undecided(modules.decide(experiments))
    return found


def verdicts(**experiments):
    return {claim: verdict for claim, (verdict, _) in decided(**experiments).items()}


def moved(experiment, change, **keys):
    """Return an experiment whose points with these keys are changed: columns by their name."""
    rows = experiment.samples
    chosen = np.logical_and.reduce([rows[key] == value for key, value in keys.items()])
    assert chosen.any()
    new = {column: rows[column].where(~chosen, of(rows)) for column, of in change.items()}
    return replace(experiment, samples=rows.assign(**new))


def test_what_agrees_with_theory_replicates():
    rows = list(claims.decide({name: given(name) for name in STUDY.claims_read}))
    assert {row["claim"]: row["verdict"] for row in rows} == dict.fromkeys(READS, "replicated")
    assert {name for reads in READS.values() for name in reads} == set(STUDY.claims_read)
    assert all(row["statement"] and row["source"] and row["seeds"] == SEEDS for row in rows)


def mixed(rows):
    return rows["first"] != rows["second"]


def larger(column, factor, of=lambda rows: rows["u"].notna()):
    """Return a change of a column by a factor, of some rows."""
    return {column: lambda rows: rows[column].where(~of(rows), rows[column] * factor)}


# Claim, experiment, and what is spoilt of it; these are spoilt together.
MODEL_SPOILS = [
    [
        ("model_same_class", "fixed_classifier", larger("u", 1 + 1e-7, lambda rows: ~mixed(rows))),
        ("model_plane", "fixed_classifier", {"spread": lambda rows: 1e-6 * rows["u"]}),
        ("model_mse_convex", "fixed_classifier_mse", larger("v", 1 + 1e-7, mixed)),
        ("free_features", "free_classifier", larger("u", 1 + 1e-7, mixed)),
        ("free_features_mse", "free_classifier_mse", larger("u", 1 + 1e-7, mixed)),
        ("free_features_descent", "free_descent", larger("u", 1 + 2e-3, mixed)),
    ],
    [
        ("model_different_classes", "fixed_classifier", larger("v", 1 + 1e-7, mixed)),
        ("model_plane", "fixed_classifier", {"off_plane": lambda rows: 1e-7}),
    ],
]


@pytest.mark.parametrize(
    ("spoils", "keys", "verdict"),
    [
        *((spoils, {"layer": "H1"}, REFUTED) for spoils in MODEL_SPOILS),
        # In one run of several.
        (sum(MODEL_SPOILS, []), {"seed": 1}, UNDECIDED),
    ],
)
def test_features_that_are_not_the_closed_forms_refute_it(spoils, keys, verdict):
    wrong = {}
    for _, name, change in spoils:
        wrong[name] = moved(wrong.get(name, given(name)), change, **keys)
    assert verdicts(**wrong) == {claim: verdict for claim, *_ in spoils}


def test_growth_is_between_the_two_smallest_decays():
    def verdict(*decays):
        experiment = model(decays=decays)
        rows = model_claims._fixed(experiment, given("fixed_classifier_mse"))
        return undecided(rows).get("model_growth", ("replicated", ""))

    # Far from the limit the closed form itself grows more slowly.
    assert verdict(1.0, 0.5)[0] == REFUTED
    assert verdict(1.0, 0.5, *DECAYS[-2:])[0] == "replicated"
    alone, measured = verdict(1e-3)
    assert alone == UNDECIDED and "one feature decay" in measured


FREE = {"classifier": ("", 1e-8), "classifier_mse": ("_mse", 1e-8), "descent": ("_descent", 1e-3)}


def test_a_free_classifier_is_judged_by_its_form_and_by_its_norm():
    for factor, refuted in ((0.9, ()), (1.1, ("etf", "balance"))):
        changes = {}
        for name, (_, tolerance) in FREE.items():
            experiment = given(f"free_{name}")
            step, closed = experiment.metrics["step"].max(), experiment.predictions
            away = valued(experiment, "classifier_ETF", factor * tolerance, step=step)
            closed = closed.assign(value=closed["value"] * (1 + factor * tolerance))
            changes[f"free_{name}"] = replace(away, predictions=closed)
        names = {f"free_{what}{end}" for what in refuted for end, _ in FREE.values()}
        assert verdicts(**changes) == dict.fromkeys(names, REFUTED)


LAST = {"step": EPOCHS[-1]}
# Experiment, metric, a value on the wrong side, where it stands, and the claims that it refutes;
# what is spoilt together is spoilt for claims of its own.
SPOILS = [
    [
        ("network_mixup", "amplification_half", 0.97, {"layer": "H1", "alpha": 1.0},
         ["channels", "amplification_order"]),
        ("network_mixup", "NC3", 0.11, {"alpha": 1.0}, ["same_class_alignment"]),
        ("network_mixup", "least_excess", -1e-4, {}, ["entropy_floor"]),
    ],
    [
        ("network_mse_mixup", "amplification_half", 0.84, {"layer": "H1"}, ["mse_amplification"]),
        ("network_mixup", "classifier_ETF", 0.21, {"alpha": 1.0}, ["classifier_etf"]),
        ("network_mixup", "ECE", 0.3, {"alpha": 1.0}, ["calibration_error"]),
    ],
    [
        ("network_mse_mixup", "amplification_half", 1.16, {"layer": "H1"}, ["mse_amplification"]),
        ("network_mixup", "confidence_gap", 0.09, {"alpha": 1.0}, ["confidence_falls"]),
        ("network_fixed_etf", "test_accuracy", 0.88, {}, ["fixed_etf_accuracy"]),
    ],
    [
        ("network_baseline", "amplification_half", 1.001, {"layer": "H1"},
         ["baseline_amplification", "amplification_order"]),
        ("network_mse_mixup", "convex_r2", 0.8, {"layer": "H1"}, ["mse_convex"]),
        ("network_mixup", "amplification_half", 0.3, {"layer": "hidden2", "alpha": 1.0},
         ["earlier_layers"]),
    ],
]  # fmt: skip


def spoilt(spoils, **keys):
    """Return the experiments with these numbers on the wrong side, and the claims about them."""
    changes, claimed = {}, set()
    for name, metric, value, where, refuted in spoils:
        before = changes.get(name, given(name))
        changes[name] = valued(before, metric, value, **LAST, **where, **keys)
        claimed |= set(refuted)
    return changes, claimed


@pytest.mark.parametrize("spoils", SPOILS)
def test_a_network_that_does_otherwise_refutes_what_is_claimed_of_it(spoils):
    wrong, claimed = spoilt(spoils)
    assert verdicts(**wrong) == dict.fromkeys(claimed, REFUTED)


def test_one_seed_or_a_short_training_refutes_nothing():
    every = [spoil for spoils in SPOILS for spoil in spoils]
    one, claimed = spoilt(every, seed=1)
    assert verdicts(**one) == dict.fromkeys(claimed, UNDECIDED)
    short = {
        name: configured(each, training__epochs=199) for name, each in spoilt(every)[0].items()
    }
    for claim, (verdict, measured) in decided(**short).items():
        assert claim in claimed and verdict == UNDECIDED and "199 of 200 epochs" in measured


def test_the_order_of_amplifications_is_of_all_three_losses():
    between = {
        "network_baseline": valued(given("network_baseline"), "amplification_half", 0.9, **LAST),
        "network_mse_mixup": valued(given("network_mse_mixup"), "amplification_half", 0.88, **LAST),
    }
    assert verdicts(**between) == {"amplification_order": REFUTED}


def test_only_the_entropy_of_labels_counts_at_another_alpha():
    experiment, other = given("network_mixup"), {"alpha": 0.2}
    for metric in ("amplification_half", "NC3", "classifier_ETF", "ECE", "confidence_gap"):
        experiment = valued(experiment, metric, 9.0, **other)
    experiment = valued(experiment, "least_excess", -9e-6)
    assert verdicts(network_mixup=experiment) == {}
    below = valued(experiment, "least_excess", -1e-4, **other, **LAST, seed=1)
    assert verdicts(network_mixup=below) == {"entropy_floor": UNDECIDED}
    lost = decided(network_mixup=diverged(experiment, **other, seed=0))
    assert set(lost) == {"entropy_floor"} and "1 diverged" in lost["entropy_floor"][1]


def test_a_frozen_classifier_is_held_against_theory_at_its_own_gap():
    # Beside the other's A(lambda) this one's is no nearer; its length alone is of no account.
    further = moved(
        given("network_fixed_etf"), larger("u", 0.7, lambda rows: rows["mix"] < 1), **LAST
    )
    assert verdicts(network_fixed_etf=further) == {"fixed_etf_nearer": REFUTED}
    # Not what is measured elsewhere counts; without a gap between classes there is no closed form.
    elsewhere = given("network_fixed_etf")
    for chosen in ({"view": "train"}, {"step": 20}, {"layer": "hidden1"}):
        elsewhere = moved(elsewhere, {"u": lambda rows: -rows["v"]}, **chosen)
    assert verdicts(network_fixed_etf=elsewhere) == {}
    gone = moved(elsewhere, {"u": lambda rows: -1.0, "v": lambda rows: 0.0}, seed=2)
    assert verdicts(network_fixed_etf=gone) == {"fixed_etf_nearer": UNDECIDED}


def test_fashion_mnist_falls_short_beside_cifar_10_alone():
    def decision(**experiments):
        return network_claims._fashion({**ON_CIFAR, **experiments})

    assert decision(network_fashion=WHOLE["network_fashion"])["verdict"] == "replicated"
    assert decision(network_fashion=network(0.9))["verdict"] == REFUTED
    for change in ({}, NETWORKS, NETWORKS | FURTHER):
        row = decision(**change)
        assert row["verdict"] == UNDECIDED and "no run on CIFAR-10 beside it" in row["measured"]


@pytest.mark.parametrize(
    "names",
    [
        [*MODELS],
        ["network_mixup"],
        ["network_mse_mixup", "network_fixed_etf"],
        ["network_baseline", "network_fashion"],
    ],
)
def test_claims_need_three_seeds_and_all_the_runs_that_they_read(names):
    few = {name: diverged(configured(given(name), seeds=SEEDS - 1), seed=0) for name in names}
    lost = decided(**few)
    assert set(lost) == {claim for claim, reads in READS.items() if {*names} & {*reads}}
    for verdict, measured in lost.values():
        assert verdict == UNDECIDED and " diverged; 2 of 3 seeds" in measured


def test_nothing_is_decided_where_every_run_diverged():
    gone = {
        name: replace(each, metrics=each.values("diverged"), samples=each.samples.iloc[:0])
        for name, each in ((name, diverged(given(name))) for name in STUDY.claims_read)
    }
    lost = decided(**gone)
    assert set(lost) == set(READS)
    for verdict, measured in lost.values():
        assert verdict == UNDECIDED and " diverged" in measured


ALPHA = {
    claim for claim, reads in READS.items() if "network_mixup" in reads and claim != "entropy_floor"
}


def test_without_alpha_1_nothing_is_said_of_networks_with_mixup():
    # Whether it is a grid's or that of all runs.
    gone = configured(without(given("network_mixup"), alpha=1.0), grid={})
    lost = decided(network_mixup=gone)
    assert set(lost) == ALPHA
    for verdict, measured in lost.values():
        assert verdict == UNDECIDED and "no alpha 1" in measured
    other = configured(given("network_mse_mixup"), input={"kind": "mixup", "alpha": 0.4})
    assert set(verdicts(network_mse_mixup=other)) == {
        claim for claim, reads in READS.items() if "network_mse_mixup" in reads
    }


def test_a_metric_that_a_run_lacks_is_not_passed_over():
    # Of features that are all one A(1/2) is undefined.
    lacking = {
        name: without(given(name), metric="amplification_half", seed=2)
        for name in ("network_mixup", "network_baseline")
    }
    claimed = ["channels", "baseline_amplification", "amplification_order", "earlier_layers"]
    assert verdicts(**lacking) == dict.fromkeys(claimed, UNDECIDED)


# Figures


def drawn(name, canvas=False, **changes):
    """Draw a figure; return the numbers drawn, and the lines and dots of each panel."""
    given = WHOLE | changes
    reads = [key for key in STUDY.figures[name].reads if given[key] is not None]
    module = import_module(f"collapse.studies.mixup.{name}")
    with paper_style():
        figure, table = module.draw({key: given[key] for key in reads})
        if canvas:
            # Without a layout: what may fail is a scale or a text.
            figure.set_layout_engine("none")
            figure.canvas.draw()
        lines = [axes.get_lines() for axes in figure.axes]
        panels = [[(line.get_color(), line.get_xydata()) for line in each] for each in lines]
        panels = [each + dots(axes) for each, axes in zip(panels, figure.axes, strict=True)]
        texts = [text.get_text() for text in figure.texts]
        texts += [axes.get_title(loc) for axes in figure.axes for loc in ("left", "center")]
        texts += [text.get_text() for each in figure.subfigs for text in each.texts]
        plt.close(figure)
    return table, panels, texts


def dots(axes):
    """Return the places of a panel's dots by their colour."""
    clouds = [each for each in axes.collections if isinstance(each, PathCollection)]
    clouds = [each for each in clouds if len(each.get_offsets())]
    return [
        (colour, each.get_offsets()[(each.get_facecolors()[:, :3] == to_rgb(colour)).all(1)])
        for each in clouds
        for colour in (SAME, DIFFERENT)
    ]


def places(rows, x="x", y="y"):
    return sorted(map(tuple, rows[[x, y]].to_numpy().tolist()))


def near(found, expected):
    """Compare two sets of points."""
    found, expected = (np.array(sorted(map(tuple, each))) for each in (found, expected))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def assert_pictured(panel, table):
    """A picture of mixed features has the rows of its table, in the colours of their kind."""
    samples = table[~table["view"].isin(["weights", "theory"])]
    for colour, chosen in ((SAME, ~mixed(samples)), (DIFFERENT, mixed(samples))):
        (cloud,) = (points for own, points in panel if own == colour)
        near(cloud, samples.loc[chosen, ["x", "y"]].to_numpy())
    rows = table[table["view"] == "weights"]
    means = samples[~mixed(samples)].groupby("first")[["x", "y"]].mean()
    assert rows["first"].tolist() == means.index.tolist()
    # As long on the average as the class means, and in the directions that they have here.
    near(rows[["x", "y"]].to_numpy(), means.to_numpy())


def of_seed_0(step, view="train", layer="H1"):
    """The places of the mixed samples of a network's first run; x and y of other views differ."""
    points = plane_points(0.8, 0)
    chosen = (points["step"] == step) & (points["view"] == view) & (points["layer"] == layer)
    # Those at lambda = 1/2, which come on top of the others, are in no picture.
    return points[chosen & (points["mix"] != 0.5)]


def test_mixed_features_are_pictured_by_network_and_data_set():
    table, panels, texts = drawn("activations")
    names = [("CNN", "Fashion-MNIST"), ("CNN", "digits"), ("WideResNet", "digits")]
    names += [("ViT", each) for each in ("digits", "CIFAR-100", "Fashion-MNIST")]
    found = {pair: rows for pair, rows in table.groupby(["network", "data"], sort=False)}
    assert set(found) == set(names) and len(panels) == 2 * 3
    titles = [text for text in texts if "\n" in text]
    assert titles == [f"{network}\n{data}" for network, data in found]
    for panel, rows in zip(panels, found.values(), strict=True):
        assert_pictured(panel, rows)
        # Once: Fashion-MNIST is what `network_mixup` is trained on here too.
        expected = of_seed_0(200)
        rows = rows[rows["view"] == "train"]
        near(rows[["x", "y"]].to_numpy(), expected[["x", "y"]].to_numpy())
    assert not any("left out" in text for text in texts)


def test_losses_are_pictured_beside_each_other():
    table, panels, texts = drawn("loss_comparison")
    assert "CNN on Fashion-MNIST, all samples" in texts
    for panel, loss in zip(panels, ("CE", "CE + mixup", "MSE + mixup"), strict=True):
        rows = table[table["loss"] == loss]
        assert_pictured(panel, rows)
        assert len(rows) == len(of_seed_0(200)) + 3


def test_features_are_pictured_about_the_mean_of_their_classes():
    aside = WHOLE["network_mse_mixup"]
    points = aside.samples.copy()
    features = points["view"].isin(["train", "eval"]) & points["x"].notna()
    points.loc[features, ["x", "y"]] += [30.0, -7.0]
    table, *_ = drawn("loss_comparison", network_mse_mixup=replace(aside, samples=points))
    expected, *_ = drawn("loss_comparison")
    pd.testing.assert_frame_equal(table, expected)


def test_of_many_samples_evenly_chosen_ones_are_drawn():
    experiment = WHOLE["network_mse_mixup"]
    many = replace(experiment, samples=pd.concat([experiment.samples] * 60, ignore_index=True))
    table, panels, _ = drawn("loss_comparison", network_mse_mixup=many)
    samples = table[(table["loss"] == "MSE + mixup") & (table["view"] == "train")]
    assert len(samples) == MOST == sum(len(places) for _, places in panels[2])
    shares = samples["mix"].value_counts(normalize=True)
    assert shares.to_numpy() == pytest.approx([0.5, 0.5], abs=0.01)


def test_the_closed_form_is_drawn_under_the_features_found():
    table, panels, _ = drawn("theory_activations")
    shown = [("CE", 1e-1), ("CE", 1e-5), ("CE", 1e-6), ("MSE", 1e-1)]
    assert len(panels) == 4
    for panel, (loss, decay) in zip(panels, shown, strict=True):
        rows = table[(table["loss"] == loss) & (table["feature_decay"] == decay)]
        assert_pictured(panel, rows)
        near(
            np.concatenate([points for colour, points in panel if colour == "black"]),
            rows.loc[rows["view"] == "theory", ["x", "y"]].to_numpy(),
        )
        t = same_class_gap(K, 1.0, decay, loss.lower())
        solved = rows[rows["view"] == "solved"]
        assert len(solved) == 3 + 3 * 3 and solved["second"].max() == 2
        lengths = np.hypot(solved["x"], solved["y"])[~mixed(solved)]
        np.testing.assert_allclose(lengths, t)
        # On the boundary u = v: between two unit vectors at 120 degrees.
        half = solved[mixed(solved) & (solved["mix"] == 0.5)]
        u, v = coordinates(K, 1.0, decay, 0.5, loss.lower())
        np.testing.assert_allclose(np.hypot(half["x"], half["y"]), (u + v) / 2)
        ends = rows[(rows["view"] == "theory") & rows["mix"].isin([0, 1])]
        np.testing.assert_allclose(np.hypot(ends["x"], ends["y"]), t)
        corners = solved[~mixed(solved)].set_index("first")[["x", "y"]]
        whole = ends["first"].where(ends["mix"] == 1, ends["second"])
        np.testing.assert_allclose(ends[["x", "y"]], corners.loc[whole], atol=1e-9 * t)
    assert len(table) == sum(12 + 3 + 3 * 201 for _ in shown)


def test_amplification_is_drawn_over_the_band_of_the_closed_form():
    table, (curves, density), _ = drawn("amplification")
    theory = table[table["series"] == "theory"]
    for kappa in (1e2, 1e6):
        rows = theory[theory["kappa"] == kappa]
        expected = amplification(K, 1.0, K / ((K - 1) * kappa), rows["mix"].to_numpy())
        np.testing.assert_allclose(rows["median"], expected)
    measured = table[table["series"] == "measured"]
    labels = [("CE", None, -0.5), ("CE + mixup", 1.0, 0.8), ("MSE + mixup", None, 0.0)]
    labels.append(("CE + mixup", 0.2, 0.8 * 0.2**0.25))
    for loss, alpha, share in labels:
        own = measured["alpha"].isna() if alpha is None else measured["alpha"] == alpha
        rows = measured[own & (measured["loss"] == loss)].sort_values("mix")
        expected = np.array([reach(share, seed) for seed in range(SEEDS)])
        np.testing.assert_allclose(rows["median"], np.median(expected, 0))
        np.testing.assert_allclose(rows[["low", "high"]].T, [expected.min(0), expected.max(0)])
    both = pd.concat([theory, measured])
    near(np.concatenate([points for _, points in curves]), both[["mix", "median"]].to_numpy())
    bins = table[table["series"] == "density"]
    assert set(bins["loss"]) == {"CE", "CE + mixup", "MSE + mixup"}
    for loss, rows in bins.groupby("loss"):
        (share,) = {share for name, alpha, share in labels if name == loss and alpha in (None, 1.0)}
        # In evaluation mode each pair has three samples.
        edges, found = [*rows["left"], rows["right"].iloc[-1]], []
        for seed in range(SEEDS):
            places = reach(share, seed, 0.5) * (1 + SPREAD * np.array([-1, 0, 1]))
            counts, _ = np.histogram(places, edges)
            found.append(counts / (3 * np.diff(edges)))
        for column, of in (("median", np.median), ("low", np.min), ("high", np.max)):
            np.testing.assert_allclose(rows[column], of(found, axis=0))
        assert (rows["seeds"] == SEEDS).all()


def test_training_is_drawn_in_pictures_and_curves():
    table, panels, texts = drawn("training_evolution")
    assert {f"epoch {epoch}" for epoch in EPOCHS} <= set(texts)
    for panel, epoch in zip(panels, EPOCHS, strict=False):
        rows = table[table["metric"].isna() & (table["step"] == epoch)]
        assert_pictured(panel, rows)
        near(
            rows.loc[rows["view"] == "train", ["x", "y"]].to_numpy(),
            of_seed_0(epoch)[["x", "y"]].to_numpy(),
        )
    assert not panels[3] and not panels[4]
    metrics = ("amplification_half", "convex_r2", "classifier_ETF", "NC1")
    for panel, metric in zip(panels[5:], metrics, strict=True):
        rows = table[table["metric"] == metric]
        # On a logarithmic axis there is no epoch 0.
        assert sorted(rows["step"].unique()) == [20, 200] and len(rows) == 3 * 2
        curves = [points for _, points in panel if np.ptp(points[:, 1]) or len(points) == 2]
        lines = [points for points in curves if points[0, 0] == 20]
        near(np.concatenate(lines), rows[["step", "median"]].to_numpy())
    halves = table[(table["metric"] == "amplification_half") & (table["step"] == 200)]
    for row in halves.itertuples():
        share = {"CE": -0.5, "CE + mixup": 0.8, "MSE + mixup": 0.0}[row.loss]
        expected = [float(reach(share, seed, 0.5)) for seed in range(SEEDS)]
        assert [row.low, row.median, row.high] == pytest.approx(sorted(expected))


def test_layers_are_pictured_in_their_order():
    table, panels, texts = drawn("earlier_layers")
    assert [text for text in texts if text.startswith(("layer", "features"))] == [
        "layer 1", "layer 2", "features",
    ]  # fmt: skip
    for panel, (loss, layer) in zip(panels, product(("CE", "CE + mixup"), LAYERS), strict=False):
        rows = table[table["view"].notna() & (table["loss"] == loss) & (table["layer"] == layer)]
        assert_pictured(panel, rows)
        assert len(rows) == len(of_seed_0(200, layer=layer)) + 3
    for place, metric in ((6, "amplification_half"), (7, "convex_r2")):
        rows = table[table["metric"] == metric]
        assert len(rows) == 2 * 3 and (rows["seeds"] == SEEDS).all()
        marks = rows.assign(place=rows["layer"].map(LAYERS.index))
        lines = {tuple(point) for _, line in panels[place] for point in line.tolist()}
        assert set(places(marks, "place", "median")) <= lines
    last = table[(table["metric"] == "convex_r2") & (table["loss"] == "CE + mixup")]
    # What is left to an exact convex combination.
    assert last["median"].tolist() == pytest.approx([0.064 + 0.01] * 3)


def test_calibration_is_drawn_by_alpha_and_with_its_sign():
    table, panels, _ = drawn("calibration")
    arms = {"none": 0.08, "0.2": -0.05 * 0.2**0.25, "1": -0.05, "frozen ETF": -0.05}
    ece, sure = (table[table["metric"] == name] for name in ("ECE", "confidence_gap"))
    assert ece["arm"].tolist() == sure["arm"].tolist() == list(arms)
    assert sure["median"].tolist() == pytest.approx(list(arms.values()))
    assert ece["median"].tolist() == pytest.approx([abs(gap) + 0.001 for gap in arms.values()])
    accuracy = table[table["metric"] == "test_accuracy"]
    assert accuracy["arm"].tolist() == [*arms, "MSE"]
    np.testing.assert_allclose(accuracy[["low", "median", "high"]], [[0.9, 0.901, 0.902]] * 5)
    bins = table[table["metric"] == "bin_accuracy"]
    assert bins["arm"].tolist() == [name for name in ("none", "0.2", "1") for _ in range(2)]
    assert bins["count"].tolist() == [10, 31] * 3 and bins["confidence"].tolist() == [0.5, 0.9] * 3
    np.testing.assert_allclose(bins["median"], np.tile([0.51, 0.91], 3))
    curves = [points for _, points in panels[0][1:]]
    near(np.concatenate(curves), bins[["confidence", "median"]].to_numpy())


def test_a_frozen_classifier_is_drawn_beside_a_trained_one():
    table, panels, _ = drawn("fixed_etf")
    arms = {"trained classifier": 0.8, "frozen ETF": 0.95}
    for panel, arm in zip(panels, arms, strict=False):
        assert_pictured(panel, table[table["view"].notna() & (table["arm"] == arm)])
    for arm, share in arms.items():
        rows = table[table["arm"] == arm]
        found = rows[rows["series"] == "measured"].sort_values("mix")
        np.testing.assert_allclose(found["median"], reach(share, 1))
        # The gap of the network's own ends gives back the decay that it was made with.
        closed = rows[rows["series"] == "theory"].sort_values("mix")
        np.testing.assert_allclose(closed["median"], reach(1.01, 1, closed["mix"]), rtol=1e-8)
        values = rows.loc[rows["series"] == "test accuracy", "value"]
        assert values.tolist() == pytest.approx([0.9, 0.901, 0.902])
    series = table[table["series"].isin(["measured", "theory"])]
    for panel, arm in zip(panels[2:4], arms, strict=True):
        lines = np.concatenate([points for _, points in panel])
        near(lines, series.loc[series["arm"] == arm, ["mix", "median"]].to_numpy())
        assert {"black"} < {colour for colour, _ in panel}


def test_a_free_classifier_is_drawn_on_the_balance_of_norms():
    # Of exactly zero there is no place on a logarithmic axis.
    exact = valued(MODELS["free_classifier_mse"], "classifier_ETF", 0.0)
    table, panels, _ = drawn("ufm", free_classifier_mse=exact)
    way = table[table["series"] == "gradient descent"]
    assert way["step"].tolist() == [1, 10, 100]
    np.testing.assert_allclose(way["median"], 2 * 10.0 ** (-0.13 * way["step"]))
    near(panels[0][0][1], way[["step", "median"]].to_numpy())
    for loss in ("CE", "MSE"):
        ends = table[table["series"] == f"optimum {loss}"]
        assert ends["feature_decay"].tolist() == sorted(DECAYS[:2])
        np.testing.assert_allclose(ends["median"], {"CE": 2e-13, "MSE": 2.0**-52}[loss])
        for series in ("norm", "balance"):
            rows = table[table["series"] == f"{series} {loss}"]
            expected = [
                balanced_norm(K, WEIGHT_DECAY, decay, 1.0, loss.lower())
                for decay in rows["feature_decay"]
            ]
            assert len(rows) == 2
            np.testing.assert_allclose(rows["median"], expected)
    norms = table[table["series"].str.startswith(("norm", "balance"))]
    lines = [points for _, points in panels[2] if len(points)]
    near(np.concatenate(lines), norms[["feature_decay", "median"]].to_numpy())


@pytest.mark.parametrize("name", STUDY.figures)
def test_a_figure_is_drawn_of_one_seed_and_alpha_without_what_is_optional(name):
    left, lost = dict.fromkeys(STUDY.optional), 0
    for key in set(STUDY.figures[name].reads) - STUDY.optional:
        left[key] = diverged(WHOLE[key], seed=[0, 2])
        if key == "network_mixup":
            left[key] = diverged(left[key], alpha=0.2, seed=1)
        lost += len(left[key].values("diverged"))
    table, _, texts = drawn(name, **left)
    assert any(f"left out: {lost} diverged run" in text for text in texts)
    series = table.reindex(columns=["series"])["series"].astype(str)
    measured = table[~series.str.startswith(("balance", "theory"))]
    assert len(measured)
    if "seeds" in table and name != "fixed_etf":
        assert set(measured["seeds"].dropna()) == {1}
    assert 0.2 not in set(table.get("alpha", ())) and "0.2" not in set(table.get("arm", ()))
    if "network" in table:
        assert set(table["network"]) == {"CNN"} and set(table["data"]) == {"Fashion-MNIST"}
    assert_said(said(name, table))


@pytest.mark.parametrize("name", STUDY.figures)
def test_a_figure_is_drawn_where_every_run_diverged(name):
    lost = {key: diverged(WHOLE[key]) for key in STUDY.figures[name].reads}
    gone = {
        key: replace(each, metrics=each.values("diverged"), samples=each.samples.iloc[:0])
        for key, each in lost.items()
    }
    table, _, texts = drawn(name, canvas=True, **gone)
    assert any("left out" in text for text in texts)
    assert said(name, table) == UNFINISHED
    # Nothing is left but what no run is needed for.
    kinds = ("theory", "weights", "balance CE", "balance MSE")
    rest = table.reindex(columns=["series", "view"]).isin(kinds).any(axis=1)
    assert rest.all()


# What the figures found, in sentences


def said(name, rows):
    return import_module(f"collapse.studies.mixup.{name}").findings(rows)


def assert_said(text):
    assert text.endswith(".") and text[0].isupper() and "nan" not in text and text != UNFINISHED


@pytest.mark.parametrize("name", STUDY.figures)
def test_of_every_figure_something_is_said_and_of_no_rows_that_there_are_none(name):
    table, *_ = drawn(name)
    assert_said(said(name, table))
    assert said(name, table.iloc[:0]) == said(name, pd.DataFrame()) == UNFINISHED


def seeds_of(median, spread=0.0):
    return {"median": median, "low": median - spread, "high": median + spread, "seeds": 3}


def picture(reach, view="train", **names):
    """Two classes at unit distance from the centre, and their even mixes so many times as far."""
    places = [(0, 0, 1.0, 1.0, 0.0), (1, 1, 0.0, 0.0, 1.0), (0, 1, 0.5, reach / 2, reach / 2)]
    # Away from the middle nothing counts, nor along the boundary of another pair.
    places += [(0, 1, 0.7, 9.0, 9.0), (0, 1, 0.5, 9 + reach / 2, reach / 2 - 9)]
    rows = frame(places, "first", "second", "mix", "x", "y").assign(view=view)
    return pd.concat([rows, rows.iloc[:1].assign(view="weights", x=70.0)]).assign(**names)


def test_pictures_say_how_far_out_even_mixes_lie():
    rows = [picture(2.125, loss="CE + mixup"), picture(1.0, loss="MSE + mixup")]
    lead = (
        "For lambda between 0.4 and 0.6 pairs of two classes lie this many times as far from the "
        "centre as the convex combination of both class means: "
    )
    assert said("loss_comparison", pd.concat(rows)) == (
        f"{lead}2.12 with CE + mixup and 1 with MSE + mixup; the closed form has between 1 and 2 "
        "for CE + mixup and 1 for MSE + mixup, and says nothing of CE without mixup."
    )
    alone = picture(1.5, network="ViT", data="digits")
    assert said("activations", alone).startswith(f"{lead}1.5 in ViT on digits; the closed form of ")
    # Of pairs of one class alone, and without an even mix, there is nothing to say.
    for rows in (alone[alone["first"] == alone["second"]], alone[alone["mix"] != 0.5]):
        assert said("activations", rows) == UNFINISHED


def test_the_closed_form_is_said_beside_what_the_optimiser_found():
    closed = picture(1.25, view="theory").query("mix == 0.5 and x < 9")
    ends = frame([(0, 1, 1.0, 1.0, 0.0), (0, 1, 0.0, 0.0, 1.0)], "first", "second", "mix", "x", "y")
    closed = pd.concat([closed, ends.assign(view="theory")])
    found = pd.concat([picture(1.5, view="solved"), closed]).assign(loss="CE", feature_decay=0.01)
    gone = closed.assign(loss="MSE", feature_decay=0.01)
    assert said("theory_activations", pd.concat([found, gone])) == (
        "At lambda = 1/2 the optimiser's features of two classes lie this many times as far from "
        "the centre as the convex combination of both classes': 1.5 with CE at a decay of 0.01; "
        "the closed form has 1.25, and the largest relative difference is 0.2."
    )


def test_amplification_is_said_by_loss_and_alpha_beside_the_closed_form():
    theory = [
        {"series": "theory", "loss": "CE", "mix": mix, "kappa": kappa, "median": median}
        for kappa, median in ((1e2, 1.5), (1e6, 1.75))
        for mix in (0.25, 0.5)
    ]
    theory += [{"series": "theory", "loss": "MSE", "mix": mix, "median": 1.0} for mix in (0, 1)]
    measured = [
        {"series": "measured", "loss": "CE", "mix": 0.5, **seeds_of(0.75)},
        {"series": "measured", "loss": "CE + mixup", "mix": 0.5, "alpha": 0.2, **seeds_of(2, 0.1)},
        {"series": "measured", "loss": "CE + mixup", "mix": 0.25, "alpha": 0.2, **seeds_of(9)},
    ]
    density = [{"series": "density", "loss": "CE", "left": 0, "right": 1, **seeds_of(0.5)}]
    assert said("amplification", pd.DataFrame(theory + measured + density)) == (
        "A(1/2) is 0.75 with CE and 2 (1.9 to 2.1) with CE + mixup at alpha = 0.2, medians over "
        "seeds with their range; the closed form has 1.5 to 1.75 for cross-entropy with mixup, "
        "kappa from 100 to 1e+06, and 1 for MSE."
    )


def test_calibration_is_said_arm_by_arm():
    rows = [
        {"metric": "ECE", "arm": "none", **seeds_of(0.04, 0.01)},
        {"metric": "ECE", "arm": "0.2", **seeds_of(0.02)},
        {"metric": "test_accuracy", "arm": "frozen ETF", **seeds_of(0.95)},
        {"metric": "test_accuracy", "arm": "MSE", **seeds_of(0.9)},
    ]
    assert said("calibration", pd.DataFrame(rows)) == (
        "The expected calibration error, 0 where accuracy follows confidence, is 0.04 (0.03 to "
        "0.05) without mixup and 0.02 at alpha = 0.2. The accuracy is 0.95 with the frozen ETF and "
        "0.9 with MSE + mixup."
    )


def test_a_frozen_classifier_is_said_beside_theory_and_a_trained_one():
    rows = []
    for arm, half, closed in (("trained classifier", 1.5, 1.75), ("frozen ETF", 2.0, 1.5)):
        for mix in (0.0, 0.25, 0.5, 1.0):
            inner = 0 < mix < 1
            found = seeds_of(half if inner else 1.0, 0.1 * inner)
            rows.append({"arm": arm, "series": "measured", "mix": mix, **found})
            found = seeds_of(closed if inner else 1.0)
            rows.append({"arm": arm, "series": "theory", "mix": mix, **found})
        rows += [{"arm": arm, "series": "test accuracy", "value": x} for x in (0.8, 0.9, 0.7)]
    assert said("fixed_etf", pd.DataFrame(rows)) == (
        "A(1/2) is 1.5 (1.4 to 1.6) with the trained classifier and 2 (1.9 to 2.1) with the frozen "
        "ETF; the closed form at each network's own logit gap has 1.75 and 1.5. The mean distance "
        "of A(lambda) from it is 0.125 and 0.25, the median accuracy on held-out images 0.8 and "
        "0.8, in this order."
    )


def test_norm_and_form_of_a_free_classifier_are_said_beside_theory():
    rows = [
        {"series": "gradient descent", "step": 10, **seeds_of(1e-12)},
        {"series": "gradient descent", "step": 1, **seeds_of(0.5)},
        {"series": "optimum CE", "feature_decay": 0.1, **seeds_of(3e-15, 1e-15)},
        {"series": "optimum CE", "feature_decay": 0.01, **seeds_of(1e-15)},
        {"series": "norm CE", "feature_decay": 0.1, **seeds_of(2.0, 0.5)},
        {"series": "balance CE", "feature_decay": 0.1, **seeds_of(2.0)},
        {"series": "balance MSE", "feature_decay": 0.1, **seeds_of(2.0)},
    ]
    descent = (
        "The classifier's distance from a simplex ETF goes from 0.5 at step 1 to 1e-12 at step 10 "
        "of gradient descent (medians over seeds)."
    )
    table = pd.DataFrame(rows)
    assert said("ufm", table) == (
        f"{descent} At the optimum it is at most 4e-15 with CE over all decays and seeds, where an "
        "ETF has 0. The norm of its rows is no further from the balanced one than a share of 0.25 "
        "with CE."
    )
    assert said("ufm", table.iloc[:2]) == descent


@pytest.mark.parametrize(
    ("name", "probe"),
    [("activations", "mixed_points"), ("fixed_etf", "mixed_points"), ("calibration", "calibration"),
     ("amplification", "mixed_curves")],
)  # fmt: skip
def test_a_probe_that_a_figure_needs_is_named_where_it_is_missing(name, probe):
    probes = [each for each in WHOLE["network_mixup"].config["probes"] if each["kind"] != probe]
    bare = configured(WHOLE["network_mixup"], probes=probes)
    with pytest.raises(InputError, match=f"no {probe} found .CNN on Fashion-MNIST"):
        drawn(name, network_mixup=bare)
