"""Figure: what is monotone along the central-path flow, what is not, and the exact rate."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.plotting import THEORY, TWO_COLUMNS, decades, ordered_colours
from collapse.studies import Results
from collapse.studies.perturbation.analysis import exact_rates, flows, wide

_MONOTONE = {
    "log_nc1_ratio": "NC1_ratio",
    "log_within": r"$e^{2\lambda_H t}\,\mathrm{tr}\,\Sigma_W$",
    "log_between": r"$e^{2\lambda_H t}\,\mathrm{tr}\,\Sigma_B$",
}
_NOT = {"trace_between": r"$\mathrm{tr}\,\Sigma_B$", "NC1": "NC1", "NC2_ETF": "NC2"}


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["flow"]
    table = flows(experiment)
    others = wide(experiment, "time", *_NOT)
    # Of all flows: a flow of which NC1_ratio is never resolved has the other panels.
    colours = ordered_colours(sorted(others["seed"].unique()))
    figure, axes = plt.subplots(2, 4, figsize=(TWO_COLUMNS, 3.3), sharex=True)
    drawn = [_lines(axes[0, i], table, name, colours) for i, name in enumerate(_MONOTONE)]
    # Only what falls to zero spans decades.
    for panel, label in zip(axes[0], _MONOTONE.values(), strict=False):
        decades(panel)
        panel.set_title(label, loc="left")
    for panel, (name, label) in zip(axes[1], _NOT.items(), strict=False):
        drawn.append(_lines(panel, others, name, colours))
        panel.set_title(label + " / largest", loc="left")
        panel.set_ylim(0, 1.05)
        panel.set_xlabel("time $t$")
    drawn.append(_slopes(axes[0, 3], exact_rates(experiment), colours))
    axes[0, 3].set_xlabel("time $t$")
    axes[0, 3].tick_params(labelbottom=True)
    axes[1, 3].set_axis_off()
    axes[1, 3].legend(
        handles=[
            Line2D([], [], color="0.3", marker="o", linestyle="", label="between records"),
            Line2D([], [], label="exact rate", **THEORY),
            *(
                Line2D([], [], color=colour, label=f"seed {seed}")
                for seed, colour in list(colours.items())[:4]
            ),
        ],
        loc="center left",
    )
    axes[0, 0].set_ylabel("monotone (Thm 3.1)")
    axes[1, 0].set_ylabel("need not be")
    return figure, pd.concat(drawn, ignore_index=True)


def _lines(axes: Axes, table: pd.DataFrame, name: str, colours: Mapping[int, tuple]):
    """Draw one line per seed, logarithms as what they are of, the others over their largest."""
    values = table[name]
    if name.startswith("log_"):
        values = np.exp(values)
    else:
        values = values / values.groupby(table["seed"]).transform("max")
    rows = pd.DataFrame(
        {"seed": table["seed"], "time": table["time"], "value": values, "series": name}
    )
    rows = rows[rows["time"] > 0]
    for seed, line in rows.groupby("seed"):
        axes.plot(line["time"], line["value"], color=colours[seed], linewidth=1)
    axes.set_xscale("log")
    return rows


def _slopes(axes: Axes, table: pd.DataFrame, colours: Mapping[int, tuple]) -> pd.DataFrame:
    table = table[table["time"] > 0]
    middle = np.sqrt(table["time"] * table["next_time"])
    rows = pd.DataFrame({"seed": table["seed"], "time": middle, "value": -table["slope"]})
    for seed, line in rows.groupby("seed"):
        axes.plot(line["time"], line["value"], "o", color=colours[seed], markersize=2)
        exact = table[table["seed"] == seed]
        axes.plot(exact["time"], -exact["rate"], **THEORY)
    decades(axes)
    axes.set_title(r"$-\,d\ln$ NC1_ratio$/dt$", loc="left")
    exact = table[["seed", "time"]].assign(value=-table["rate"], series="exact rate")
    return pd.concat([rows.assign(series="slope between records"), exact])
