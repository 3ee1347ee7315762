"""Figure: the minimiser for falling beta beside the flow at time 1/beta."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.plotting import THEORY, TWO_COLUMNS, decades, ordered_colours
from collapse.studies import Results
from collapse.studies.perturbation.analysis import wide


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    ladder = wide(experiments["beta_ladder"], "NC1_ratio", "flow_gap", "flow_gap_order")
    ladder = ladder[ladder["step"] == 1].assign(time=lambda rows: 1 / rows["beta"])
    path = wide(experiments["flow"], "time", "NC1_ratio")
    path = path[(path["time"] > 0) & path["seed"].isin(ladder["seed"])]
    path = path[path["time"].between(ladder["time"].min(), ladder["time"].max())]
    colours = ordered_colours(sorted(ladder["seed"].unique()))
    figure, axes = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 2.5))
    for seed, colour in colours.items():
        points, line = (rows[rows["seed"] == seed] for rows in (ladder, path))
        points = points.sort_values("time")
        axes[0].plot(line["time"], line["NC1_ratio"], color=colour)
        axes[0].plot(points["time"], points["NC1_ratio"], "o", color=colour)
        axes[1].plot(points["time"], points["flow_gap"], "o", color=colour)
        limit = points["flow_gap_order"] * points["time"] ** 2
        axes[1].plot(points["time"], limit, **THEORY)
    # The limit is one of small 1/beta: where it leaves the picture it says nothing.
    gaps = ladder.loc[ladder["flow_gap"] > 0, "flow_gap"]
    if len(gaps):
        axes[1].set_ylim(gaps.min() / 3, gaps.max() * 5)
    for panel, label in zip(axes, ("NC1_ratio", "distance from the flow"), strict=True):
        panel.set_xscale("log")
        decades(panel)
        panel.set_xlabel(r"$1/\beta$, time $t$")
        panel.set_ylabel(label)
    axes[0].legend(
        handles=[
            Line2D([], [], color="0.3", marker="o", linestyle="", label=r"minimiser at $\beta$"),
            Line2D([], [], color="0.3", label=r"flow at $t=1/\beta$"),
        ],
        loc="lower left",
    )
    axes[1].legend(
        handles=[Line2D([], [], label=r"$\frac{1}{2}\|JV\|\,\beta^{-2}$", **THEORY)],
        loc="upper left",
    )
    drawn = [
        ladder.melt(["seed", "beta", "time"], ["NC1_ratio", "flow_gap", "flow_gap_order"]),
        path.assign(metric="flow NC1_ratio", beta=np.nan).rename(columns={"NC1_ratio": "value"}),
    ]
    columns = ["seed", "beta", "time", "metric", "value"]
    return figure, pd.concat([rows[columns] for rows in drawn], ignore_index=True)
