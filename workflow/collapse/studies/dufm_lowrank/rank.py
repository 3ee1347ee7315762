"""Figure: the mean rank against the decay, and how often DNC is found against the width."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from collapse.plotting import THEORY, TWO_COLUMNS, category_colours
from collapse.studies import Results
from collapse.studies.dufm_lowrank.analysis import found_dnc, mean_ranks
from collapse.studies.sentences import UNFINISHED, listed, number

RANK, SHARE = "mean rank", "share in DNC"
_Z = 1.96


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 2.4))
    drawn = []
    # A scale may leave either out.
    if "decay" in experiments:
        drawn.append(_ranks(left, experiments["decay"]))
    if "width" in experiments:
        drawn.append(_shares(right, experiments["width"]))
    for panel in (left, right):
        if not panel.has_data():
            panel.set_axis_off()
            panel.text(0.5, 0.5, "no run", transform=panel.transAxes, ha="center")
    return figure, pd.concat(drawn, ignore_index=True) if drawn else pd.DataFrame()


def _ranks(axes: Axes, experiment: Results) -> pd.DataFrame:
    """Draw the mean rank of every run, the mean over runs, and the ranks of both solutions."""
    rows = mean_ranks(experiment)
    means = rows.groupby("weight_decay")["value"].mean()
    colour = category_colours([RANK])[RANK]
    # Runs of one rank lie beside one another.
    order = rows.groupby("weight_decay").cumcount()
    beside = 2.0 ** (0.06 * (order - order.max() / 2))
    axes.plot(
        rows["weight_decay"] * beside, rows["value"], "o", color=colour, alpha=0.45, markersize=3,
        markeredgewidth=0,
    )  # fmt: skip
    axes.plot(means.index, means, color=colour, marker="s", markersize=4)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(means.index))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.minorticks_off()
    for name, label in (("rank_dnc", "DNC"), ("rank_srg", "SRG")):
        predicted = experiment.predicted(name)["value"]
        if len(predicted):
            axes.axhline(predicted.iloc[0], zorder=0, **THEORY)
            axes.annotate(
                label, (0.99, predicted.iloc[0]), xycoords=("axes fraction", "data"), ha="right",
                xytext=(0, 2), textcoords="offset points", fontsize=7,
            )  # fmt: skip
    axes.set(xlabel=r"decay $\lambda$ of all layers and of $H_1$", ylabel="rank, mean of layers")
    return rows.rename(columns={"weight_decay": "x"})[["x", "seed", "value"]].assign(series=RANK)


def _shares(axes: Axes, experiment: Results) -> pd.DataFrame:
    """Draw the share of runs that end in DNC, with Wilson's interval."""
    rows = found_dnc(experiment)
    groups = rows.groupby("widths")["value"]
    table = groups.agg(value="mean", runs="count").reset_index()
    low, high = wilson(table["value"], table["runs"])
    colour = category_colours([RANK, SHARE])[SHARE]
    axes.errorbar(
        table["widths"], table["value"], yerr=[table["value"] - low, high - table["value"]],
        fmt="o-", color=colour, markersize=4, elinewidth=0.8,
    )  # fmt: skip
    axes.set(xlabel="width of all layers", ylabel="share of runs that end in DNC")
    axes.set_ylim(-0.05, 1.05)
    return table.rename(columns={"widths": "x"}).assign(low=low, high=high, series=SHARE)


def wilson(share: pd.Series, runs: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Return Wilson's 95 % interval of a share of so many runs."""
    middle = (share + _Z**2 / (2 * runs)) / (1 + _Z**2 / runs)
    spread = share * (1 - share) / runs + _Z**2 / (4 * runs**2)
    half = _Z * np.sqrt(spread) / (1 + _Z**2 / runs)
    # Rounding would put the end of a share of 0 or 1 beyond it.
    return np.minimum(middle - half, share), np.maximum(middle + half, share)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    if rows.empty:
        return UNFINISHED
    sentences = []
    ranks = rows[rows["series"] == RANK].groupby("x")["value"].mean()
    if len(ranks):
        parts = [f"{number(value)} at {number(decay)}" for decay, value in ranks.items()]
        sentences.append(f"The mean rank over layers and runs is {listed(parts)}.")
    shares = rows[rows["series"] == SHARE]
    if len(shares):
        parts = [
            f"{round(row.value * row.runs)} of {row.runs:g} at width {row.x:g}"
            for row in shares.itertuples()
        ]
        sentences.append(f"Runs that end in DNC are {listed(parts)}.")
    return " ".join(sentences)
