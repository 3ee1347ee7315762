"""What figures and claims see of an experiment."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from collapse import comparison, config, jobs, studies
from collapse.artifacts import write_table
from collapse.errors import InputError
from collapse.plotting import category_colours
from collapse.studies import Results, along_axes, load, read_experiments
from collapse.studies.analysis import matrix
from collapse.studies.curves import clipped, curves
from collapse.studies.networks import data_name, describe, model_name
from sign_reference import REFERENCE, captions
from tables import diverged, results

ATLAS = config.load("config", {"scale": "paper"})
STUDIES = sorted(path.parent.name for path in Path(studies.__file__).parent.glob("*/claims.py"))


def experiment():
    """Return an experiment of two depths and seeds, with points of two probes."""
    keys = {"depth": [1, 1, 2, 2], "seed": [0, 1, 0, 1]}
    metrics = pd.DataFrame(
        keys | {"step": 7, "layer": "all", "metric": "loss", "value": [4.0, 3.0, 2.0, 1.0]}
    )
    predictions = pd.DataFrame(keys | {"metric": "loss", "value": 1.0})
    marks = {"step": 7, "layer": "all"}
    points = [
        pd.DataFrame(keys | marks | {"probe": "residuals", "sample": 3, "residual": -0.5}),
        pd.DataFrame(keys | marks | {"probe": "means", "x": [np.nan, 1.0, 2.0, 3.0]}),
    ]
    grid = {"head.depth": [1, 2]}
    return Results(
        {"grid": grid, "head": {"depth": 1, "bias": True}},
        metrics,
        predictions,
        pd.concat(points, ignore_index=True),
    )


def test_points_are_those_of_one_probe_without_the_columns_of_others():
    given = experiment()
    place = ["depth", "seed", "step", "layer", "probe"]
    residuals, means = given.points("residuals"), given.points("means")
    assert list(residuals) == [*place, "sample", "residual"]
    assert list(means) == [*place, "x"] and len(means) == 4
    assert set(residuals["sample"]) == {3} and set(residuals["residual"]) == {-0.5}
    assert given.points("unknown").empty and list(given.points("unknown")) == list(given.samples)


def unequal():
    """Return runs that end at different steps, of which one has no decay for a key."""
    return results(
        {"grid": {}},
        [
            (
                {"decay": decay, "bias": seed > 0, "depth": 2, "seed": seed},
                {
                    (step, layer, "NC1"): value + step + 100 * (layer == "H2")
                    for step in (0, 5, last)
                    for layer in ("H1", "H2")
                }
                | {(last, "all", "error"): 0.5},
                {"loss": value, "alpha": -value},
            )
            for decay, seed, last, value in (
                (0.1, 0, 10, 1.0),
                (0.1, 1, 20, 2.0),
                (None, 0, 30, 3.0),
                (None, 1, 40, 4.0),
            )
        ],
    )


def test_a_metric_is_read_by_layer_and_at_the_last_step_of_every_run():
    given = unequal()
    assert given.keys == ["decay", "bias", "depth", "seed"]
    assert len(given.values("NC1")) == 24 and len(given.values("NC1", "H2")) == 12
    assert given.values("NC").empty and given.values("NC1", "all").empty
    assert given.last("NC1", "H1")["value"].tolist() == [11.0, 22.0, 33.0, 44.0]
    assert given.last("NC1")["value"].tolist() == [11, 111, 22, 122, 33, 133, 44, 144]
    # What a run has no more in its end has no last value, also where others have one.
    early = (given.metrics["seed"] == 0) & (given.metrics["step"] >= 10)
    undefined = replace(given, metrics=given.metrics[~early | (given.metrics["metric"] != "NC1")])
    assert undefined.last("NC1", "H1")["value"].tolist() == [22.0, 44.0]
    assert list(given.predicted("alpha")) == [*given.keys, "value"]
    assert given.predicted("alpha")["value"].tolist() == [-1.0, -2.0, -3.0, -4.0]


def test_diverged_runs_are_left_out_and_only_they():
    gone = diverged(unequal(), decay=0.1, seed=1)
    assert gone.last("NC1", "H1")["value"].tolist() == [11.0, 33.0, 44.0]
    assert len(gone.completed(gone.values("error"))) == 3
    assert len(gone.values("error")) == 4
    gone = diverged(unequal(), step=30)  # the run without a decay
    assert gone.last("NC1", "H1")["value"].tolist() == [11.0, 22.0, 44.0]


def test_curves_are_medians_and_ranges_over_the_seeds_of_a_head_after_the_start():
    runs = [
        (
            {"depth": depth, "bias": bias, "seed": seed},
            {(step, layer, "NC1"): value + step for step in (0, 1, 9) for layer in ("H1", "H2")}
            | {(9, "H1", "NC2"): -1},
            {},
        )
        for depth, bias, seed, value in (
            (1, False, 0, 10.0),
            (1, False, 1, 60.0),
            (1, False, 2, 20.0),
            (1, True, 0, 90.0),
            (3, True, 0, 30.0),
            (3, True, 1, 1e9),
        )
    ]
    given = diverged(results({}, runs), depth=3, seed=1)
    drawn = curves(given, "NC1", "H1")
    assert list(drawn) == ["depth", "step", "median", "low", "high", "seeds"]
    assert drawn.to_numpy().tolist() == [
        [1, 1, 41, 11, 91, 4],
        [1, 9, 49, 19, 99, 4],
        [3, 1, 31, 31, 31, 1],
        [3, 9, 39, 39, 39, 1],
    ]
    assert curves(given, "NC1", "H1", bias=False).to_numpy().tolist() == [
        [1, 1, 21, 11, 61, 3],
        [1, 9, 29, 19, 69, 3],
    ]
    assert curves(given, "NC1", "H1", bias=True)["median"].tolist() == [91, 99, 31, 39]
    assert curves(given, "NC3", "H1").empty
    raised = clipped(drawn, 40.0)
    assert raised["low"].tolist() == [40, 40, 40, 40]
    assert raised["median"].tolist() == [41, 49, 40, 40]
    assert raised["high"].tolist() == [91, 99, 40, 40] and raised["step"].tolist() == [1, 9, 1, 9]
    assert clipped(drawn, None) is drawn


def test_a_matrix_is_read_from_its_entries_on_and_above_the_diagonal():
    entries = {"gram[0,0]": 1.0, "gram[0,1]": 2.0, "gram[1,1]": 3.0, "grams[0,0]": 9.0}
    rows = pd.DataFrame({"metric": entries.keys(), "value": entries.values()})
    assert matrix(rows, "gram").tolist() == [[1.0, 2.0], [2.0, 3.0]]
    assert matrix(rows, "other") is None


# Axes


def test_points_vary_along_the_axes_and_only_along_them():
    along = along_axes(experiment(), ("head.depth", "head.bias"))
    assert along.note == "" and set(along.points("means")["depth"]) == {1, 2}
    for table in (along.metrics, along.predictions, along.samples):
        assert table["bias"].eq(True).all()
    single = along_axes(experiment(), ())
    assert single.note == "depth = 1 of 2 values"
    for table in (single.metrics, single.predictions, single.samples):
        assert set(table["depth"]) == {1} and "bias" not in table
    assert len(single.points("residuals")) == 2


def gridded(grid, **fixed):
    """Return an experiment of one run per pair of values of its grid's two keys."""
    (one, firsts), (other, seconds) = grid.items()
    runs = [
        (
            {one.split(".")[-1]: a, other.split(".")[-1]: b, "seed": 0},
            {(1, "all", "x"): 0},
            {"x": 0},
        )
        for a in firsts
        for b in seconds
    ]
    return results({"grid": grid} | fixed, runs)


def test_of_a_key_that_is_no_axis_the_first_value_is_kept_and_noted():
    given = gridded({"head.depth": [3, 1], "weight_decay": [0.1, 1e-5]}, weight_decay=0.1)
    along = along_axes(given, ("weight_decay",))
    for table in (along.metrics, along.predictions):
        assert table["depth"].tolist() == [3, 3]
        assert table["weight_decay"].tolist() == [0.1, 1e-5]
    assert along.note == "depth = 3 of 2 values" and along.config is given.config
    along = along_axes(given, ())
    assert along.note == "depth = 3 of 2 values, weight_decay = 0.1 of 2 values"
    assert len(along.metrics) == len(along.predictions) == 1


def test_a_key_of_one_value_is_kept_without_a_note_and_none_counts_as_a_value():
    given = gridded({"head.depth": [3], "feature_decay": [None, 0.5]})
    along = along_axes(given, ())
    assert along.note == "feature_decay = None of 2 values"
    assert along.metrics["depth"].tolist() == [3]
    assert along.metrics["feature_decay"].isna().tolist() == [True]


@pytest.mark.parametrize(
    ("axis", "value"),
    [
        ("weight_decay", 0.1),
        ("problem.class_sizes", "4-2"),
        ("problem.bias", False),
        ("problem.other", None),  # None stands for a key that is not there
        ("sweep.direction", None),
        ("head.bias", None),
        ("nowhere.bias", None),
        ("bias", None),
    ],
)
def test_an_axis_that_the_grid_does_not_vary_becomes_a_column_of_its_one_value(axis, value):
    fixed = {"weight_decay": 0.1, "problem": {"class_sizes": [4, 2], "bias": False}}
    given = gridded({"head.depth": [3], "width": [1, 2]}, sweep=None, head={}, **fixed)
    along = along_axes(given, (axis, "width"))
    added = [] if value is None else [axis.split(".")[-1]]
    for before, table in (
        (given.metrics, along.metrics),
        (given.predictions, along.predictions),
        (given.samples, along.samples),
    ):
        assert list(table) == [*before, *added]
        for key in added:
            assert table[key].tolist() == [value] * len(before)


@pytest.mark.parametrize("study", STUDIES)
def test_every_axis_of_a_study_is_a_path_of_the_configs_that_it_tells_apart(study):
    shipped = load(study)
    reads = {name for figure in shipped.figures.values() for name in figure.reads}
    configs = jobs.described(ATLAS, study, tuple(sorted(reads | set(shipped.claims_read))))

    def known(path, name):
        *section, key = path.split(".")
        given = configs[name]
        holder = (given.get(section[0]) or {}) if section else given
        return path in given["grid"] or key in holder

    for axis in shipped.axes:
        assert any(known(axis, name) for name in configs), axis
    for name, axes in shipped.own_axes.items():
        assert name in configs
        for axis in axes:
            assert known(axis, name), f"{axis} of {name}"


# Reading


def test_an_experiment_is_read_from_its_three_tables(tmp_path):
    given = experiment()
    folder = tmp_path / "deep_linear" / "small"
    names = ("metrics", "predictions", "samples")
    for name in names:
        write_table(folder / f"{name}.parquet", getattr(given, name), {})
    paths = [str(folder / f"{name}.parquet") for name in names]
    read = read_experiments(paths, {"small": given.config}, "deep_linear")["small"]
    assert read.config == given.config
    pd.testing.assert_frame_equal(
        read.points("residuals").drop(columns="bias"), given.points("residuals")
    )
    assert read.last("loss")["value"].tolist() == [4.0, 3.0, 2.0, 1.0]


def test_axes_of_single_experiments_are_told_apart_in_them_only(tmp_path):
    grid = {"feature_decay": [0.1, 0.2], "head.width": [1]}
    given, paths = gridded(grid, weight_decay=1.0), []
    for name in ("reacher_norms", "reacher"):
        for table in ("metrics", "predictions", "samples"):
            path = tmp_path / "regression" / name / f"{table}.parquet"
            write_table(path, getattr(given, table), {})
            paths.append(str(path))
    described = dict.fromkeys(("reacher_norms", "reacher"), given.config)
    read = read_experiments(paths, described, "regression")
    assert read["reacher_norms"].metrics["feature_decay"].tolist() == [0.1, 0.2]
    assert read["reacher"].metrics["feature_decay"].tolist() == [0.1]
    assert read["reacher"].note == "feature_decay = 0.1 of 2 values"


def test_a_study_that_is_not_there_is_refused_in_a_line():
    with pytest.raises(InputError, match="no study 'nowhere': .*collapse/studies/nowhere/"):
        load("nowhere")
    for wanted in (jobs.claims, jobs.moving):
        with pytest.raises(InputError, match="no study 'deep_liner', did you mean 'deep_linear'"):
            wanted(ATLAS, "deep_liner")


def test_networks_are_named_by_their_labels():
    labels = {
        "model": "MLP 6x512",
        "data": "Fashion-MNIST",
        "samples": "200 samples a class",
        "loss": "MSE",
    }
    given = {"labels": labels}
    assert (model_name(given), data_name(given)) == ("MLP 6x512", "Fashion-MNIST")
    assert describe(given) == "MLP 6x512 on Fashion-MNIST, 200 samples a class, MSE"


@pytest.mark.parametrize("count", [0, 3, 10, 13])
def test_colours_of_categories_are_those_of_seaborns_palette_for_the_colour_blind(count):
    import seaborn

    found = list(category_colours(range(count)).values())
    assert found == list(seaborn.color_palette("colorblind", count))


def test_captions_that_are_shipped_say_what_the_code_says_of_the_numbers_beside_them():
    shipped = list(captions())
    assert len(shipped) > 45
    stale = [str(path) for path, text in shipped if path.read_text(encoding="utf-8") != text]
    assert not stale, "`python tests/sign_reference.py` writes them anew"


def test_each_claim_that_is_shipped_says_by_itself_what_it_is_about():
    statements = comparison.claims(REFERENCE)["statement"]
    leaning = r"^(?:The same of|So|They|It|This|These|Those|Neither|Also|In the same)\b"
    assert len(statements) > 350 and not list(statements[statements.str.contains(leaning)])
