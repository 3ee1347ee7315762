"""The imbalanced study: what its claims decide of tables that agree with theory or do not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from collapse import config, jobs
from collapse.studies import Results, along_axes, load
from collapse.studies.imbalanced import claims, network_claims
from collapse.studies.imbalanced.analysis import measured_lengths, released_floor, weight_decays
from collapse.theory import deep_linear, imbalanced
from collapse.theory.frame import lengths

STUDY = load("imbalanced")
ATLAS = config.load("config", {"scale": "paper"})
CIFAR10 = np.repeat([100, 200, 300, 400, 500], 2)
EMNIST = np.array([1500, *[600] * 5, *[50] * 20])


def experiment(name, rows, predictions):
    """Return an experiment of the paper's config with these tables."""
    described = jobs.described(ATLAS, "imbalanced", (name,))[name]
    columns = [*ATLAS.runs("imbalanced", name)[0].keys]
    metrics = pd.DataFrame(rows, columns=[*columns, "step", "layer", "metric", "value"])
    predicted = pd.DataFrame(predictions, columns=[*columns, "metric", "value"])
    samples = pd.DataFrame(columns=[*columns, "step", "layer", "probe"])
    axes = (*STUDY.axes, *STUDY.own_axes.get(name, ()))
    return along_axes(Results(described, metrics, predicted, samples), axes)


def per_class(name, values):
    return [("H1", f"{name}[{k}]", value) for k, value in enumerate(values)]


def frame_rows(found, sizes):
    """Return what is measured of a run that has reached its frame."""
    order = np.argsort(-sizes)
    spectrum = [("W1", f"singular_value[{i}]", v) for i, v in enumerate(found.first_layer[order])]
    return [
        *[("H1", metric, 1e-14) for metric in claims.FRAME],
        *per_class("weight_norm", found.weights),
        *per_class("feature_norm", found.features),
        *[("all", f"class_size[{k}]", float(size)) for k, size in enumerate(sizes)],
        *spectrum,
    ]


@pytest.fixture(scope="module")
def direct():
    sizes, rows, predictions = np.array([200, 100, 50, 50]), [], []
    for depth in claims.DEPTHS:
        found = lengths(sizes, sizes.sum(), [5e-4] * depth, 5e-4)
        loss = deep_linear.predict(
            class_sizes=sizes.tolist(), weight_decay=[5e-4] * depth, feature_decay=5e-4
        )["loss"]
        for seed in range(5):
            rows += [(depth, seed, 30_000, *row) for row in frame_rows(found, sizes)]
            rows.append((depth, seed, 30_000, "all", "objective", loss))
            predictions.append((depth, seed, "loss", loss))
    return experiment("direct_optimisation", rows, predictions)


def verdicts(rows):
    return {row["claim"]: row["verdict"] for row in rows}


def changed(tables, metric, factor):
    rows = tables.metrics
    value = rows["value"].where(rows["metric"] != metric, rows["value"] * factor)
    return replace(tables, metrics=rows.assign(value=value))


def test_what_agrees_with_theory_replicates(direct):
    assert set(verdicts(claims._direct(direct)).values()) == {"replicated"}
    measured = measured_lengths(direct)
    assert len(measured) == 5 * 5 * 3 * 4
    np.testing.assert_allclose(measured["value"], measured["predicted"], rtol=1e-12)


@pytest.mark.parametrize(
    ("metric", "factor", "claim"),
    [
        ("NC2_GOF", 1e5, "gof_M3"),
        ("duality_GOF", 1e5, "gof_M9"),
        ("weight_norm[2]", 1 + 1e-5, "gof_lengths"),
        ("feature_norm[0]", 1 - 1e-5, "gof_lengths"),
        ("singular_value[1]", 1 + 1e-5, "gof_lengths"),
        ("objective", 1 + 1e-9, "gof_loss"),
    ],
)
def test_what_differs_from_theory_does_not(direct, metric, factor, claim):
    found = verdicts(claims._direct(changed(direct, metric, factor)))
    assert found[claim] == "not replicated"
    assert claim.startswith("gof_M") or found["gof_M1"] == "replicated"


@pytest.fixture(scope="module")
def critical():
    """The optimum at every decay of the config, and worse starts beside it."""
    rows, predictions = [], []
    for run in ATLAS.runs("imbalanced", "critical_size"):
        keys, problem = tuple(run.keys.values()), run.config.problem
        found = imbalanced.predict(
            class_sizes=problem.class_sizes,
            depth=problem.depth,
            weight_decay=run.config.weight_decay,
            feature_decay=run.config.feature_decay,
        )
        alive = np.array(problem.class_sizes) > found["critical_class_size"]
        best = run.seed == 3
        rows += [
            (*keys, 7, "all", "objective", found["loss"] * (1 if best else 1.01)),
            *[(*keys, 7, *row) for row in per_class("logit_norm", alive if best else alive * 0)],
            *[(*keys, 7, "all", f"class_size[{k}]", n) for k, n in enumerate(problem.class_sizes)],
        ]
        predictions += [(*keys, name, found[name]) for name in ("loss", "critical_class_size")]
    return experiment("critical_size", rows, predictions)


def test_critical_sizes_are_decided_at_the_best_start(critical):
    assert set(verdicts(claims._critical(critical)).values()) == {"replicated"}
    rows = critical.metrics
    alive = rows["metric"].eq("logit_norm[1]") & rows["seed"].eq(3)
    wrong = replace(
        critical, metrics=rows.assign(value=rows["value"].where(~alive, 1 - rows["value"]))
    )
    assert set(verdicts(claims._critical(wrong)).values()) == {"not replicated"}
    worse = changed(critical, "objective", 1.001)
    assert set(verdicts(claims._critical(worse)).values()) == {"inconclusive"}


def test_critical_sizes_lie_near_a_class_size_at_every_depth():
    for depth in (1, 2, 3):
        ratios = []
        for run in ATLAS.runs("imbalanced", "critical_size"):
            if run.config.problem.depth == depth and run.seed == 0:
                sizes = run.config.problem.class_sizes
                found = imbalanced.predict(
                    class_sizes=sizes,
                    depth=depth,
                    weight_decay=run.config.weight_decay,
                    feature_decay=run.config.feature_decay,
                )
                ratios += [n / found["critical_class_size"] for n in sizes]
        assert min(r for r in ratios if r > 1) < 1.1 and max(r for r in ratios if r < 1) > 0.9


@pytest.mark.parametrize(
    ("sizes", "depth", "weights", "means", "product"),
    [
        (CIFAR10, 1, 4.0e-3, 6.0e-3, 5.4e-3),
        (CIFAR10, 3, 1.9e-3, 1.2e-3, 2.2e-3),
        (CIFAR10, 6, 1.3e-3, 4.2e-4, 1.4e-3),
        (EMNIST, 1, 6.2e-2, 2.6e-2, 7.2e-2),
        (EMNIST, 3, 2.3e-2, 2.8e-3, 3.0e-2),
    ],
)
def test_the_released_targets_have_the_known_floors(sizes, depth, weights, means, product):
    nominal = 1e-5 * len(sizes)
    found = released_floor({"weight_decay": nominal, "feature_decay": nominal}, depth, sizes)
    assert found["NC2_W_GOF"] == pytest.approx(weights, rel=0.04)
    assert found["NC2_GOF"] == pytest.approx(means, rel=0.04)
    assert found["NC3_GOF"] == pytest.approx(product, rel=0.04)


def shuttle(logits):
    """Return Shuttle's experiment with given own logits by decay, all seeds alike."""
    sizes = [34_108, 37, 132, 6_748, 2_458, 6, 11]
    rows = []
    for decay, values in logits.items():
        for seed in range(3):
            rows += [(decay, seed, 400, *row) for row in per_class("own_logit", values)]
            rows += [(decay, seed, 400, "all", f"class_size[{k}]", n) for k, n in enumerate(sizes)]
    return experiment("network_shuttle", rows, [])


def test_shuttle_is_decided_by_the_critical_sizes_of_its_decays():
    agreeing = {
        1e-4: [0.99, 0.7, 0.9, 0.98, 0.97, 0.3, 0.5],
        3e-3: [0.96, 0.0, 0.3, 0.9, 0.8, 0.0, 0.01],
        2e-2: [0.9, 0.0, 0.0, 0.75, 0.6, 0.02, 0.0],
    }
    assert network_claims.network_shuttle(shuttle(agreeing))["verdict"] == "replicated"
    all_alive = dict.fromkeys(agreeing, agreeing[1e-4])
    assert network_claims.network_shuttle(shuttle(all_alive))["verdict"] == "not replicated"


def test_weight_decays_are_named_as_in_the_tables():
    given = {"head": {"depth": 2}, "weight_decay": 1e-3, "grid": {}}
    assert weight_decays(given) == {1e-3: [1e-3, 1e-3]}
    given["grid"] = {"weight_decay": [[1e-3, 2e-3], [0.1, 0.2]]}
    assert weight_decays(given) == {"0.001-0.002": [1e-3, 2e-3], "0.1-0.2": [0.1, 0.2]}
