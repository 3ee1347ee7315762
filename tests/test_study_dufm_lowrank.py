"""The low-rank study: what its claims decide of made-up tables, and what its figures draw."""

import math
from dataclasses import replace
from importlib import import_module
from itertools import product

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from collapse.plotting import paper_style
from collapse.studies.dufm_lowrank import STUDY, claims, moving, training
from collapse.studies.dufm_lowrank.analysis import (
    alive,
    class_means,
    found_dnc,
    mean_ranks,
    relative_losses,
)
from collapse.studies.dufm_lowrank.rank import wilson
from collapse.studies.moving import of_run
from collapse.studies.moving_classes import scene as by_class
from collapse.theory.dufm_lowrank import collapsed_loss, predict
from tables import configured, diverged, results, scaled, undecided, valued, without

DECAY = 0.004


def config_of(seeds=3, classes=10, depth=4, decay=DECAY, samples=1, grid=None):
    return {
        "seeds": seeds,
        "grid": grid or {},
        "problem": {
            "kind": "dufm",
            "classes": classes,
            "depth": depth,
            "samples_per_class": samples,
            "widths": 30,
        },
        "optimiser": [{"kind": "sgd", "steps": 60000}, {"kind": "lbfgs", "steps": 2000}],
        "weight_decay": decay,
        "feature_decay": decay,
    }


def closed(config, edges=0, **run):
    shape = {key: config["problem"][key] for key in ("classes", "depth", "samples_per_class")}
    decays = {key: config[key] for key in ("weight_decay", "feature_decay")}
    return collapsed_loss(edges, **{**shape, **decays, **run})


def forms(config, **run):
    shape = {key: config["problem"][key] for key in ("classes", "depth", "samples_per_class")}
    decays = {key: config[key] for key in ("weight_decay", "feature_decay")}
    answer = predict(**{**shape, **decays, **run})
    return {key: value for key, value in answer.items() if value is not None}


def layers_of(step, ranks, classes, ratio=1e-8):
    """Ranks of layers 2 on, full rank behind their ReLUs, and a collapse of each."""
    measured = {}
    for number, rank in enumerate(ranks, 2):
        layer = f"H{number}"
        measured[step, layer, "rank"] = rank
        measured[step, layer, "rank_rectified"] = classes if number == len(ranks) + 1 else rank
        measured[step, layer, "NC1_ratio"] = ratio
        for place in range(classes):
            value = 2.0 if place < rank else 1e-5
            measured[step, layer, f"singular_value[{place}]"] = value / (1 + place)
    return measured


def starts_of(config, keys_of_run, edges):
    """Runs that start at a closed form and gain a little by descent."""
    runs = []
    for keys in keys_of_run:
        run = {key: keys[key] for key in ("depth", "classes") if key in keys}
        first = closed(config, edges(keys), **run)
        gain = 0.98 if keys.get("classes", config["problem"]["classes"]) == 6 else 0.999
        measured = {(0, "all", "loss"): first, (900, "all", "loss"): gain * first}
        runs.append((keys | {"seed": 0}, measured, forms(config, **run)))
    return results(config, runs)


def ends_of(config, ends, last=500, ranks=None):
    """Runs of the given loss over that of DNC, by keys without the seed."""
    runs = []
    for keys, values in ends:
        run = {key: keys[key] for key in ("depth", "classes", "weight_decay") if key in keys}
        if "weight_decay" in run:
            run["feature_decay"] = run["weight_decay"]
        answer = forms(config, **run)
        classes = run.get("classes", config["problem"]["classes"])
        depth = run.get("depth", config["problem"]["depth"])
        for seed, value in enumerate(values):
            rank = (ranks or {}).get(tuple(keys.values()), classes)
            measured = {(last, "all", "loss"): value * answer["loss_dnc"]}
            measured[last, "all", "fit"] = 1e-4
            measured |= layers_of(last, [rank] * (depth - 1), classes)
            runs.append((keys | {"seed": seed}, measured, answer))
    return results(config, runs)


def with_points(experiment, matrices):
    """The experiment with class means by layer, the same for every run and its last step."""
    frames = []
    last = experiment.metrics.groupby(experiment.keys)["step"].agg(["min", "max"]).reset_index()
    for run in last.to_dict("records"):
        keys = {key: run[key] for key in experiment.keys}
        for step in {run["min"], run["max"]}:
            for layer, matrix in matrices.items():
                units, columns = np.indices(matrix.shape)
                flat = {"unit": units.ravel(), "class": columns.ravel(), "mean": matrix.ravel()}
                place = {**keys, "step": step, "layer": layer, "probe": "relu_head"}
                frames.append(pd.DataFrame(flat).assign(rectified=flat["mean"].clip(0), **place))
    return replace(experiment, samples=pd.concat(frames, ignore_index=True))


LOW = np.vstack([np.eye(5), np.zeros((1, 5))]) @ np.arange(50.0).reshape(5, 10) ** 0.5


def descent(seeds=3):
    config = config_of(seeds, samples=50)
    answer, runs = forms(config), []
    for seed in range(seeds):
        measured = {(0, "all", "loss"): 9.0}
        for step in (100, 62000):
            measured[step, "all", "loss"] = (0.9 - seed / 100) * answer["loss_dnc"]
            measured |= layers_of(step, [6, 6, 7], 10)
        runs.append(({"seed": seed}, measured, answer))
    return with_points(results(config, runs), {"H3": LOW, "H4": LOW - 1})


def network(seeds=5):
    config = {
        "seeds": seeds,
        "grid": {},
        "training": {"epochs": 300},
        "model": {"kind": "cnn"},
        "head": {"depth": 4},
        "labels": {
            "model": "ResNet20",
            "data": "digits",
            "classes": list(range(10)),
            "samples": "all samples",
            "loss": "MSE",
        },
    }
    answer = {"loss_dnc": 0.17, "loss_srg": 0.14}
    runs = [
        (
            {"seed": seed},
            {(1, "all", "loss"): 1.0, (300, "all", "loss"): 0.15}
            | layers_of(1, [10, 10, 10], 10, 0.5)
            | layers_of(300, [10, 8, 8], 10, 5e-3),
            answer,
        )
        for seed in range(seeds)
    ]
    return results(config, runs)


def given_experiments():
    one = config_of(1)
    depths = {"problem.depth": [3, 4, 5]}
    small = config_of(1, decay=0.001, grid=depths)
    between = config_of(1, classes=12, depth=3, decay=0.001)
    grid = [{"depth": d, "classes": k} for d, k in product((3, 4, 5), (6, 10, 15, 21))]
    mixed = [{"depth": d, "graph_classes": e} for d, e in product((3, 4), (6, 10))]
    few = config_of(12, classes=3, grid={"problem.classes": [3, 4, 5]})
    decays = (0.001, 0.002, 0.004, 0.008, 0.016)
    widths = (10, 20, 40, 80)
    low = {"H3": LOW[:, :3], "H4": LOW[:, :3] - 1}
    return {
        "structures": with_points(
            starts_of(one, [{"graph_classes": e} for e in (0, 10)], lambda k: k["graph_classes"]),
            {"H3": LOW, "H4": LOW - 1},
        ),
        "ratio": starts_of(small, grid, lambda keys: keys["classes"]),
        "blocks": starts_of(between, mixed, lambda keys: keys["graph_classes"]),
        "near_dnc": ends_of(config_of(), [({}, [1 + 1e-8] * 3)]),
        "generic_search": ends_of(config_of(12, depth=3, decay=0.001), [({}, [1.0] * 12)]),
        "descent": descent(),
        "decay": ends_of(
            config_of(),
            [({"weight_decay": decay}, [0.9] * 3) for decay in decays],
            ranks={(decay,): rank for decay, rank in zip(decays, (10, 9, 8, 7, 6), strict=True)},
        ),
        "width": ends_of(
            config_of(),
            [({"widths": w}, [0.9, 0.9, 0.9] if w < 80 else [1.0, 1.0, 0.9]) for w in widths],
        ),
        "few_classes": with_points(
            ends_of(few, [({"classes": k}, [1.0] * 11 + [0.98]) for k in (3, 4, 5)]), low
        ),
        "fifteen_classes": with_points(
            ends_of(config_of(classes=15, depth=7), [({}, [0.62] * 3)]), {"H6": LOW, "H7": LOW - 1}
        ),
        "two_layers": ends_of(
            config_of(depth=2, classes=2),
            [({"classes": k}, [1.0, 1.2, 1.0]) for k in (2, 3, 5, 10)],
        ),
        "two_classes": ends_of(
            config_of(classes=2), [({"depth": d}, [1.0, 1.0, 13.0]) for d in (3, 4, 5)]
        ),
        "network": network(),
    }  # fmt: skip


GIVEN = given_experiments()
NAMES = {
    "structures": ["dnc_and_srg_loss"],
    "ratio": ["srg_loss", "table_cells", "srg_gain", "four_vertices", "search_misses"],
    "blocks": ["between_graphs"],
    "near_dnc": ["dnc_local"],
    "generic_search": ["search_finds_dnc", "search_misses"],
    "two_layers": ["two_layers"],
    "two_classes": ["two_classes"],
    "descent": ["descent_below_dnc", "descent_dnc1", "descent_rank", "descent_last_relu"],
    "decay": ["rank_falls"],
    "width": ["dnc_with_width"],
    "few_classes": ["few_classes"],
    "fifteen_classes": ["fifteen_classes"],
    "network": ["network_below_dnc", "network_dnc1", "network_rank"],
}
SEEDS = {"near_dnc": 3, "generic_search": 10, "few_classes": 10, "network": 2}


def rows_of(**changes):
    return list(claims.decide({**GIVEN, **changes}))


def open_claims(**changes):
    """Return the verdict of what is not replicated, by claim."""
    return {name: verdict for name, (verdict, _) in undecided(rows_of(**changes)).items()}


def test_what_agrees_with_theory_replicates():
    rows = rows_of()
    assert not undecided(rows)
    assert {row["claim"] for row in rows} == {name for names in NAMES.values() for name in names}
    assert {*NAMES} == set(STUDY.claims_read)
    assert all(row["statement"] and row["source"] and row["expected"] for row in rows)


@pytest.mark.parametrize("name", [name for name in GIVEN if name in STUDY.optional])
def test_without_an_experiment_its_claims_stay_undecided(name):
    experiments = {key: value for key, value in GIVEN.items() if key != name}
    found = undecided(claims.decide(experiments))
    assert set(found) == set(NAMES[name])
    for verdict, measured in found.values():
        assert verdict == "inconclusive" and f"no {name} at this scale" in measured


@pytest.mark.parametrize("name", GIVEN)
def test_a_lost_run_leaves_its_claims_undecided(name):
    found = undecided(rows_of(**{name: diverged(GIVEN[name], seed=0)}))
    assert set(found) == set(NAMES[name])
    for verdict, measured in found.values():
        assert verdict == "inconclusive" and "diverged" in measured


@pytest.mark.parametrize(
    ("name", "claim"),
    [
        ("structures", "dnc_and_srg_loss"),
        ("near_dnc", "dnc_local"),
        ("generic_search", "search_finds_dnc"),
        ("descent", "descent_below_dnc"),
        ("decay", "rank_falls"),
        ("fifteen_classes", "fifteen_classes"),
    ],
)
def test_nothing_is_said_of_ten_classes_or_fifteen_where_there_are_others(name, claim):
    wanted = GIVEN[name].config["problem"]["classes"]
    others = configured(GIVEN[name], problem__classes=12)
    verdict, measured = undecided(rows_of(**{name: others}))[claim]
    assert verdict == "inconclusive" and f"no classes {wanted} at this scale" in measured


@pytest.mark.parametrize("name", [name for name, names in NAMES.items() if name != "structures"])
def test_nothing_is_decided_with_a_seed_too_few(name):
    needed = SEEDS.get(name, 3)
    found = undecided(rows_of(**{name: configured(GIVEN[name], seeds=needed - 1)}))
    # Closed forms and what descent makes of them are the same for all seeds.
    single = {"srg_loss", "table_cells", "srg_gain", "four_vertices", "between_graphs"}
    single |= {"search_misses"}
    assert set(found) == set(NAMES[name]) - single
    assert all(verdict == "inconclusive" for verdict, _ in found.values())


@pytest.mark.parametrize(
    ("name", "gone", "claim"),
    [
        ("structures", {"graph_classes": 0}, ["dnc_and_srg_loss"]),
        ("ratio", {"depth": 5}, ["srg_loss", "table_cells", "four_vertices"]),
        ("ratio", {"classes": 21}, ["srg_loss", "table_cells", "srg_gain"]),
        ("blocks", {"depth": 4}, ["between_graphs"]),
        ("two_layers", {"classes": 5}, ["two_layers"]),
        ("two_classes", {"depth": 3}, ["two_classes"]),
        ("decay", {"weight_decay": 0.002}, ["rank_falls"]),
        ("width", {"widths": 40}, ["dnc_with_width"]),
        ("few_classes", {"classes": 4}, ["few_classes"]),
    ],
)
def test_an_arm_that_a_scale_leaves_out_leaves_its_claims_undecided(name, gone, claim):
    found = open_claims(**{name: without(GIVEN[name], **gone)})
    assert found == dict.fromkeys(claim, "inconclusive")


@pytest.mark.parametrize(
    ("name", "change", "claim"),
    [
        ("structures", lambda e: scaled(e, "loss", 1 + 2e-10), ["dnc_and_srg_loss"]),
        ("ratio", lambda e: scaled(e, "loss", 1 + 2e-10), ["srg_loss"]),
        ("near_dnc", lambda e: scaled(e, "loss", 1 - 2e-6), ["dnc_local"]),
        ("generic_search", lambda e: scaled(e, "loss", 0.99), ["search_finds_dnc"]),
        ("two_layers", lambda e: scaled(e, "loss", 0.999), ["two_layers"]),
        ("two_classes", lambda e: scaled(e, "loss", 0.999), ["two_classes"]),
        ("descent", lambda e: scaled(e, "loss", 1.2), ["descent_below_dnc"]),
        ("descent", lambda e: scaled(e, "NC1_ratio", 1e5), ["descent_dnc1"]),
        ("descent", lambda e: valued(e, "rank", 10, layer="H2"), ["descent_rank"]),
        ("descent", lambda e: valued(e, "rank_rectified", 9), ["descent_last_relu"]),
        ("decay", lambda e: valued(e, "rank", 10, weight_decay=0.016), ["rank_falls"]),
        ("width", lambda e: scaled(e, "loss", 0.9, widths=80), ["dnc_with_width"]),
        ("width", lambda e: valued(e, "rank_rectified", 9, layer="H3"), ["dnc_with_width"]),
        ("few_classes", lambda e: scaled(e, "loss", 1.03), ["few_classes"]),
        ("fifteen_classes", lambda e: scaled(e, "loss", 1.7), ["fifteen_classes"]),
        ("network", lambda e: scaled(e, "loss", 1.2), ["network_below_dnc"]),
        ("network", lambda e: scaled(e, "NC1_ratio", 3), ["network_dnc1"]),
        ("network", lambda e: valued(e, "rank", 10), ["network_rank"]),
    ],
)
def test_what_disagrees_does_not_replicate(name, change, claim):
    assert open_claims(**{name: change(GIVEN[name])}) == dict.fromkeys(claim, "not replicated")


def test_the_cells_of_the_theorem_are_decided_by_their_signs():
    higher = scaled(GIVEN["ratio"], "loss", 1.4, depth=5, classes=10)
    found = open_claims(ratio=higher)
    # One of twelve cells is on the other side: its seeds, so to speak, disagree.
    assert found["table_cells"] == "inconclusive"
    lower = scaled(GIVEN["ratio"], "loss", 0.9, depth=3, classes=6)
    assert open_claims(ratio=lower)["table_cells"] == "inconclusive"


def test_descent_from_a_graph_is_held_against_its_start():
    ratio = GIVEN["ratio"]
    assert "srg_gain" in open_claims(ratio=scaled(ratio, "loss", 0.98, step=900, classes=21))
    flat = scaled(ratio, "loss", 1 / 0.98, step=900, classes=6)
    assert open_claims(ratio=flat) == {"four_vertices": "not replicated"}
    assert open_claims(ratio=scaled(ratio, "loss", 1.06, step=900, classes=10, depth=3)) == {
        "search_misses": "not replicated"
    }


def test_a_shorter_training_may_agree_but_not_refute():
    steps = [{"kind": "sgd", "steps": 20000}, {"kind": "lbfgs", "steps": 2000}]
    short = configured(GIVEN["descent"], optimiser=steps)
    assert not open_claims(descent=short)
    found = undecided(rows_of(descent=scaled(short, "loss", 1.2)))
    assert found["descent_below_dnc"][0] == "inconclusive"
    assert "20000 of 60000 steps" in found["descent_below_dnc"][1]
    brief = configured(GIVEN["network"], training__epochs=100)
    assert not open_claims(network=brief)
    assert open_claims(network=scaled(brief, "loss", 1.2)) == {"network_below_dnc": "inconclusive"}


# Numbers


def test_a_loss_is_held_against_that_of_dnc_at_the_first_or_the_last_record():
    first, last = (relative_losses(GIVEN["ratio"], first=f) for f in (True, False))
    at = first.set_index(["depth", "classes"])["value"]
    assert at[3, 6] > 1 > at[3, 10] > at[4, 10] > at[5, 10]
    end = last.set_index(["depth", "classes"])["value"]
    assert (end / at)[3, 6] == pytest.approx(0.98) and (end / at)[4, 15] == pytest.approx(0.999)


def test_dnc_is_found_by_its_loss_and_its_ranks():
    width = GIVEN["width"]
    assert found_dnc(width).groupby("widths")["value"].sum().tolist() == [0, 0, 0, 2]
    low = valued(width, "rank", 9, layer="H4", widths=80, seed=0)
    assert found_dnc(low).groupby("widths")["value"].sum().tolist() == [0, 0, 0, 1]
    ranks = mean_ranks(low).set_index(["widths", "seed"])["value"]
    assert ranks[80, 0] == pytest.approx(29 / 3) and ranks[80, 1] == 10


def test_dead_units_are_left_out_and_units_may_be_ordered():
    matrix = np.array([[0.0, 2.0], [1e-3, 0.0], [-4.0, 0.0], [1.0, 3.0]])
    assert alive(matrix).tolist() == [[0, 2], [-4, 0], [1, 3]]
    assert alive(matrix, ordered=True).tolist() == [[-4, 0], [1, 3], [0, 2]]
    run = of_run(GIVEN["descent"], {"seed": 1})
    assert class_means(run, "H3") == pytest.approx(LOW)
    assert class_means(run, "H4", rectified=True) == pytest.approx(np.maximum(LOW - 1, 0))


def test_an_interval_of_shares_is_wilsons():
    low, high = wilson(pd.Series([0.0, 0.5, 1.0]), pd.Series([5, 10, 5]))
    assert low.tolist() == pytest.approx([0, 0.2366, 0.5655], abs=1e-4)
    assert high.tolist() == pytest.approx([0.4345, 0.7634, 1], abs=1e-4)


# Figures


def drawn(name, **changes):
    """Draw a figure of the given experiments; return its rows and what is told of them."""
    module = import_module(f"collapse.studies.dufm_lowrank.{name}")
    experiments = {**GIVEN, **changes}
    reads = STUDY.figures[name].reads
    with paper_style():
        figure, rows = module.draw(
            {each: experiments[each] for each in reads if experiments[each] is not None}
        )
        figure.canvas.draw()
        plt.close(figure)
    return rows, module.findings(rows)


def gone(experiment):
    """The experiment of which every run diverged at once."""
    metrics = diverged(experiment).values("diverged")
    return replace(experiment, metrics=metrics, samples=experiment.samples.iloc[:0])


@pytest.mark.parametrize("name", STUDY.figures)
def test_figures_draw_what_is_there_and_say_so(name):
    rows, text = drawn(name)
    assert len(rows) and text.endswith(".") and "nan" not in text


@pytest.mark.parametrize("name", STUDY.figures)
def test_figures_do_without_what_diverged(name):
    reads = STUDY.figures[name].reads
    _, text = drawn(name, **{each: gone(GIVEN[each]) for each in reads})
    assert text and "nan" not in text


@pytest.mark.parametrize(
    ("name", "left_out"),
    [("structure", "structures"), ("rank", "width"), ("rank", "decay"), ("small_K", "few_classes"),
     ("small_K", "fifteen_classes")],
)  # fmt: skip
def test_figures_do_without_what_a_scale_leaves_out(name, left_out):
    rows, text = drawn(name, **{left_out: None})
    assert len(rows) and text.endswith(".")


def test_the_ratio_figure_holds_measured_ratios_and_closed_forms():
    rows, text = drawn("ratio")
    series = {name: part for name, part in rows.groupby("series")}
    assert len(series["SRG"]) == len(series["after descent"]) == 12
    assert len(series["closed form"]) == 21
    exact = series["closed form"].set_index(["depth", "vertices"])["value"]
    found = series["SRG"].set_index(["depth", "vertices"])["value"]
    assert found.to_numpy() == pytest.approx(exact.reindex(found.index).to_numpy())
    assert "DNC is better at r = 4, L = 3 (1.06)" in text
    assert "at most 0.1 % with r of 5 and more and at most 2 % with r = 4" in text


def test_the_structure_figure_counts_ranks_of_the_means_not_of_their_squares():
    rows, text = drawn("structure")
    assert rows["solution"].unique().tolist() == ["SRG", "DNC", "descent (lowest of 3)"]
    ranks = rows.groupby(["solution", "panel"])["rank"].first()
    means = np.linalg.svd(LOW - 1, compute_uv=False)
    assert ranks["SRG", "$M_4$"] == np.sum(means > 1e-2 * means[0])
    assert ranks["SRG", "$M_4$"] == ranks["SRG", r"$M_4^\top M_4$"]
    assert "descent (lowest of 3)" in text and "0.88" in text


def test_the_training_figure_has_a_row_for_each_system():
    rows, text = drawn("training")
    assert set(rows["system"]) == {"free features", "network"}
    loss = rows[(rows["series"] == "loss") & (rows["system"] == "network")]
    assert loss["median"].tolist() == [1.0, 0.15]
    assert (rows.loc[rows["series"] == "loss", "step"] > 0).all()
    assert "With a network the loss ends at 0.15 in the median" in text
    assert "above a hundredth of the largest are 6 (H_2), 6 (H_3) and 7 (H_4)" in text


def test_the_rank_figure_says_means_and_counts():
    rows, text = drawn("rank")
    assert "The mean rank over layers and runs is 10 at 0.001" in text
    assert "0 of 3 at width 40 and 2 of 3 at width 80" in text
    assert math.isclose(
        rows[rows["series"] == "share in DNC"]["high"].iloc[0], 0.5615, abs_tol=1e-3
    )


def test_the_figure_of_few_classes_splits_the_loss_of_the_lowest_start():
    rows, text = drawn("small_K")
    losses = rows[rows["panel"] == "loss"].set_index(["classes", "solution", "part"])["value"]
    answer = predict(
        classes=3, depth=4, samples_per_class=1, weight_decay=DECAY, feature_decay=DECAY
    )
    assert losses[3, "DNC"].sum() == pytest.approx(answer["loss_dnc"])
    assert losses[3, "DNC", "fit"] == pytest.approx((1 - answer["alpha_dnc"]) ** 2 / 2)
    assert losses[3, "lowest"].sum() == pytest.approx(0.98 * answer["loss_dnc"])
    assert losses[3, "lowest", "fit"] == 1e-4
    assert "0.980 with K = 3 and L = 4" in text and "1 of 12 starts end below DNC" in text
    assert "0.620 with K = 15 and L = 7" in text and "3 of 3 starts" in text


# The moving picture


def test_the_moving_picture_shows_the_last_layer_but_one_before_its_relu():
    config = config_of(classes=3, depth=4, samples=2)
    run = replace(GIVEN["descent"], config=config)
    source = np.random.default_rng(0)
    shapes = {"H": (5, 6), "W1": (4, 5), "W2": (4, 4), "W3": (6, 4), "W4": (3, 6)}
    states = [{name: source.normal(size=shape) for name, shape in shapes.items()} for _ in "ab"]
    shown = moving.scene(states, run)
    expected = []
    for state in states:
        inputs = state["W2"] @ np.maximum(state["W1"] @ state["H"], 0)
        expected.append({"H": inputs / np.sqrt(np.mean(np.linalg.norm(inputs, axis=0) ** 2))})
    alone = by_class(expected, np.repeat(range(3), 2), None, "none")
    for layer, other in zip(shown.layers, alone.layers, strict=True):
        assert layer.at == pytest.approx(other.at)
    tips = [np.linalg.norm(line[1]) for line in shown.theory]
    assert tips == pytest.approx([math.sqrt(2 / 3)] * 3)


def test_more_than_nine_layers_stand_in_their_order_and_have_a_colour_each():
    deep = GIVEN["descent"]
    table = deep.metrics
    last = table[table["layer"] == "H3"]
    more = pd.concat([table, *(last.assign(layer=f"H{n}") for n in (5, 6, 7, 8, 9, 10, 11))])
    figure, rows = training.draw(
        {"descent": replace(deep, metrics=more), "network": GIVEN["network"]}
    )
    *labels, _ = (text.get_text() for text in figure.legends[0].get_texts())
    numbers = [int(label[4:-2]) for label in labels]
    assert numbers == sorted(numbers) and numbers[-1] == 11
    text = training.findings(rows)
    assert text.index("(H_9)") < text.index("(H_10)") < text.index("(H_11)")
    plt.close(figure)
