"""The picture of any experiment: what it chooses to draw of a table, and that it draws that."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse import config, jobs
from collapse.plotting import by_rows, paper_style
from collapse.stages.figure import say_what_diverged
from collapse.studies.picture import caption, describe, draw
from collapse.studies.picture_panels import MOST_PANELS, picture
from tables import diverged, results

CONFIG = {"grid": {}, "labels": {"model": "MLP 2x8", "classes": ["a", "b"], "data": "digits"}}
STEPS = (0, 1, 10, 100, 1000)


def network(depths=(1, 3), biases=(False, True), seeds=(0, 1, 2), layers=("H1",)):
    """Return runs of which seed 0 has NC1 = depth / (1 + step), and each further one a tenth more.

    With the bias everything is doubled; what is predicted of the loss is half its last value.
    """
    runs = []
    for depth in depths:
        for bias in biases:
            for seed in seeds:
                size = depth * (1 + bias) * (1 + seed / 10)
                measured = {
                    (step, layer, "NC1"): (place + 1) * size / (1 + step)
                    for step in STEPS
                    for place, layer in enumerate(layers)
                }
                measured |= {(step, "all", "loss"): size * (2 + step) for step in STEPS}
                measured |= {(step, "all", "error"): 0.5 for step in STEPS}
                measured |= {
                    (step, "Z", f"spectrum[{i}]"): size / (1 + i)
                    for step in STEPS
                    for i in range(3)
                }
                measured |= {(1000, "all", f"gram[{i},{j}]"): 1 for i in (0, 1) for j in (0, 1)}
                measured |= {(1000, "all", "samples"): 50}
                keys = {"depth": depth, "bias": bias, "seed": seed}
                predicted = {"loss": size * 501, "spectrum[1]": 0.25}
                runs.append((keys, measured, predicted))
    return results(CONFIG, runs)


def panel(shown, title):
    (found,) = (each for each in shown.panels if each.title == title)
    return found


def values(rows, *columns):
    return rows[list(columns)].to_numpy().tolist()


def test_metrics_run_against_the_step_a_line_for_each_point_of_the_grid():
    shown = picture(network(), "epoch")
    assert (shown.against, shown.by, shown.held) == ("epoch", ("depth", "bias"), ())
    titles = ["loss", "NC1", "spectrum[i] (Z)", "error"]
    assert [each.title for each in shown.panels] == titles
    rows = panel(shown, "NC1").rows
    # Powers of ten, and so none of step 0; of three seeds the second is the median.
    assert shown.logarithmic and len(rows) == 4 * 4
    one = rows[(rows["depth"] == 3) & rows["bias"]]
    expected = [[s, 6.6 / (1 + s), 6 / (1 + s), 7.2 / (1 + s), 3] for s in STEPS[1:]]
    assert np.allclose(values(one, "place", "median", "low", "high", "seeds"), expected)
    assert one["predicted"].isna().all()
    objective = panel(shown, "loss").rows
    # The closed form of the loss is that of the objective; of seeds the median.
    assert np.allclose(
        objective.drop_duplicates(["depth", "bias"])["predicted"],
        501 * np.array([1, 2, 3, 6]) * 1.1,
    )
    assert shown.crowded_out == () and shown.no_curve == ("gram[i,j]", "samples")


def test_entries_are_drawn_at_the_last_step_and_as_lines_where_there_is_one_point():
    rows = panel(picture(network(), "step"), "spectrum[i] (Z)").rows
    assert set(rows["against"]) == {"entry"} and len(rows) == 4 * 3
    one = rows[(rows["depth"] == 1) & ~rows["bias"]]
    assert np.allclose(values(one, "place", "median"), [[0, 1.1], [1, 0.55], [2, 1.1 / 3]])
    assert one["predicted"].tolist()[1] == 0.25 and one["predicted"].isna().sum() == 2
    lone = panel(picture(network((1,), (False,)), "step"), "spectrum[i] (Z)")
    assert lone.lines == ("entry",) and set(lone.rows["against"]) == {"step"}
    assert len(lone.rows) == 3 * 4 and set(lone.rows["entry"]) == {0, 1, 2}


def test_hidden_layers_get_a_panel_of_their_own_in_the_order_of_the_network():
    layers = ("H1", "hidden10", "hidden2")
    shown = picture(network(layers=layers), "step")
    profile = next(each for each in shown.panels if each.against == "layer")
    assert profile.title == "NC1" and profile.rows["place"].unique().tolist() == [
        "hidden2", "hidden10", "H1",
    ]  # fmt: skip
    one = profile.rows[(profile.rows["depth"] == 1) & ~profile.rows["bias"]]
    assert np.allclose(one["median"], np.array([3, 2, 1]) * 1.1 / 1001)
    own = next(each for each in shown.panels if each.title == "NC1" and each.against == "step")
    assert set(own.rows["layer"]) == {"H1"}
    # The head's layers are told by the table alone, but where they are the only lines.
    layers = ("H1", "H2", "H3")
    assert not any(each.against == "layer" for each in picture(network(layers=layers), "s").panels)
    lone = panel(picture(network((1,), (False,), layers=layers), "step"), "NC1")
    assert lone.lines == ("layer",) and lone.rows["layer"].unique().tolist() == list(layers)


def machine(steps, layers, arms=("agop", "identity")):
    """Return runs whose steps are layers, which have places: NC1 is the place over the step."""
    runs = [
        (
            {"projection": arm, "flag": flag, "seed": 0},
            {(s, layer, "NC1"): (i + 1) / s for s in steps for i, layer in enumerate(layers)},
            {},
        )
        for arm in arms
        for flag in ((False, True) if len(arms) > 1 else (True,))
    ]
    return results(CONFIG, runs)


@pytest.mark.parametrize(("steps", "against"), [((1, 2, 3), "layer"), ((1, 2), "projection")])
def test_places_that_a_step_passes_have_each_a_panel_of_curves(steps, against):
    given = machine(steps, ("X", "MX", "Phi"))
    shown = picture(given, "layer")
    assert [each.title for each in shown.panels] == ["NC1 (X)", "NC1 (MX)", "NC1 (Phi)"]
    assert {each.against for each in shown.panels} == {against} and shown.no_curve == ()
    text = caption(shown, given, "mine", "table")
    assert f"``NC1 (Phi)`` {3 / steps[-1]:.3g}" in text and "values at the last" not in text


@pytest.mark.parametrize("steps", [(1, 2, 3), (1, 2)])
def test_places_of_one_line_are_lines_in_their_order_and_named(steps):
    given = machine(steps, ("X", "MX", "Phi"), arms=("agop",))
    shown = picture(given, "layer")
    (only,) = shown.panels
    assert (only.against, only.over, only.lines) == ("layer", True, ("layer",))
    assert only.rows["layer"].unique().tolist() == ["X", "MX", "Phi"]
    assert "No run" not in caption(shown, given, "mine", "table")
    figure, _ = drawn(shown)
    labels = [text.get_text() for text in figure.legends[0].get_texts() if text.get_text()]
    assert labels == ["place X", "place MX", "place Phi"]
    # Ten are too many to be named.
    figure, _ = drawn(picture(machine(steps, [f"h{i}" for i in range(10)], ("agop",)), "epoch"))
    labels = [text.get_text() for text in figure.legends[0].get_texts() if text.get_text()]
    assert labels == ["first layer", "last layer"]


@pytest.mark.parametrize(
    ("clock", "words"),
    [("layer", ["entry", "place"]), ("entry", ["index", "layer"]), ("step", ["entry", "layer"])],
)
def test_layers_and_entries_are_told_from_steps_that_are_called_so(clock, words):
    given = network(layers=("hidden1", "hidden2", "H1"))
    shown = picture(given, clock)
    assert sorted({each.against for each in shown.panels if not each.over}) == words
    assert {each.against for each in shown.panels if each.over} == {clock}
    text = caption(shown, given, "mine", "table")
    assert f"Against ``{words[0]}`` and ``{words[1]}`` are the values at the last step." in text
    assert "At the last step: ``loss``" in text


def test_diverged_runs_are_not_drawn_and_named():
    given = diverged(network(), depth=3, bias=True, seed=[0, 2])
    shown = picture(given, "step")
    rows = panel(shown, "NC1").rows
    one = rows[(rows["depth"] == 3) & rows["bias"]]
    assert np.allclose(values(one, "median", "seeds"), [[6.6 / (1 + s), 1] for s in STEPS[1:]])
    text = caption(shown, given, "mine", "a/b/metrics.parquet")
    assert (
        "2 of 12 runs diverged and are not drawn: depth = 3, bias = true, seed = 0; "
        "depth = 3, bias = true, seed = 2." in text
    )
    assert "medians over 1 to 3 seeds" in text and "``gram[i,j]``, ``samples`` (recorded" in text


def test_of_experiments_that_all_diverged_there_is_a_picture_too():
    given = diverged(network())
    shown = picture(given, "step")
    assert shown.panels == () and shown.rows.empty and "median" in shown.rows
    text = caption(shown, given, "mine", "table")
    assert "No run reached its end." in text and "12 of 12 runs diverged" in text
    with paper_style():
        figure = draw(shown, "mine")
        say_what_diverged(figure, {"mine": given})
        figure.canvas.draw()
        assert "mine: 12 diverged" in [text.get_text() for text in figure.texts]


def solved(values, steps=(0, 7), key="decay", metrics=("loss", "NC1")):
    """Return runs of a solver, two seeds for each value of a key; seed 1 ends a step later."""
    runs = [
        (
            {key: value, "flag": True, "seed": seed},
            {
                (step + seed * (step > 0), "H1", metric): place + 2 * seed + step
                for step in steps
                for metric in metrics
            },
            {"loss": 10.0 * place},
        )
        for place, value in enumerate(values)
        for seed in (0, 1)
    ]
    return results(CONFIG, runs)


def test_a_start_and_an_end_are_drawn_against_the_grid():
    shown = picture(solved((1e-4, 1e-3, 1e-2)), "step")
    assert (shown.against, shown.by, shown.logarithmic) == ("decay", (), True)
    rows = panel(shown, "loss").rows
    # Of each run its own last step.
    assert values(rows, "place", "median", "low", "high", "predicted") == [
        [1e-4, 8, 7, 9, 0], [1e-3, 9, 8, 10, 10], [1e-2, 10, 9, 11, 20],
    ]  # fmt: skip
    # With a zero among them decays have no logarithm.
    assert not picture(solved((0.0, 1e-4, 1e-2)), "step").logarithmic
    named = picture(solved(("sgd", None, "adam")), "step")
    assert named.rows["place"].unique().tolist() == ["sgd", "null", "adam"]


def test_where_nothing_varies_seeds_are_drawn_beside_each_other():
    shown = picture(solved((0.1,), steps=(7,)), "step")
    assert (shown.against, shown.steps) == ("seed", False)
    rows = panel(shown, "loss").rows
    assert values(rows, "place", "median") == [[0, 7], [1, 9]]
    # Two steps say little, but more than seeds.
    assert picture(solved((0.1,)), "step").against == "step"


def test_runs_that_end_early_keep_their_last_values():
    runs = [
        ({"seed": seed}, {(step, "all", "loss"): 100 - step - seed for step in steps}, {})
        for seed, steps in ((0, (0, 10, 20, 25)), (1, (0, 10, 20, 30, 33)))
    ]
    rows = picture(results(CONFIG, runs), "step").rows
    # At 25 the other goes on, and was not recorded.
    assert values(rows, "place", "low", "high", "seeds") == [
        [0, 99, 100, 2], [10, 89, 90, 2], [20, 79, 80, 2], [30, 69, 75, 2], [33, 66, 75, 2],
    ]  # fmt: skip


def test_steps_have_the_places_that_their_clock_says():
    runs = [
        (
            {"seed": seed},
            {(step, "all", "time"): [0.0, 0.1, 1.0, 10.0, 100.0][step] for step in range(5)}
            | {(step, "H1", "NC1"): 5.0 - step for step in range(5)},
            {},
        )
        for seed in (0, 1)
    ]
    shown = picture(results(CONFIG, runs), "time")
    assert [each.title for each in shown.panels] == ["NC1"] and shown.no_curve == ()
    assert values(shown.rows, "place", "median") == [[0.1, 4], [1, 3], [10, 2], [100, 1]]
    assert "time" in [each.title for each in picture(results(CONFIG, runs), "step").panels]


def test_of_many_metrics_the_first_are_drawn_and_the_rest_named():
    many = [f"m{place}" for place in range(14)]
    given = solved((1, 2, 3), metrics=("NC4", *many[:7], "loss", *many[7:], "NC1", "same"))
    given.metrics.loc[given.metrics["metric"] == "same", "value"] = 3.0
    forecast = given.predictions.assign(metric="m11")
    shown = picture(
        type(given)(CONFIG, given.metrics, pd.concat([given.predictions, forecast]), given.samples),
        "step",
    )
    titles = [each.title for each in shown.panels]
    assert titles == ["loss", "NC1", "NC4", "m11", *many[:8]] and len(titles) == MOST_PANELS
    assert shown.crowded_out == ("m8", "m9", "m10", "m12", "m13", "same")
    text = caption(shown, given, "mine", "table")
    assert "``m8``, ``m9``, ``m10``, ``m12``, ``m13``, ``same`` (no room)" in text


def test_places_for_which_there_is_no_room_are_named():
    measured = {(step, "all", "loss"): step for step in (1, 2, 3)} | {
        (step, layer, metric): step
        for step in (1, 2, 3)
        for metric in ("a", "b", "c", "d", "e")
        for layer in ("X", "MX", "Phi")
    }
    given = results(CONFIG, [({"arm": arm, "seed": 0}, measured, {}) for arm in ("x", "y")])
    shown = picture(given, "layer")
    assert [each.title for each in shown.panels[-2:]] == ["d (X)", "d (MX)"]
    assert shown.crowded_out == ("d (Phi)", "e")


def test_more_symbols_than_can_be_told_apart_are_not_drawn_but_said():
    runs = [
        ({"a": a, "b": b, "c": c, "seed": 0}, {(s, "H1", "NC1"): a + s for s in range(4)}, {})
        for a in range(5)
        for b in range(4)
        for c in range(2)
    ]
    shown = picture(results(CONFIG, runs), "step")
    assert shown.by == ("a", "c") and shown.held == ("b = 0 of 4 values",)
    assert set(shown.rows["a"]) == set(range(5)) and set(shown.rows["c"]) == {0, 1}
    assert "Drawn is only b = 0 of 4 values." in caption(
        shown, results(CONFIG, runs), "mine", "table"
    )


def drawn(shown):
    """Return a figure's panels by their title."""
    with paper_style():
        figure = draw(shown, describe("deep_linear", "mine", CONFIG))
        figure.canvas.draw()
        return figure, {axes.get_title(loc="left"): axes for axes in figure.axes}


def test_the_figure_draws_the_rows_and_theory_in_black_dashes():
    shown = picture(network(), "epoch")
    figure, axes = drawn(shown)
    assert list(axes) == [each.title for each in shown.panels]
    assert [axes[name].get_yscale() for name in axes] == ["log", "log", "linear", "linear"]
    assert [axes[name].get_xscale() for name in axes] == ["log", "log", "linear", "log"]
    curves = [line for line in axes["NC1"].lines if len(line.get_xdata()) == 4]
    rows = panel(shown, "NC1").rows
    assert [line.get_ydata().tolist() for line in curves] == [
        group["median"].tolist() for _, group in rows.groupby(["depth", "bias"])
    ]
    # Colour for the depth, symbol for the bias.
    looks = [(to_hex(line.get_color()), line.get_marker()) for line in curves]
    assert looks[0][0] == looks[1][0] != looks[2][0] == looks[3][0]
    assert looks[0][1] == looks[2][1] != looks[1][1] == looks[3][1]
    dashed = [line for line in axes["loss"].lines if line.get_linestyle() == "--"]
    heights = {float(line.get_ydata()[0]) for line in dashed}
    assert heights == {float(f"{501 * 1.1 * size:.4g}") for size in (1, 2, 3, 6)}
    assert {line.get_color() for line in dashed} == {"black"}
    labels = [text.get_text() for text in figure.legends[0].get_texts() if text.get_text()]
    assert labels == ["depth = 1", "depth = 3", "bias = false", "bias = true", "closed form"]
    assert figure.legends[0].get_title().get_text() == "deep_linear, mine: MLP 2x8, digits"


def test_a_range_over_seeds_is_a_band_and_a_bar_where_places_are_names():
    _, axes = drawn(picture(network(), "step"))
    assert len(axes["NC1"].collections) == 4
    _, axes = drawn(picture(solved(("sgd", "adam")), "step"))
    (bars,) = axes["loss"].containers
    assert [label.get_text() for label in axes["loss"].get_xticklabels()] == ["sgd", "adam"]
    assert [segment[:, 1].tolist() for segment in bars[2][0].get_segments()] == [[7, 9], [8, 10]]


def test_long_names_are_shortened_in_the_legend_alone():
    wide, odd = "-".join(["1024"] * 6), "-".join(map(str, range(30)))
    runs = [
        ({"hidden": hidden, "seed": 0}, {(s, "H1", "NC1"): s for s in range(4)}, {})
        for hidden in (wide, odd, "8")
    ]
    shown = picture(results(CONFIG, runs), "step")
    figure, _ = drawn(shown)
    labels = [text.get_text() for text in figure.legends[0].get_texts() if text.get_text()]
    assert labels == ["hidden = 6x1024", "hidden = 0-1-2-3-4-5-6-7-8-9-1...", "hidden = 8"]
    assert set(shown.rows["hidden"]) == {wide, odd, "8"}


def test_long_names_of_panels_end_before_the_next_panel_and_the_edge():
    # Eight panels in rows of four, with wide numbers beside them.
    names = [f"feature_norm_squared_mean_{place}" for place in range(8)]
    measured = {(s, "all", n): 1.234e-6 * (1 + s / 1e3) for s in range(4) for n in names}
    figure, axes = drawn(picture(results(CONFIG, [({"seed": 0}, measured, {})]), "step"))
    boxes = [axes[name]._left_title.get_window_extent() for name in names]
    for place, box in enumerate(boxes):
        last = place % 4 == 3
        assert box.x1 <= (figure.bbox.x1 if last else axes[names[place + 1]].bbox.x0)
        assert box.width > 0.8 * axes[names[place]].bbox.width


SMOKE = config.load("config", {"scale": "smoke"})


@pytest.mark.parametrize(
    ("study", "name", "clock"),
    [
        ("deep_linear", "network_mlp", "epoch"),
        ("deep_linear", "direct_optimisation", "step"),
        ("deep_linear", "collapse_threshold", "scaled_decay"),
        ("perturbation", "flow", "time"),
        ("perturbation", "layerwise_mlp", "layers"),
    ],
)
def test_the_job_is_told_what_a_step_is_and_reads_the_experiment_alone(study, name, clock):
    job = jobs.picture(SMOKE, study, name)
    assert job.told["clock"] == clock
    tables = {f"{study}/{name}/{kind}.parquet" for kind in ("metrics", "predictions", "samples")}
    assert set(job.files("tables")) == tables
    assert f"collapse.studies.{study}" in job.spec.modules


def test_a_heading_names_what_all_points_have_in_common(load):
    depths, widths = {"head.depth": [1, 2]}, {"model.hidden": [[8], [16]]}
    one, several = (
        jobs.picture(
            load({"deep_linear": {"network_mlp": {"grid": grid}}}), "deep_linear", "network_mlp"
        )
        for grid in (depths, widths)
    )
    labels = one.told["config"]["labels"]
    assert labels["model"].startswith("MLP") and "data" in labels
    assert several.told["config"]["labels"] == {k: labels[k] for k in labels if k != "model"}


def test_a_change_of_another_experiment_leaves_the_picture_alone(load):
    before = load()
    after = load({"deep_linear": {"direct_optimisation": {"seeds": 7}}})
    for name, same in (("network_mlp", True), ("direct_optimisation", False)):
        specs = [jobs.picture(atlas, "deep_linear", name).spec.digest for atlas in (before, after)]
        assert (specs[0] == specs[1]) is same


def test_a_legend_reads_row_by_row():
    first, second = ([Line2D([], [], label=f"{word}{n}") for n in range(4)] for word in "ab")
    figure = Figure()
    legend = figure.legend(**by_rows([first, [], second[:2]], columns=3), loc="upper left")
    figure.draw_without_rendering()
    places = {}
    for text in filter(lambda text: text.get_text(), legend.get_texts()):
        box = text.get_window_extent()
        places.setdefault(round(-box.y0), []).append((box.x0, text.get_text()))
    rows = [[word for _, word in sorted(places[y])] for y in sorted(places)]
    assert rows == [["a0", "a1", "a2"], ["a3"], ["b0", "b1"]]
    assert by_rows([first])["ncols"] == 4 and by_rows([]) == {"handles": [], "ncols": 1}
