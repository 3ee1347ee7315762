"""Figure: active, mixed and passive variables, and their correlations in means and samples."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.plotting import TWO_COLUMNS, category_colours, over_seeds, range_bars, seed_points
from collapse.studies import Results
from collapse.studies.networks import setting
from collapse.studies.sentences import UNFINISHED, number
from collapse.studies.sentences import listed as spoken

TYPES = ("active", "mixed", "passive")
_MARKERS = dict(zip(TYPES, "os^", strict=True))
_REPRESENTATIONS = {"mean": "posterior means", "sampled": "samples"}


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["cvae_beta"]
    colours = category_colours(TYPES)
    figure, axes = plt.subplots(1, 3, figsize=(TWO_COLUMNS, 2.6))
    betas = sorted(experiment.metrics["beta"].unique())
    drawn = [
        *_draw_counts(axes[0], experiment, betas, colours),
        _draw_variables(axes[1], experiment, colours),
        *_draw_correlations(axes[2], experiment, betas, colours),
    ]
    handles = [Line2D([], [], color=colours[name], marker=_MARKERS[name], linestyle="", label=name)
               for name in TYPES]  # fmt: skip
    handles += [
        Line2D([], [], color="0.3", marker="D", linestyle="", label=text,
               markerfacecolor="0.3" if what == "mean" else "white")
        for what, text in _REPRESENTATIONS.items()
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), borderaxespad=0.2,
                  columnspacing=1.0, handletextpad=0.2)  # fmt: skip
    figure.text(0.01, 0.995, setting(experiment.config), va="top", fontsize=7)
    return figure, pd.concat(drawn, ignore_index=True)


def _draw_counts(
    axes: Axes, experiment: Results, betas: list[float], colours: Mapping
) -> list[pd.DataFrame]:
    """Draw how many variables are of each type, side by side at each beta."""
    drawn = []
    for offset, name in zip((-0.27, 0, 0.27), TYPES, strict=True):
        table = over_seeds(experiment.last(f"{name}_variables", "z"), ["beta"])
        at = [betas.index(beta) + offset for beta in table["beta"]]
        axes.bar(
            at, table["median"], 0.25, color=colours[name], yerr=range_bars(table),
            error_kw={"elinewidth": 0.6, "ecolor": "0.3"},
        )  # fmt: skip
        drawn.append(table.assign(series="count", type=name))
    axes.set_ylabel("variables")
    _name_betas(axes, betas)
    return drawn


def _draw_variables(axes: Axes, experiment: Results, colours: Mapping) -> pd.DataFrame:
    """Draw each variable of every network at its last epoch."""
    rows = experiment.points("latents")
    if len(rows):
        rows = rows[rows["step"] == rows["step"].max()]
    for name in TYPES:
        part = rows[rows["type"] == name] if len(rows) else rows
        if len(part):
            axes.plot(
                part["variance"], part["mean_variance"], _MARKERS[name], color=colours[name],
                markersize=3, markeredgewidth=0, alpha=0.6,
            )  # fmt: skip
    axes.set(xlabel="posterior variance / prior's", ylabel="variance of mean / prior's")
    axes.set_xlim(left=0)
    columns = ["beta", "seed", "type", "variable", "variance", "mean_variance"]
    return rows.reindex(columns=columns).assign(series="variable")


def _draw_correlations(
    axes: Axes, experiment: Results, betas: list[float], colours: Mapping
) -> list[pd.DataFrame]:
    """Draw mean largest correlations, of posterior means and of samples."""
    drawn = []
    for offset, name in ((-0.12, "active"), (0.12, "passive")):
        for what in _REPRESENTATIONS:
            table = over_seeds(experiment.last(f"{what}_correlation_{name}", "z"), ["beta"])
            at = [betas.index(beta) + offset for beta in table["beta"]]
            face = colours[name] if what == "mean" else "white"
            style = {"fmt": _MARKERS[name], "color": colours[name], "markerfacecolor": face}
            seed_points(axes, table.assign(place=at), "place", markersize=4, **style)
            drawn.append(table.assign(series=f"correlation of {what}", type=name))
    axes.set_ylabel("largest |correlation|")
    axes.set_ylim(0, 1.05)
    _name_betas(axes, betas)
    return drawn


def _name_betas(axes: Axes, betas: list[float]) -> None:
    axes.set_xticks(range(len(betas)), [f"{beta:g}" for beta in betas])
    axes.set_xlim(-0.5, len(betas) - 0.5)
    axes.set_xlabel(r"$\beta$")


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    counts = rows[rows["series"] == "count"]
    if counts.empty:
        return UNFINISHED
    table = counts.pivot(index="beta", columns="type", values="median").reindex(columns=TYPES)
    parts = [
        f"{row.active:g}, {row.mixed:g} and {row.passive:g} at beta = {row.Index:g}"
        for row in table.itertuples()
    ]
    sentences = [f"Median active, mixed and passive variables are {spoken(parts)}."]
    for name in ("active", "passive"):
        values = [
            rows.loc[
                (rows["series"] == f"correlation of {what}") & (rows["type"] == name), "median"
            ]
            for what in _REPRESENTATIONS
        ]
        if all(len(each) for each in values):
            mean, sampled = (number(float(np.mean(each))) for each in values)
            sentences.append(
                f"Over beta the mean largest correlation of {name} variables is {mean} in "
                f"posterior means and {sampled} in samples."
            )
    return " ".join(sentences)
