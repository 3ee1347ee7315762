"""The study of deep recursive feature machines: claims of made-up tables, and its figures."""

import re
from dataclasses import replace
from importlib import import_module
from itertools import combinations_with_replacement, product

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from collapse.plotting import paper_style
from collapse.studies.deep_rfm import STUDY, claims, mlp_claims
from collapse.studies.deep_rfm.layers import ends, falls
from collapse.studies.deep_rfm.starts import by_layer, of_start, start_of
from collapse.studies.deep_rfm.starts import falls as factor_falls
from tables import changed, configured, diverged, results, scaled, undecided, valued, without

DEPTH, CLASSES = 8, 3
ARMS = ("agop", "identity", "shuffled")
LABELS = {
    "model": "deep RFM 8x16", "data": "toys", "classes": list("abc"), "samples": "9 samples a class"
}  # fmt: skip


def layer_rows(feature_map, arm, seed):
    """NC1 ratio falls by 1/4 at the projection and grows by 3/2 at ReLU features; else it grows."""
    ratio, measured = 2.0 + 0.1 * seed, {}
    for step in range(1, DEPTH + 1):
        inside = ratio * (0.25 if arm == "agop" else 1.1)
        # Fourier features give back most of what the projection took.
        outside = inside * (1.5 if feature_map == "relu" else 3.0)
        for layer, value in (("X", ratio), ("MX", inside), ("Phi", outside)):
            measured[step, layer, "NC1_ratio"] = value
            measured[step, layer, "NC1"] = value / 2
            measured[step, layer, "NC2_ETF"] = min(0.8, value)
        measured[step, "all", "error"] = 0.0
        measured[step, "all", "squared_error"] = 1e-6
        measured[step, "all", "test_accuracy"] = 0.9 - (arm != "agop") * 0.05 * step
        ratio = outside
    return measured


def machine(name, seeds=3, maps=("relu",)):
    """An experiment of all arms, its points of six samples of three classes."""
    keys = [
        {"feature_map": m, "projection": arm, "seed": seed}
        for m, arm, seed in product(maps, ARMS, range(seeds))
    ]
    runs = [(key, layer_rows(*key.values()), {}) for key in keys]
    config = {
        "seeds": seeds, "grid": {"projection": list(ARMS)}, "depth": DEPTH,
        "labels": LABELS | {"data": name},
    }  # fmt: skip
    pairs = list(combinations_with_replacement(range(2 * CLASSES), 2))
    points = [
        {**key, "step": step, "layer": layer, "probe": "gram", "row": i, "column": j,
         "row_class": i // 2, "column_class": j // 2,
         "value": 1.0 if i == j else 0.75 if i // 2 == j // 2 else -0.25}
        for key in keys
        for step, layer in [*((step, "X") for step in range(1, DEPTH + 1)), (DEPTH, "Phi")]
        for i, j in pairs
    ]  # fmt: skip
    return replace(results(config, runs), samples=pd.DataFrame(points))


GAINS = (0.1, 2.5)
EPOCHS = (0, 1, 100)


def network_rows(gain, seed):
    """Hidden layers that lower NC1 at both places, the right factor most; a large start nothing."""
    measured = {}
    for step in EPOCHS:
        ratio = 2.0 + 0.1 * seed
        for number in (1, 2, 3):
            trained = step == EPOCHS[-1] and gain == GAINS[0]
            right, after = (ratio / 4, ratio / 5) if trained else (ratio * 1.05, ratio * 1.1)
            layer = f"hidden{number}"
            measured[step, layer, "NC1_ratio_input"] = ratio
            measured[step, layer, "NC1_ratio_right"] = right
            measured[step, layer, "NC1_ratio_output"] = after
            measured[step, layer, "NFA"] = 0.6 + 0.1 * (step == EPOCHS[-1])
            ratio = after
        measured[step, "H1", "NC1_ratio"] = ratio
        measured[step, "all", "error"] = 0.0 if step == EPOCHS[-1] else 0.9
    return measured


def networks(seeds=3):
    runs = [
        ({"gain": gain, "seed": seed}, network_rows(gain, seed), {})
        for gain, seed in product(GAINS, range(seeds))
    ]
    labels = LABELS | {"model": "MLP 3x9 without biases", "loss": "MSE on signs"}
    config = {
        "seeds": seeds, "grid": {"model.gain": list(GAINS)}, "model": {"hidden": [9, 9, 9]},
        "data": {"samples_per_class": 5000}, "labels": labels,
    }  # fmt: skip
    return results(config, runs)


WHOLE = {
    "rfm": machine("images"),
    "rfm_digits": machine("digits", maps=("relu", "fourier")),
    "mlp": networks(),
}
OF_IMAGES = [
    "agop_collapse_images", "identity_no_collapse_images", "shuffled_no_collapse_images",
    "agop_nc2_images", "projection_images", "projection_in_span_images", "accuracy_images",
]  # fmt: skip
NAMES = {
    "rfm": OF_IMAGES,
    "rfm_digits": [name.replace("images", "digits") for name in OF_IMAGES] + ["fourier_direction"],
    "mlp": [
        "right_factor_in_each_layer", "right_factor_over_all_layers", "small_start",
        "neural_feature_ansatz",
    ],
}  # fmt: skip


def rows_of(**experiments):
    return list(claims.decide(WHOLE | experiments))


def decided(name, experiment):
    """Return what was not replicated of the claims that one experiment decides."""
    return undecided(row for row in rows_of(**{name: experiment}) if row["claim"] in NAMES[name])


def verdicts(name, experiment):
    return {claim: verdict for claim, (verdict, _) in decided(name, experiment).items()}


# Claims


def test_what_the_paper_says_replicates():
    rows = rows_of()
    assert [row["claim"] for row in rows] == [name for names in NAMES.values() for name in names]
    assert not undecided(rows) and set(NAMES) == set(STUDY.claims_read)
    assert all(row["statement"].endswith(".") and row["source"] for row in rows)
    bounds = {row["claim"]: (row["bound"], row["tolerance"]) for row in rows}
    assert bounds["agop_collapse_images"] == ("project", 1e-2)
    assert bounds["shuffled_no_collapse_digits"] == ("project", 2.0)
    assert bounds["projection_images"] == bounds["right_factor_in_each_layer"] == ("theory", 0.0)
    assert bounds["small_start"] == ("project", 1.0)


@pytest.mark.parametrize("name", WHOLE)
def test_nothing_is_decided_with_a_seed_too_few(name):
    few = decided(name, configured(WHOLE[name], seeds=2))
    assert set(few) == set(NAMES[name])
    for verdict, measured in few.values():
        assert verdict == "inconclusive" and "(2 of 3 seeds)" in measured


@pytest.mark.parametrize("name", WHOLE)
def test_a_lost_run_leaves_its_claims_undecided(name):
    lost = decided(name, diverged(WHOLE[name], seed=0))
    assert set(lost) == set(NAMES[name])
    for verdict, measured in lost.values():
        assert verdict == "inconclusive" and "diverged" in measured


def test_a_lost_ablation_is_no_matter_for_the_claims_of_others():
    lost = verdicts("rfm", diverged(WHOLE["rfm"], seed=0, projection="shuffled"))
    assert lost == dict.fromkeys(["shuffled_no_collapse_images", "accuracy_images"], "inconclusive")


@pytest.mark.parametrize("name", WHOLE)
def test_nothing_is_decided_where_every_run_diverged(name):
    late = diverged(WHOLE[name])
    at_once = replace(late, metrics=late.values("diverged"))
    for gone in (late, replace(at_once, samples=at_once.samples.iloc[:0])):
        assert verdicts(name, gone) == dict.fromkeys(NAMES[name], "inconclusive")


@pytest.mark.parametrize("name", ["rfm", "rfm_digits"])
@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_that_was_not_run_leaves_its_claims_undecided(name, arm):
    short = name.replace("rfm_", "").replace("rfm", "images")
    less = decided(name, without(WHOLE[name], projection=arm))
    own = {
        "agop": [f"agop_collapse_{short}", f"agop_nc2_{short}", f"projection_{short}",
                 f"projection_in_span_{short}"],
        "identity": [f"identity_no_collapse_{short}"],
        "shuffled": [f"shuffled_no_collapse_{short}"],
    }[arm]  # fmt: skip
    shared = [f"accuracy_{short}"] + (["fourier_direction"] if name == "rfm_digits" else [])
    assert set(less) == {*own, *shared}
    assert all(f"no projection {arm} at this scale" in text for _, text in less.values())


def test_fewer_layers_than_the_code_has_refute_nothing_and_confirm_no_ablation():
    shallow = configured(WHOLE["rfm"], depth=4)
    less = decided("rfm", shallow)
    # What agrees in spite of them is replicated.
    assert set(less) == set(OF_IMAGES) - {
        "agop_collapse_images", "agop_nc2_images", "accuracy_images"
    }  # fmt: skip
    assert all("4 of 8 layers" in text for _, text in less.values())
    kept = changed(shallow, "NC1_ratio", lambda each: each * 0 + 1.0, projection="agop")
    assert verdicts("rfm", kept)["agop_collapse_images"] == "inconclusive"


def last(experiment, metric, factor, arm, **keys):
    """The features of the last layer at so many times the value."""
    return scaled(
        experiment, metric, factor, projection=arm, step=DEPTH, layer="Phi", feature_map="relu",
        **keys,
    )  # fmt: skip


RATIO = (0.25 * 1.5) ** DEPTH
GROWTH = (1.1 * 1.5) ** DEPTH


@pytest.mark.parametrize(("side", "verdict"), [(0.99, None), (1.01, "not replicated")])
def test_collapse_is_a_hundredth_and_none_is_half(side, verdict):
    given = WHOLE["rfm"]
    found = verdicts("rfm", last(given, "NC1_ratio", side * 1e-2 / RATIO, "agop"))
    assert found.pop("agop_collapse_images", None) == verdict and set(found) <= {
        "projection_images"
    }
    for arm in ("identity", "shuffled"):
        found = verdicts("rfm", last(given, "NC1_ratio", 0.5 / side / GROWTH, arm))
        assert found == ({f"{arm}_no_collapse_images": verdict} if verdict else {})
    found = verdicts("rfm", valued(given, "NC2_ETF", 0.8 * side, projection="agop", layer="Phi"))
    assert found == ({"agop_nc2_images": verdict} if verdict else {})


@pytest.mark.parametrize(
    ("metric", "claim"), [("NC1_ratio", "projection"), ("NC1", "projection_in_span")]
)
@pytest.mark.parametrize("seeds", [[0], [0, 1], [0, 1, 2]])
def test_one_layer_at_which_the_features_do_more_counts(metric, claim, seeds):
    given = WHOLE["rfm_digits"]
    worse = scaled(
        given, metric, 3.0, step=3, layer="MX", projection="agop", seed=seeds, feature_map="relu"
    )
    # From 1/4 to 3/4 at the projection, from 3/2 to 1/2 at the features.
    verdict = "inconclusive" if len(seeds) == 1 else "not replicated"
    assert verdicts("rfm_digits", worse) == {f"{claim}_digits": verdict}


@pytest.mark.parametrize(
    ("metric", "claim"), [("NC1_ratio", "projection"), ("NC1", "projection_in_span")]
)
def test_a_projection_that_raises_nc1_less_than_the_features_do_lowers_nothing(metric, claim):
    # To 11/10 at the projection, from there to 16/10.
    keys = {"step": 3, "projection": "agop"}
    raised = scaled(WHOLE["rfm"], metric, 4.4, layer="MX", **keys)
    raised = scaled(raised, metric, 6.4 / 1.5, layer="Phi", **keys)
    assert verdicts("rfm", raised) == {f"{claim}_images": "not replicated"}


def test_an_error_at_one_layer_of_one_arm_tells_the_arms_apart():
    wrong = valued(WHOLE["rfm"], "error", 1e-3, step=5, projection="shuffled", seed=[0, 1])
    assert verdicts("rfm", wrong) == {"accuracy_images": "not replicated"}


@pytest.mark.parametrize(("arm", "value"), [("agop", 3.0), ("identity", 1.0), ("shuffled", 1.0)])
def test_each_arm_of_fourier_features_has_its_direction(arm, value):
    keys = {"feature_map": "fourier", "projection": arm, "step": DEPTH, "layer": "Phi"}
    turned = valued(WHOLE["rfm_digits"], "NC1_ratio", value, **keys)
    assert verdicts("rfm_digits", turned) == {"fourier_direction": "not replicated"}


def test_without_fourier_features_nothing_is_said_of_them():
    less = decided("rfm_digits", machine("digits"))
    assert set(less) == {"fourier_direction"}
    assert "no fourier features at this scale" in less["fourier_direction"][1]


@pytest.mark.parametrize(("factor", "verdict"), [(0.45, None), (2.0, "not replicated")])
def test_the_right_factor_of_every_layer_counts(factor, verdict):
    """At layer 2 the right factor has a factor of 4 of 5: with 2 of it 2 of 5 are left."""
    keys = {"gain": 0.1, "layer": "hidden2", "step": 100}
    found = verdicts("mlp", scaled(WHOLE["mlp"], "NC1_ratio_right", factor, **keys))
    assert found == ({"right_factor_in_each_layer": verdict} if verdict else {})


def test_all_layers_together_may_do_what_one_does_not():
    keys = {"gain": 0.1, "step": 100}
    everywhere = scaled(WHOLE["mlp"], "NC1_ratio_right", 2.0, **keys)
    assert verdicts("mlp", everywhere) == dict.fromkeys(
        ["right_factor_in_each_layer", "right_factor_over_all_layers"], "not replicated"
    )


def test_right_factors_that_raise_nc1_less_than_the_relus_do_lower_nothing():
    keys = {"gain": 0.1, "step": 100}
    # From 1 to 11/10 at the right factor, to 15/10 at the ReLU: in one layer, then in all.
    raised = scaled(WHOLE["mlp"], "NC1_ratio_right", 4.4, layer="hidden3", **keys)
    raised = scaled(raised, "NC1_ratio_output", 7.5, layer="hidden3", **keys)
    assert verdicts("mlp", raised) == {"right_factor_in_each_layer": "not replicated"}
    raised = scaled(WHOLE["mlp"], "NC1_ratio_right", 4.4, **keys)
    raised = scaled(raised, "NC1_ratio_output", 7.5, **keys)
    assert verdicts("mlp", raised) == dict.fromkeys(
        ["right_factor_in_each_layer", "right_factor_over_all_layers"], "not replicated"
    )


@pytest.mark.parametrize(("side", "verdict"), [(0.99, None), (1.01, "not replicated")])
def test_a_small_start_is_twenty_times_nearer_to_collapse(side, verdict):
    small, large = ((2.0 + 0.1 * np.arange(3)) * factor for factor in (0.2**3, 1.1**3))
    factor = side * (large / small).min() / 20
    keys = {"gain": 0.1, "step": 100, "layer": "H1"}
    found = verdicts("mlp", scaled(WHOLE["mlp"], "NC1_ratio", factor, **keys))
    assert found == ({"small_start": verdict} if verdict else {})


@pytest.mark.parametrize(("value", "verdict"), [(0.51, None), (0.49, "not replicated")])
def test_the_ansatz_is_a_correlation_of_one_half_in_every_layer(value, verdict):
    keys = {"gain": 0.1, "step": 100, "layer": "hidden3"}
    found = verdicts("mlp", valued(WHOLE["mlp"], "NFA", value, **keys))
    assert found == ({"neural_feature_ansatz": verdict} if verdict else {})


def test_networks_that_have_not_learnt_are_not_judged():
    unlearnt = valued(WHOLE["mlp"], "error", 0.021, step=100, gain=0.1, seed=1)
    less = decided("mlp", unlearnt)
    assert set(less) == set(NAMES["mlp"])
    assert all("training error above 2%" in text for _, text in less.values())
    # Of a large start only the claim that compares both.
    unlearnt = valued(WHOLE["mlp"], "error", 0.021, step=100, gain=2.5)
    assert verdicts("mlp", unlearnt) == {"small_start": "inconclusive"}


@pytest.mark.parametrize(("gain", "start"), [(0.1, "small"), (2.5, "large")])
def test_a_start_that_was_not_run_leaves_its_claims_undecided(gain, start):
    less = decided("mlp", without(WHOLE["mlp"], gain=gain))
    assert set(less) == (set(NAMES["mlp"]) if start == "small" else {"small_start"})
    assert all(f"no {start} start at this scale" in text for _, text in less.values())


def test_on_fewer_samples_networks_refute_nothing():
    few = configured(WHOLE["mlp"], data={"samples_per_class": 100})
    assert not decided("mlp", few)
    worse = valued(few, "NFA", 0.1, gain=0.1, step=100)
    ((verdict, text),) = decided("mlp", worse).values()
    assert verdict == "inconclusive" and "100 of 5000 samples a class" in text
    whole = configured(worse, data={"samples_per_class": None})
    assert verdicts("mlp", whole) == {"neural_feature_ansatz": "not replicated"}


# What claims and figures are made of


def test_ends_are_the_first_inputs_and_the_last_features():
    found = ends(WHOLE["rfm_digits"], "NC1_ratio", "fourier", "agop")
    assert found["input"].tolist() == [2.0, 2.1, 2.2]
    np.testing.assert_allclose(found["output"] / found["input"], 0.75**DEPTH)


def test_falls_are_logarithms_of_each_layer():
    found = falls(WHOLE["rfm_digits"], "NC1_ratio")
    assert len(found) == 3 * DEPTH and found.index.names == ["seed", "step"]
    np.testing.assert_allclose(found["projection"], np.log(4))
    np.testing.assert_allclose(found["map"], -np.log(1.5))
    assert falls(diverged(WHOLE["rfm"]), "NC1_ratio").empty


def test_falls_of_factors_are_those_at_the_end():
    found = factor_falls(WHOLE["mlp"], "small")
    assert len(found) == 9 and sorted(found["number"].unique()) == [1, 2, 3]
    np.testing.assert_allclose(found["right"], np.log(4))
    np.testing.assert_allclose(found["rest"], np.log(5 / 4))
    rising = factor_falls(WHOLE["mlp"], "large")
    np.testing.assert_allclose(rising["right"], -np.log(1.05))


def test_starts_are_the_most_extreme_gains():
    assert [start_of(gain) for gain in (0.1, 0.3, 0.31, 0.99, 1.0, 4)] == [
        "small", "small", None, None, "large", "large"
    ]  # fmt: skip
    rows = pd.DataFrame({"gain": [0.1, 0.2, 0.5, 1.5, 2.0]})
    assert of_start(rows, "small")["gain"].tolist() == [0.1]
    assert of_start(rows, "large")["gain"].tolist() == [2.0]
    assert of_start(rows.iloc[2:3], "small").empty
    assert set(by_layer(WHOLE["mlp"], "NFA")["number"]) == {1, 2, 3}


# Figures


def drawn(name, **experiments):
    """Draw a figure; return its table and its panels."""
    reads = STUDY.figures[name].reads
    given = {key: (WHOLE | experiments)[key] for key in reads}
    with paper_style():
        figure, table = import_module(f"collapse.studies.deep_rfm.{name}").draw(given)
        figure.canvas.draw()
        return table, figure.axes


def found(name, table):
    return import_module(f"collapse.studies.deep_rfm.{name}").findings(table)


@pytest.mark.parametrize("name", STUDY.figures)
def test_a_figure_is_drawn_of_the_runs_that_are_left(name):
    reads = STUDY.figures[name].reads
    table, _ = drawn(name, **{key: diverged(WHOLE[key], seed=0) for key in reads})
    assert len(table)
    assert re.fullmatch(r"[A-Z].*\.", found(name, table)) and "nan" not in found(name, table)


@pytest.mark.parametrize("name", STUDY.figures)
def test_a_figure_is_drawn_where_every_run_diverged(name):
    reads = STUDY.figures[name].reads
    lost = {key: diverged(WHOLE[key]) for key in reads}
    gone = {key: replace(item, metrics=item.values("diverged")) for key, item in lost.items()}
    gone = {key: replace(item, samples=item.samples.iloc[:0]) for key, item in gone.items()}
    for changes in (lost, gone):
        table, _ = drawn(name, **changes)
        assert found(name, table) == "No run reached its end."


@pytest.mark.parametrize("name", STUDY.figures)
def test_nothing_is_found_in_no_rows(name):
    assert found(name, drawn(name)[0].iloc[:0]) == "No run reached its end."


@pytest.mark.parametrize("name", STUDY.figures)
def test_a_figure_reads_what_the_study_says(name):
    figure = STUDY.figures[name]
    assert set(figure.reads) <= set(WHOLE) and figure.caption.endswith(".")
    with pytest.raises(KeyError), paper_style():
        import_module(f"collapse.studies.deep_rfm.{name}").draw(
            {key: WHOLE[key] for key in figure.reads[1:]}
        )


def test_layers_are_drawn_at_their_three_places():
    table, panels = drawn("collapse_by_layer")
    assert len(panels) == 12
    rows = table[
        (table["experiment"] == "rfm") & (table["metric"] == "NC1_ratio")
        & (table["projection"] == "agop")
    ]  # fmt: skip
    assert len(rows) == 3 * DEPTH and (rows["seeds"] == 3).all()
    assert rows["place"].tolist()[:4] == ["X", "MX", "Phi", "X"]
    np.testing.assert_allclose(rows["at"], 1 + np.arange(3 * DEPTH) / 3)
    np.testing.assert_allclose(rows["median"].to_numpy()[:3], [2.1, 2.1 / 4, 2.1 * 1.5 / 4])
    np.testing.assert_allclose(rows["high"].to_numpy()[:1], 2.2)
    heights = panels[0].lines[0].get_ydata()
    np.testing.assert_allclose(heights, rows["median"])
    # Fourier features are drawn of digits alone, with every arm.
    fourier = table[table["feature_map"] == "fourier"]
    assert set(fourier["experiment"]) == {"rfm_digits"} and set(fourier["projection"]) == set(ARMS)
    training = table[table["metric"] == "accuracy"]
    assert (training["median"] == 1).all() and len(training) == 9 * DEPTH


def test_two_machines_on_one_data_set_are_told_apart():
    wide = configured(WHOLE["rfm"], labels=LABELS | {"model": "deep RFM 8x32", "data": "digits"})
    first, second, *_ = found("collapse_by_layer", drawn("collapse_by_layer", rfm=wide)[0]).split(
        ". "
    )
    assert "of a deep RFM 8x32 on digits goes" in first
    assert "of a deep RFM 8x16 on digits goes" in second


@pytest.mark.parametrize(("depth", "size"), [(8, 2.4), (10, 2.4), (20, 1.2)])
def test_markers_of_many_layers_are_small(depth, size):
    table = WHOLE["rfm"].metrics
    deep = replace(WHOLE["rfm"], metrics=table.assign(step=table["step"] + depth - DEPTH))
    _, panels = drawn("collapse_by_layer", rfm=deep)
    for panel, expected in ((panels[0], size), (panels[3], 2.4)):
        sizes = [line.get_markersize() for line in panel.lines if line.get_marker() == "v"]
        assert sizes == [expected] * len(sizes) and sizes


def test_what_is_found_of_layers():
    sentences = found("collapse_by_layer", drawn("collapse_by_layer")[0]).split(". ")
    start = "the median NC1 ratio of a deep RFM 8x16 on images goes from 2.1 to"
    assert f"{start} {2.1 * RATIO:.3g} with the AGOP" in sentences[0]
    assert f"2.1 to {2.1 * GROWTH:.3g} with a shuffled basis" in sentences[0]
    assert "on digits goes" in sentences[1]
    assert sentences[2] == (
        "With the AGOP and ReLU features the projection multiplies it by 0.25 in a layer, the "
        "random features by 1.5"
    )
    assert sentences[3].startswith(
        "With random Fourier features the median NC1 ratio of a deep RFM 8x16 on digits goes"
    )
    assert sentences[4] == (
        "The median accuracy of kernel regression on the training samples is 1 in all layers of "
        "all arms, on samples held out 0.5 to 0.9."
    )


def test_a_gram_matrix_is_drawn_for_each_arm_and_layer():
    table, panels = drawn("gram")
    images = [image.get_array() for panel in panels for image in panel.get_images()]
    assert len(images) == 15
    expected = np.kron(np.eye(CLASSES), np.ones((2, 2)))
    expected = np.where(expected > 0, 0.75, -0.25) + 0.25 * np.eye(6)
    for image in images:
        np.testing.assert_allclose(image, expected)
    assert len(table) == 15 * 21 and set(table["number"]) == {1, 3, 6, 8}
    assert found("gram", table) == (
        "Of the last layer's features the mean cosine between two samples of one class and of two "
        "classes is 0.75 and -0.25 with the AGOP, 0.75 and -0.25 with M = I and 0.75 and -0.25 "
        "with a shuffled basis; collapse to a simplex has 1 and -1/(K-1) = -0.5."
    )


def test_factors_are_drawn_of_both_starts():
    table, panels = drawn("mlp_factors")
    small = table[(table["start"] == "small") & ~table["place"].str.startswith("fall")]
    assert small["place"].tolist() == ["input", "right", "output"] * 3
    np.testing.assert_allclose(small["at"], [1, 1.5, 2, 2, 2.5, 3, 3, 3.5, 4])
    np.testing.assert_allclose(small["median"].to_numpy()[:4], [2.1, 2.1 / 4, 2.1 / 5, 2.1 / 5])
    assert len(panels[0].lines[0].get_ydata()) == 7
    heights = [bar.get_height() for bar in panels[2].patches]
    assert len(heights) == 12
    expected = [np.log(4), np.log(5 / 4), -np.log(1.05), -np.log(1.1 / 1.05)]
    np.testing.assert_allclose(heights, np.repeat(expected, 3))
    assert panels[0].get_title("left") == "small start, gain 0.1"
    share = np.log(4) / np.log(5)
    assert found("mlp_factors", table) == (
        f"From a small start the median NC1 ratio goes from 2.1 of the images to {2.1 / 125:.3g} "
        "of the features; the right factor lowers it, and by more than the ReLU does, in 3 of 3 "
        f"hidden layers, all together by {share:.3g} of its logarithm's fall. From a large start "
        "the median NC1 ratio goes from 2.1 of the images to 2.8 of the features; the right factor "
        "lowers it, and by more than the ReLU does, in 0 of 3 hidden layers."
    )


def test_correlations_are_drawn_from_the_start_on():
    table, panels = drawn("nfa")
    rows = table[(table["metric"] == "NFA") & (table["start"] == "small")]
    assert sorted(rows["step"].unique()) == [0, 1, 100] and len(rows) == 9
    assert len(panels[0].lines) == len(panels[1].lines) == 3
    assert panels[0].get_xlim()[0] == 0
    # Both curves, and the circles where no error is left.
    circles = [line for line in panels[2].lines if len(line.get_xdata()) == 1]
    assert [line.get_xdata()[0] for line in circles] == [100, 100]
    text = found("nfa", table)
    assert text.startswith(
        "From a small start the median correlation over all hidden layers is 0.6 at the start and "
        "0.7 at epoch 100, at a median training error of 0."
    )


@pytest.mark.parametrize("name", ["mlp_factors", "nfa"])
def test_a_start_that_was_not_run_is_said(name):
    table, panels = drawn(name, mlp=without(WHOLE["mlp"], gain=2.5))
    assert panels[1].get_title("left") == "no large start"
    assert set(table["start"].dropna()) == {"small"}
    assert "large" not in found(name, table)
    plt.close("all")


def test_the_claims_of_networks_stand_in_their_order():
    assert [row["claim"] for row in mlp_claims.decide(WHOLE["mlp"])] == NAMES["mlp"]
