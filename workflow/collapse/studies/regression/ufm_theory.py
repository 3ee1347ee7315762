"""Figure: free features at the optimum against the closed form, across its thresholds."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.plotting import (
    FLOAT64_FLOOR,
    THEORY,
    TWO_COLUMNS,
    category_colours,
    error_axis,
    ordered_colours,
    over_seeds,
    seed_band,
)
from collapse.studies import Results
from collapse.studies.analysis import loss_gap, matrix, relative
from collapse.studies.curves import diverged_note
from collapse.studies.regression.analysis import (
    chosen,
    covariance,
    gram_distance,
    indexed,
    products,
    runs,
    theory_along,
)
from collapse.studies.regression.panels import (
    NOTHING,
    from_zero,
    heading,
    label_rows,
    line,
    logarithmic,
    say,
)
from collapse.studies.regression.wording import medians
from collapse.studies.sentences import UNFINISHED, number, span
from collapse.theory.regression import truncated_gram

_DISTANCE, _GAP = "relative distance of W W^T", "relative loss gap"
_SENTENCES = {
    (_DISTANCE, "closed form"): (
        "The relative distance of the Gram matrix of W from the closed form is at most {0}."
    ),
    (_DISTANCE, "paper"): "From the paper's formula between the eigenvalues it is {1}.",
    (_GAP, "measured"): "The relative distance of the loss from its closed form is at most {0}.",
}
"""What is said of a quantity of a series, of its largest value and of its range."""
_PAPER = {"color": "firebrick", "linestyle": (0, (1, 1.5)), "linewidth": 1.0}
_MARKERS = {True: "o", False: "x"}
# A cross is seen within a ring, where they lie on each other.
_SIZES = {True: 4.0, False: 2.6}
_MARGIN = 1.04
"""How far an axis of c goes beyond the largest that was run."""
_SHAPES = "os^D"
"""Markers of the problems, one for each covariance."""
_LABELS = {
    "eigenvalue": "eigenvalue of\n" + r"$\sqrt{\lambda_W/\lambda_H}\,WW^\mathrm{T}$",
    "loss": "loss",
    "share": "variance share\nof the features",
}


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    free = experiments["free_features"]
    problems = [
        chosen(free, target_covariance=name) for name in free.metrics["target_covariance"].unique()
    ]
    problems = [experiment for experiment in problems if len(covariance(experiment))]
    if not problems:
        figure, axes = plt.subplots(figsize=(TWO_COLUMNS, 1.5))
        say(axes, NOTHING)
        diverged_note(axes, free)
        return figure, pd.DataFrame(columns=["c", "value"])
    largest = max(len(covariance(experiment)) for experiment in problems)
    # Those of the components in the figure of the networks' variance shares.
    colours = category_colours(range(1, max(largest, 5) + 1))
    colours = {index: colours[index] for index in range(1, largest + 1)}
    figure = plt.figure(figsize=(TWO_COLUMNS, 5.0))
    left, right = figure.subfigures(1, 2, width_ratios=(len(problems) * 1.05, 1.15))
    axes = left.subplots(len(_LABELS), len(problems), squeeze=False)
    columns = zip(axes.T, problems, strict=True)
    figure_rows = [_draw_column(column, experiment, colours) for column, experiment in columns]
    label_rows(axes, _LABELS.values())
    end = _MARGIN * products(free, free.values("loss"))["c"].max()
    first, second, third = right.subplots(3, 1)
    figure_rows.append(_draw_distances(first, problems, end))
    figure_rows.append(_draw_gaps(second, problems, end))
    figure_rows.append(_draw_no_decay(third, experiments["no_decay"]))
    diverged_note(axes[0, 0], free)
    heading(figure, [free], _handles(free, colours))
    return figure, pd.concat(figure_rows, ignore_index=True)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    if rows.empty:
        return UNFINISHED
    parts = {name: part for name, part in rows.groupby(["quantity", "series"])["value"]}
    sentences = [
        _SENTENCES[name].format(number(parts[name].max()), span(parts[name]))
        for name in _SENTENCES
        if len(parts.get(name, ()))
    ]
    starts = rows[rows["quantity"] == "NRC1"]
    starts = starts[starts["step"] == starts["step"].max()].sort_values("init_scale")
    if len(starts):
        sentences.append(
            f"Without decay NRC1 ends at {medians(starts, 'value')} from starts of scale "
            f"{medians(starts, 'init_scale')}."
        )
    return " ".join(sentences)


def _handles(free: Results, colours: Mapping[int, tuple]) -> list:
    handles = [line(f"$j={index}$", color=colours[index]) for index in sorted(colours)]
    names = {True: "with bias", False: "without"}
    handles += [
        line(names[bias], color="0.3", marker=_MARKERS[bias], linestyle="", markerfacecolor="none")
        for bias in _MARKERS
        if (free.metrics["bias"] == bias).any()
    ]
    return [
        *handles,
        line("closed form", **THEORY),
        line("paper's formula between thresholds", **_PAPER),
    ]


def _draw_column(
    column: np.ndarray, experiment: Results, colours: Mapping[int, tuple]
) -> pd.DataFrame:
    """Draw one covariance: eigenvalues of W W^T, loss and variance shares against c."""
    target_covariance = covariance(experiment)
    thresholds = np.linalg.eigvalsh(target_covariance)[::-1]
    measured = _measured(experiment, thresholds[0])
    end = _MARGIN * products(experiment, experiment.values("loss"))["c"].max()
    theory = _theory(target_covariance, np.linspace(0, end, 401)[1:])
    theory = pd.concat([theory, _by_paper(target_covariance, end)], ignore_index=True)
    for panel, quantity in zip(column, _LABELS, strict=True):
        points, lines = (rows[rows["quantity"] == quantity] for rows in (measured, theory))
        # Every run by itself: one that took another branch must not hide in a median.
        for (bias, index), rows in points.groupby(["bias", "index"]):
            colour = colours.get(index, "0.3")
            panel.plot(
                rows["c"], rows["value"], _MARKERS[bias], color=colour, markersize=_SIZES[bias],
                markerfacecolor="none", markeredgewidth=0.7, clip_on=False,
            )  # fmt: skip
        for (_, series), rows in lines.groupby(["index", "series"]):
            panel.plot(rows["c"], rows["value"], **(_PAPER if series == "paper" else THEORY))
        for value in thresholds:
            panel.axvline(value, color="0.8", linewidth=0.6, zorder=0)
        panel.set(xlim=(0, end), ylim=(0, None))
        panel.tick_params(labelbottom=panel is column[-1])
    column[-1].set_xlabel(r"$c=\lambda_W\lambda_H$")
    values = ", ".join(f"{value:.3g}" for value in thresholds)
    column[0].set_title(rf"$\lambda_j={values}$", loc="left")
    return pd.concat([measured, theory], ignore_index=True).assign(
        target_covariance=experiment.metrics["target_covariance"].iloc[0]
    )


def _measured(experiment: Results, largest: float) -> pd.DataFrame:
    """Return eigenvalues, loss and, while there are features, variance shares of every run."""
    keys = experiment.keys
    grams = [
        {**run, "index": index, "value": value}
        for run, rows in runs(experiment, "gram")
        for index, value in enumerate(np.linalg.eigvalsh(matrix(rows, "gram"))[::-1], start=1)
    ]
    grams = products(experiment, pd.DataFrame(grams, columns=[*keys, "index", "value"]))
    # sqrt(weight_decay / feature_decay) W W^T depends on c alone.
    grams["value"] *= grams["weight_decay"] / np.sqrt(grams["c"])
    loss = products(experiment, experiment.last("loss")).assign(index=0)
    shares = products(experiment, indexed(experiment, "explained_variance_ratio"))
    shares = shares[(shares["index"] <= grams["index"].max()) & (shares["c"] < largest)]
    parts = {"eigenvalue": grams, "loss": loss, "share": shares}
    columns = [*keys, "c", "quantity", "index", "value"]
    return pd.concat(
        [rows.assign(quantity=name)[columns] for name, rows in parts.items()], ignore_index=True
    ).assign(series="measured")


def _theory(target_covariance: np.ndarray, grid: np.ndarray) -> pd.DataFrame:
    """Return the same by the closed form at each c."""
    rows = []
    for c, prediction in zip(
        grid, theory_along(target_covariance, np.sqrt(grid), np.sqrt(grid)), strict=True
    ):
        values = np.linalg.eigvalsh(np.array(prediction["gram"]))[::-1]
        shares = prediction["explained_variance_ratio"] or []
        rows.append((c, "loss", 0, prediction["loss"]))
        rows += [(c, "eigenvalue", index, value) for index, value in enumerate(values, start=1)]
        rows += [(c, "share", index, value) for index, value in enumerate(shares, start=1)]
    return pd.DataFrame(rows, columns=["c", "quantity", "index", "value"]).assign(series="theory")


def _by_paper(target_covariance: np.ndarray, end: float) -> pd.DataFrame:
    """Return the eigenvalues of the paper's formula between the thresholds."""
    low, *_, high = np.linalg.eigvalsh(target_covariance)
    rows = [
        (c, "eigenvalue", index, value)
        for c in np.linspace(low, min(high, end), 202)[1:-1]
        for index, value in enumerate(
            np.linalg.eigvalsh(truncated_gram(target_covariance, np.sqrt(c), np.sqrt(c)))[::-1],
            start=1,
        )
    ]
    return pd.DataFrame(rows, columns=["c", "quantity", "index", "value"]).assign(series="paper")


def _draw_no_decay(axes: Axes, experiment: Results) -> pd.DataFrame:
    """Draw NRC1 against the step without decay, one line per scale of the start."""
    rows = experiment.completed(experiment.values("NRC1"))
    rows = over_seeds(rows, ["init_scale", "step"])
    colours = ordered_colours(sorted(rows["init_scale"].unique()))
    for scale, group in rows.groupby("init_scale"):
        seed_band(axes, group, "step", color=colours[scale])
        last = group.sort_values("step").iloc[-1]
        axes.annotate(
            f"{scale:g}", (last["step"], last["median"]), xytext=(3, 0), va="center", fontsize=7,
            textcoords="offset points", color=colours[scale],
        )  # fmt: skip
    if len(rows):
        from_zero(axes, rows["step"])
        # Room for the scales that are written at the ends of the curves.
        axes.set_xlim(right=rows["step"].max() * 8)
        logarithmic([axes])
    axes.set_title("no decay, by scale of the start", loc="left")
    axes.set_xlabel("step")
    axes.set_ylabel("NRC1")
    diverged_note(axes, experiment)
    return rows.rename(columns={"median": "value"}).assign(quantity="NRC1", series="measured")


def _draw_distances(axes: Axes, problems: list[Results], end: float) -> pd.DataFrame:
    """Draw how far W W^T is from the closed form, and from the paper's formula, against c."""
    figure_rows = [
        rows.assign(series=series)
        for experiment in problems
        for series, rows in _distances(experiment).items()
    ]
    colours = {"closed form": "0.3", "paper": _PAPER["color"]}
    # One table for each formula of each problem in turn.
    for index, rows in enumerate(figure_rows):
        axes.plot(
            rows["c"], rows["value"], _SHAPES[index // len(colours)], markersize=3,
            color=colours[rows["series"].iloc[0]] if len(rows) else None, markerfacecolor="none",
            markeredgewidth=0.6,
        )  # fmt: skip
    _error_axis(axes, r"distance of $WW^\mathrm{T}$", end)
    axes.tick_params(labelbottom=False)
    words = {"closed form": ("to the closed form", 1e-12), "paper": ("to the paper's", 1e-3)}
    for series, (text, height) in words.items():
        axes.annotate(text, (0.97 * end, height), ha="right", fontsize=6, color=colours[series])
    return pd.concat(figure_rows).assign(quantity=_DISTANCE)


def _distances(experiment: Results) -> dict[str, pd.DataFrame]:
    """Return the relative distance of every run's W W^T to either formula, and c."""
    low, *_, high = np.linalg.eigvalsh(target_covariance := covariance(experiment))
    closed = products(experiment, gram_distance(experiment))
    columns = [*experiment.keys, "gram"]
    grams = [{**run, "gram": matrix(rows, "gram")} for run, rows in runs(experiment, "gram")]
    between = products(experiment, pd.DataFrame(grams, columns=columns)).query("@low < c < @high")
    values = [
        relative(
            row.gram, truncated_gram(target_covariance, row.weight_decay, row.c / row.weight_decay)
        )
        for row in between.itertuples()
    ]
    return {"closed form": closed, "paper": between.drop(columns="gram").assign(value=values)}


def _draw_gaps(axes: Axes, problems: list[Results], end: float) -> pd.DataFrame:
    """Draw the relative distance of the loss to its optimum against c."""
    figure_rows = []
    for shape, experiment in zip(_SHAPES, problems, strict=False):
        rows = products(experiment, experiment.at_last(loss_gap(experiment)))
        count = len(covariance(experiment))
        axes.plot(
            rows["c"], rows["value"].clip(lower=FLOAT64_FLOOR), shape, color="0.3", markersize=3,
            markerfacecolor="none", markeredgewidth=0.6, label=f"$n={count}$",
        )  # fmt: skip
        figure_rows.append(rows)
    _error_axis(axes, "relative loss gap", end)
    axes.set_xlabel(r"$c=\lambda_W\lambda_H$")
    axes.legend(fontsize=6, loc="upper right", ncols=2)
    return pd.concat(figure_rows).assign(quantity=_GAP, series="measured")


def _error_axis(axes: Axes, label: str, end: float) -> None:
    error_axis(axes, top=3)
    axes.set_xlim(0, end)
    axes.set_ylabel(label)
