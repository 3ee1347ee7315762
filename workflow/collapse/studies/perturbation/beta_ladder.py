"""Figure: the minimiser for falling beta beside the flow at time 1/beta."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.plotting import THEORY, TWO_COLUMNS, decades
from collapse.studies import Results
from collapse.studies.perturbation.analysis import wide
from collapse.studies.perturbation.common import FLOW, MINIMISER, RATIO
from collapse.studies.sentences import UNFINISHED, number, span

_COLUMNS = ["seed", "beta", "time", "metric", "value"]


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    ladder = wide(experiments["beta_ladder"], "NC1_ratio", "flow_gap", "flow_gap_order")
    ladder = ladder[ladder["step"] == 1].assign(time=lambda rows: 1 / rows["beta"])
    # Each distance over its own constant: then all seeds have one limit. Where nothing moves both
    # are 0.
    ladder = ladder.assign(distance=ladder["flow_gap"] / ladder["flow_gap_order"])
    path = wide(experiments["flow"], "time", "NC1_ratio")
    path = path[(path["time"] > 0) & path["seed"].isin(ladder["seed"])]
    path = path[path["time"].between(ladder["time"].min(), ladder["time"].max())]
    figure, axes = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 2.5))
    for _, line in path.groupby("seed"):
        axes[0].plot(line["time"], line["NC1_ratio"], color=FLOW, linewidth=0.8)
    axes[0].plot(ladder["time"], ladder["NC1_ratio"], "o", color=MINIMISER)
    limit = _draw_distances(axes[1], ladder)
    labels = (RATIO, r"distance from the flow over $\|JV\|/2$")
    for panel, label in zip(axes, labels, strict=True):
        panel.set_xscale("log")
        decades(panel)
        panel.set_xlabel(r"$1/\beta$, for the flow time $t$")
        panel.set_ylabel(label)
    point = Line2D([], [], color=MINIMISER, marker="o", linestyle="", label="minimiser")
    line = Line2D([], [], color=FLOW, linewidth=0.8, label=r"flow at $t=1/\beta$")
    axes[0].legend(handles=[point, line], loc="lower left")
    theory = Line2D([], [], label=r"limit of large $\beta$: $\beta^{-2}$", **THEORY)
    axes[1].legend(handles=[point, theory], loc="upper left")
    drawn = [
        ladder.melt(["seed", "beta", "time"], ["NC1_ratio", "distance"], "metric"),
        path.assign(metric="flow NC1_ratio", beta=np.nan).rename(columns={"NC1_ratio": "value"}),
        limit.assign(metric="limit", beta=1 / limit["time"], seed=np.nan),
    ]
    table = pd.concat([rows[_COLUMNS] for rows in drawn], ignore_index=True)
    # The limit is of no seed.
    return figure, table.astype({"seed": "Int64"})


def _draw_distances(axes: Axes, ladder: pd.DataFrame) -> pd.DataFrame:
    """Draw the distances and their limit; return the limit."""
    axes.plot(ladder["time"], ladder["distance"], "o", color=MINIMISER)
    times = np.unique(ladder["time"])
    axes.plot(times, times**2, **THEORY)
    # The limit is one of small 1/beta: where it leaves the picture it says nothing.
    distances = ladder.loc[ladder["distance"] > 0, "distance"]
    if len(distances):
        axes.set_ylim(distances.min() / 3, distances.max() * 30)
    return pd.DataFrame({"time": times, "value": times**2})


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    ratios = rows[rows["metric"] == "NC1_ratio"].sort_values("time")
    if ratios.empty:
        return UNFINISHED
    large, small = ratios["beta"].max(), ratios["beta"].min()
    first, last = (ratios.loc[ratios["beta"] == beta, "value"].median() for beta in (large, small))
    steps = ratios.groupby("seed")["value"].diff().dropna()
    return (
        f"From beta = {large:g} to {small:g} the median NC1 ratio of the minimiser goes from "
        f"{number(first)} to {number(last)}{_flow_at_end(rows)}; as beta falls it falls in "
        f"{(steps < 0).sum()} of {len(steps)} steps of all seeds.{_over_limit(rows)}"
    )


def _flow_at_end(rows: pd.DataFrame) -> str:
    flow = rows[rows["metric"] == "flow NC1_ratio"]
    if flow.empty:
        return ""
    end = flow["time"].max()
    value = flow.loc[flow["time"] == end, "value"].median()
    return f", that of the flow to {number(value)} at time {number(end)}"


def _over_limit(rows: pd.DataFrame) -> str:
    """Say how far the distances are from their limit at the largest beta and at the smallest."""
    ladder = rows[rows["metric"] == "distance"].dropna(subset="value")
    if ladder.empty:
        return ""
    limit = rows[rows["metric"] == "limit"].set_index("beta")["value"]
    over = ladder["value"] / ladder["beta"].map(limit)
    large, small = (over[ladder["beta"] == find(ladder["beta"])] for find in (max, min))
    return (
        f" Over its limit the distance from the flow is 1 within {number((large - 1).abs().max())} "
        f"at the largest beta, where theory has 1, and {span(small)} at the smallest."
    )
