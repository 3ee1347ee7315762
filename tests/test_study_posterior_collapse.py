"""The study of posterior collapse: claims of made-up tables, and its figures."""

from dataclasses import replace
from importlib import import_module
from itertools import product

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from collapse.plotting import paper_style
from collapse.studies.posterior_collapse import STUDY, claims
from collapse.studies.posterior_collapse.analysis import (
    away,
    linear_count,
    listed,
    released_rule,
    single,
    thetas,
)
from collapse.theory.posterior_collapse import of_run
from tables import changed, configured, diverged, results, scaled, undecided, valued, without

SEEDS = (0, 1, 2)
LAST = 900
CVAE = {
    "kind": "linear_cvae", "covariance_eigenvalues": [8.0, 6.0, 4.5, 3.2, 2.3, 1.6],
    "latent_dim": 5, "correlation": 0.5, "beta": 1.0, "decoder_std": 1.0, "prior_std": 1.0,
    "encoder_std": None,
}  # fmt: skip
VAE = {k: v for k, v in CVAE.items() if k != "correlation"}
TWO = {
    "kind": "linear_mhvae", "covariance_eigenvalues": [4.0, 1.8, 0.9, 0.3, 0.15], "latent_dim": 4,
    "latent_dim_2": None, "decoder_std": 0.5, "prior_std": 0.5, "encoder_std": 0.5,
    "beta_1": 1.0, "beta_2": 1.0,
}  # fmt: skip
BETAS = (0.1, 0.5, 1.0, 2.0)


def flat(answer):
    """Lists as tables of predictions have them, number by number."""
    numbers = {}
    for name, value in answer.items():
        if isinstance(value, list):
            numbers |= {f"{name}[{i}]": each for i, each in enumerate(value)}
        else:
            numbers[name] = value
    return numbers


def population(problem, grid):
    """Runs that end at their closed forms."""
    runs = []
    for *values, seed in product(*grid.values(), SEEDS):
        keys = dict(zip(grid, values, strict=True))
        answer = flat(of_run({"problem": problem | keys}, {}))
        measured = {(LAST, "all", name): value for name, value in answer.items()}
        measured[LAST, "all", "loss"] = answer["loss"]
        measured[0, "all", "loss"] = answer["loss"] + 10
        runs.append((keys | {"seed": seed}, measured, answer))
    config = {"seeds": len(SEEDS), "grid": {f"problem.{k}": list(v) for k, v in grid.items()}}
    return results(config | {"problem": problem}, runs)


LABELS = {
    "model": "ReLU CVAE (9)", "data": "toys", "samples": "all samples", "image_shape": [1, 4, 6]
}  # fmt: skip
TYPES = {0.1: (4, 3, 1), 0.5: (2, 2, 4), 1.0: (1, 0, 7), 2.0: (0, 0, 8)}


def conditional_network(key):
    """Networks that lose active units and divergence as a key grows; eight variables each."""
    values = BETAS if key == "beta" else (0.25, 0.5, 1.0, 2.0)
    runs, points = [], []
    for place, (value, seed) in enumerate(product(values, (0, 1))):
        active, mixed, passive = TYPES[BETAS[values.index(value)]]
        keys = {key: value, "seed": seed}
        measured = {
            (100, "z", "active_units"): active + mixed,
            (100, "z", "active_variables"): active,
            (100, "z", "mixed_variables"): mixed,
            (100, "z", "passive_variables"): passive,
            (100, "z", "mean_correlation_passive"): 0.8,
            (100, "z", "sampled_correlation_passive"): 0.05,
            (100, "all", "test_KL"): 3.0 / (1 + place),
            (100, "all", "test_squared_error"): 10.0 + value,
        }
        if active > 1:
            measured[100, "z", "mean_correlation_active"] = 0.2
            measured[100, "z", "sampled_correlation_active"] = 0.15
        measured |= {
            (100, "all", f"data_eigenvalue[{i}]"): each for i, each in enumerate((3, 1.5, 0.7, 0.2))
        }
        runs.append((keys, measured, {}))
        place = keys | {"step": 100}
        kinds = ["active"] * active + ["mixed"] * mixed + ["passive"] * passive
        for variable, kind in enumerate(kinds):
            row = {"layer": "z", "probe": "latents", "variable": variable, "type": kind}
            points.append(place | row | {"variance": 0.5, "mean_variance": 0.4})
        points += pictures(place, {"image": 0.5, "posterior": 0.25, "prior": 0.0})
    config = {
        "seeds": 2, "grid": {key: list(values)}, "beta": 1.0, "decoder_std": 1.0,
        "data": {"samples_per_class": None}, "training": {"epochs": 100}, "labels": LABELS,
    }  # fmt: skip
    return replace(results(config, runs), samples=pd.DataFrame(points))


def pictures(place, sources):
    """Six images of 24 pixels for each source, all of one value."""
    return [
        place | {"layer": "all", "probe": "pictures", "source": source, "image": image,
                 "pixel": pixel, "value": value}
        for source, value in sources.items()
        for image in range(6)
        for pixel in range(24)
    ]  # fmt: skip


def hierarchical_network():
    runs, points = [], []
    for first, second, seed in product(BETAS, BETAS, (0, 1)):
        keys = {"beta_1": first, "beta_2": second, "seed": seed}
        ratio = second / first
        measured = {
            (100, "z1", "active_units"): 10.0,
            (100, "z2", "active_units"): float(max(0, round(8 - 3 * np.log10(100 * ratio) / 2))),
            (100, "all", "test_KL_2"): 5 / (1 + ratio),
        }
        runs.append((keys, measured, {}))
        points += pictures(keys | {"step": 100}, {"image": 0.5, "posterior": 0.4, "second": 0.1})
    labels = LABELS | {"model": "ReLU MHVAE (9)"}
    config = {
        "seeds": 2, "grid": {"beta_1": list(BETAS), "beta_2": list(BETAS)},
        "data": {"samples_per_class": None}, "training": {"epochs": 100}, "labels": labels,
    }  # fmt: skip
    return replace(results(config, runs), samples=pd.DataFrame(points))


STAIRS = (0.3, 0.6, 0.9, 1.3, 1.5, 2.0, 2.2, 2.8, 3.1, 3.7, 4.1, 4.9, 5.4, 6.6, 7.5)
WHOLE = {
    "linear_cvae": population(CVAE, {"beta": BETAS, "decoder_std": (0.5, 2.0)}),
    "linear_vae": population(VAE, {"beta": BETAS, "prior_std": (0.5, 2.0)}),
    "held_encoder": population(VAE | {"encoder_std": 0.7}, {"beta": BETAS}),
    "staircase": population(CVAE, {"beta": STAIRS}),
    "correlation": population(CVAE, {"correlation": (0.0, 0.125, 0.25, 0.5, 0.9, 1.0)}),
    "linear_mhvae": population(TWO, {"beta_1": BETAS, "beta_2": BETAS}),
    "cvae_beta": conditional_network("beta"),
    "cvae_decoder_std": conditional_network("decoder_std"),
    "mhvae": hierarchical_network(),
}


def rows_of(**experiments):
    return list(claims.decide(WHOLE | experiments))


def verdicts(**experiments):
    """Verdicts of the claims that were not replicated."""
    found = undecided(rows_of(**experiments))
    return {name: verdict for name, (verdict, _) in found.items()}


REFUTED = {"released_threshold": "not replicated"}


# Claims


def test_what_the_paper_says_replicates_and_the_released_threshold_does_not():
    assert verdicts() == REFUTED
    rows = rows_of()
    assert len({row["claim"] for row in rows}) == len(rows) == 30
    assert all(row["bound"] in ("paper", "theory", "project") for row in rows)


ERRORS = {
    ("linear_cvae", "decoder_singular_values"): "linear_cvae_decoder_singular_values",
    ("linear_cvae", "encoder_std"): "linear_cvae_encoder_std",
    ("linear_cvae", "loss"): "linear_cvae_loss",
    ("linear_vae", "decoder_singular_values"): "linear_vae_decoder_singular_values",
    ("linear_vae", "encoder_std"): "linear_vae_encoder_std",
    ("linear_vae", "loss"): "linear_vae_loss",
    ("held_encoder", "decoder_singular_values"): "held_encoder_decoder_singular_values",
    ("held_encoder", "encoder_singular_values"): "held_encoder_encoder_singular_values",
    ("held_encoder", "loss"): "held_encoder_loss",
    ("linear_mhvae", "lambda"): "linear_mhvae_lambda",
    ("linear_mhvae", "omega"): "linear_mhvae_omega",
    ("linear_mhvae", "loss"): "linear_mhvae_loss",
}


@pytest.mark.parametrize("place", ERRORS)
def test_an_error_of_a_hundredth_refutes_its_claim_alone(place):
    name, metric = place
    wrong = changed(WHOLE[name], metric, lambda value: value + 0.01)
    assert verdicts(**{name: wrong}) == REFUTED | {ERRORS[place]: "not replicated"}
    close = changed(WHOLE[name], metric, lambda value: value + 5e-7)
    assert verdicts(**{name: close}) == REFUTED


def test_only_runs_away_from_thresholds_count():
    experiment = WHOLE["linear_mhvae"]
    # Both betas at 2: the noise of z1 is at the threshold of z2.
    near = experiment.predicted("margin").query("value < 0.01")
    assert set(zip(near["beta_1"], near["beta_2"], strict=True)) == {(2.0, 2.0)}
    wrong = changed(experiment, "omega", lambda value: value + 1, beta_1=2.0, beta_2=2.0)
    assert verdicts(linear_mhvae=wrong) == REFUTED
    rows = listed(experiment, "omega")
    assert len(rows) == 16 * 3 * 4 and len(away(experiment, rows)) == 15 * 3 * 4


@pytest.mark.parametrize("beta", [1.3, 6.6])
def test_one_latent_too_many_at_one_beta_is_seen(beta):
    more = changed(WHOLE["staircase"], "active", lambda value: value + 1, beta=beta)
    assert verdicts(staircase=more)["active_units"] == "inconclusive"
    everywhere = changed(WHOLE["staircase"], "active", lambda value: value + 1)
    assert verdicts(staircase=everywhere)["active_units"] == "not replicated"


def test_the_released_threshold_could_hold():
    experiment = WHOLE["staircase"]
    rule = released_rule(experiment, np.array(STAIRS))
    for beta, count in zip(STAIRS, rule, strict=True):
        experiment = valued(experiment, "active", float(count), beta=beta)
    found = verdicts(staircase=experiment)
    assert "released_threshold" not in found and found["active_units"] == "not replicated"


def test_correlation_claims():
    experiment = WHOLE["correlation"]
    rise = changed(experiment, "KL", lambda value: value + 4, correlation=0.5)
    assert set(verdicts(correlation=rise)) == {*REFUTED, "correlation_monotone", "correlation_kl"}
    # Of the variance that x leaves of y latents have nothing there even where they encode y.
    left = valued(experiment, "active", 1.0, correlation=1.0)
    assert verdicts(correlation=left) == REFUTED
    encoded = valued(experiment, "KL", 0.01, correlation=1.0)
    found = verdicts(correlation=encoded)
    assert {"correlation_one"} <= set(found) and found["correlation_one"] == "not replicated"
    fewer = verdicts(correlation=without(experiment, correlation=1.0))
    names = ("correlation_monotone", "correlation_one", "correlation_kl")
    assert all(fewer[name] == "inconclusive" for name in names)


def test_hierarchy_claims():
    experiment = WHOLE["linear_mhvae"]
    more = changed(experiment, "active_2", lambda value: value + 1)
    assert verdicts(linear_mhvae=more) == REFUTED | {"linear_mhvae_active_2": "not replicated"}
    more = changed(experiment, "active", lambda value: value + 1)
    assert verdicts(linear_mhvae=more) == REFUTED | {"linear_mhvae_active": "not replicated"}
    other = changed(experiment, "KL_2", lambda value: -value)
    found = verdicts(linear_mhvae=other)
    assert {"beta_2_collapses_z2", "beta_1_keeps_z2"} <= set(found)


def test_a_divergence_that_is_the_same_all_along_shows_nothing():
    one = {"correlation": "KL", "linear_mhvae": "KL_2", "cvae_beta": "test_KL",
           "cvae_decoder_std": "test_KL", "mhvae": "test_KL_2"}  # fmt: skip
    for value in (0.0, 2.0):
        found = verdicts(**{name: valued(WHOLE[name], m, value) for name, m in one.items()})
        assert {
            "correlation_monotone", "beta_2_collapses_z2", "beta_1_keeps_z2", "network_kl_beta",
            "network_kl_decoder_std", "network_kl_beta_1", "network_kl_beta_2",
        } <= {name for name, verdict in found.items() if verdict == "not replicated"}  # fmt: skip


NETWORK = {
    "cvae_beta": ("network_active_units_beta", "network_kl_beta"),
    "cvae_decoder_std": ("network_active_units_decoder_std", "network_kl_decoder_std"),
}


@pytest.mark.parametrize("name", NETWORK)
def test_a_rise_anywhere_refutes_that_units_become_fewer(name):
    key = STUDY.own_axes[name][0]
    units, divergence = NETWORK[name]
    more = valued(WHOLE[name], "active_units", 8.0, **{key: 1.0})
    assert verdicts(**{name: more}) == REFUTED | {units: "not replicated"}
    same = valued(WHOLE[name], "active_units", 3.0)
    assert verdicts(**{name: same}) == REFUTED | {units: "not replicated"}
    higher = scaled(WHOLE[name], "test_KL", 100, **{key: 2.0})
    assert verdicts(**{name: higher}) == REFUTED | {divergence: "not replicated"}
    # Fewer epochs or images refute nothing.
    short = configured(more, training__epochs=10)
    assert verdicts(**{name: short})[units] == "inconclusive"
    few = configured(more, data__samples_per_class=100)
    assert verdicts(**{name: few})[units] == "inconclusive"
    part = without(WHOLE[name], **{key: 2.0})
    assert verdicts(**{name: part})[units] == "inconclusive"


def test_levels_of_networks():
    experiment = WHOLE["mhvae"]
    level = valued(experiment, "active_units", 5.0)
    assert verdicts(mhvae=level) == REFUTED | {"network_beta_2_first": "not replicated"}
    other = changed(experiment, "test_KL_2", lambda value: -value)
    assert set(verdicts(mhvae=other)) == {*REFUTED, "network_kl_beta_1", "network_kl_beta_2"}
    part = verdicts(mhvae=without(experiment, beta_2=0.5))
    assert part["network_beta_2_first"] == "inconclusive"


def test_variables_of_networks():
    experiment = WHOLE["cvae_beta"]
    sampled = valued(experiment, "sampled_correlation_passive", 0.75)
    assert verdicts(cvae_beta=sampled) == REFUTED | {"passive_variables": "not replicated"}
    means = valued(experiment, "mean_correlation_active", 0.9)
    assert verdicts(cvae_beta=means) == REFUTED | {"active_variables": "not replicated"}


@pytest.mark.parametrize("name", WHOLE)
def test_nothing_is_decided_with_a_seed_too_few_or_a_lost_run(name):
    few = verdicts(**{name: configured(WHOLE[name], seeds=1)})
    lost = verdicts(**{name: diverged(WHOLE[name], seed=0)})
    assert len(few) > 1 and set(few) == set(lost)
    assert set(few.values()) - {"not replicated"} == {"inconclusive"}


@pytest.mark.parametrize("name", ["linear_vae", "held_encoder"])
def test_an_experiment_may_be_left_out(name):
    left = {key: value for key, value in WHOLE.items() if key != name}
    found = undecided(claims.decide(left))
    assert name in STUDY.optional
    missing = {claim: text for claim, (_, text) in found.items() if claim.startswith(name)}
    assert len(missing) == 3 and all(f"no {name}" in text for text in missing.values())


# Numbers


def test_thresholds_of_a_study():
    experiment = WHOLE["staircase"]
    np.testing.assert_allclose(thetas(experiment), [6, 4.5, 3.375, 2.4, 1.725])
    assert released_rule(experiment, np.array([1.0, 4.0, 9.0])).tolist() == [5, 4, 3]
    assert linear_count(WHOLE["cvae_beta"], np.array([0.1, 1.0, 3.0])).tolist() == [4, 2, 0]
    joined = single(experiment, "loss")
    assert len(joined) == 45 and np.allclose(joined["value"], joined["predicted"])


# Figures


def drawn(name, **experiments):
    """Draw a figure; return its table and its panels."""
    read = {each: (WHOLE | experiments)[each] for each in STUDY.figures[name].reads}
    with paper_style():
        figure, table = import_module(f"collapse.studies.posterior_collapse.{name}").draw(read)
        figure.canvas.draw()
        return table, figure.axes or figure.subfigs


def found(name, table):
    return import_module(f"collapse.studies.posterior_collapse.{name}").findings(table)


def lost(experiment):
    """The experiment with every run diverged, and nothing measured."""
    rows = diverged(experiment, seed=sorted(experiment.metrics["seed"].unique()))
    rows = replace(rows, metrics=rows.metrics[rows.metrics["metric"] == "diverged"])
    return replace(rows, samples=rows.samples.iloc[:0])


@pytest.mark.parametrize("name", STUDY.figures)
def test_a_figure_is_drawn_and_says_what_it_found(name):
    table, _ = drawn(name)
    text = found(name, table)
    assert len(table) and text.endswith(".") and "nan" not in text
    assert found(name, table.iloc[:0]) == "No run reached its end."


@pytest.mark.parametrize("name", STUDY.figures)
def test_a_figure_is_drawn_where_every_run_diverged(name):
    read = {each: lost(WHOLE[each]) for each in STUDY.figures[name].reads}
    table, _ = drawn(name, **read)
    assert "nan" not in found(name, table)
    plt.close("all")


@pytest.mark.parametrize("name", STUDY.figures)
def test_a_figure_reads_what_the_study_says(name):
    plot = STUDY.figures[name]
    assert set(plot.reads) <= set(STUDY.claims_read) and plot.caption.endswith(".")
    assert not set(plot.reads) & STUDY.optional


def test_singular_values_stand_on_their_closed_forms():
    table, panels = drawn("singular_values")
    points = table[table["series"] == "measured"]
    assert len(points) == 2 * 2 * 4 * 5
    np.testing.assert_allclose(points["median"], points["predicted"])
    first = points[(points["metric"] == "decoder_singular_values") & (points["latent"] == 0)]
    row = first[(first["beta"] == 2) & (first["decoder_std"] == 0.5)]
    assert row["median"].item() == pytest.approx(5.5**0.5)
    assert len(panels) == 4
    text = found("singular_values", table)
    assert text.startswith("The largest distance from the closed form over all seeds is of sing")
    assert "of 40 latents collapsed" in text


def test_the_staircase_tells_both_rules_apart():
    table, panels = drawn("active_units")
    steps = table[(table["experiment"] == "staircase") & (table["series"] == "closed form")]
    assert steps["median"].max() == 5 and steps["median"].min() == 0
    text = found("active_units", table)
    assert "closed form at 15 of 15 values of beta, as the released code's rule at 5" in text
    assert "The median active units of networks by beta are 7 at 0.1, 4 at 0.5, 1 at 1" in text
    linear = table[(table["experiment"] == "cvae_beta") & (table["series"] == "linear model")]
    at_one = linear.iloc[(linear["x"] - 1).abs().argmin()]
    assert at_one["median"] == 2 and len(panels) == 3


def test_the_staircase_of_a_held_encoder_has_its_own_threshold():
    problem = CVAE | {"encoder_std": 1.5, "decoder_std": 0.8, "prior_std": 1.3}
    held = population(problem, {"beta": STAIRS})
    table, panels = drawn("active_units", staircase=held)
    line = table[(table["experiment"] == "staircase") & (table["series"] == "closed form")]
    level = line["x"].to_numpy() * (1.5 * 0.8 / 1.3) ** 2
    assert line["median"].max() == 5 and line["median"].min() == 0
    assert (line["median"] == (thetas(held)[None] > level[:, None]).sum(1)).all()
    label = panels[0].get_legend().get_texts()[1].get_text()
    assert label == r"$\theta>\beta s^2e^2/p^2$"


def test_correlation_goes_to_nothing():
    table, _ = drawn("correlation")
    points = table[(table["series"] == "measured") & (table["latent"] == -1)]
    assert points["median"].is_monotonic_decreasing
    text = found("correlation", table)
    assert text.endswith("and 0 (closed form 0) at r = 1.")


def test_levels_are_tables_of_numbers():
    table, panels = drawn("hierarchy")
    texts = [text.get_text() for text in panels[1].texts]
    assert len(texts) == 16 and all("\n(" in text for text in texts)
    assert [text.get_text() for text in panels[3].texts][:1] == ["10"]
    text = found("hierarchy", table)
    assert text.startswith("In linear levels 32 of 32 counts of active units are those of the")
    assert "Of z2 of networks" in text and len(table) == 6 * 16


def test_pictures_are_drawn_row_by_row():
    table, halves = drawn("reconstructions")
    assert set(table["experiment"]) == {"cvae_beta", "mhvae"}
    # Of both seeds one, of six images four.
    assert len(table) == (4 * 3 + 4 * 3) * 4 * 24
    images = [image for panel in halves for image in panel.get_images()]
    assert len(images) == 2 * (4 + 4 * 8)
    assert "0.25 at beta = 0.1" in found("reconstructions", table)
    assert "through z2 is 0.4 at beta_2 = 0.1" in found("reconstructions", table)


def test_variables_are_counted_by_type():
    table, panels = drawn("representations")
    heights = [bar.get_height() for bar in panels[0].patches]
    assert heights == [each[i] for i in range(3) for each in TYPES.values()]
    text = found("representations", table)
    assert text.startswith("Median active, mixed and passive variables are 4, 3 and 1 at beta =")
    assert "passive variables is 0.8 in posterior means and 0.05 in samples" in text
