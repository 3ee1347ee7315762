"""Figure: what is monotone along the central-path flow, what is not, and the exact rate."""

from collections.abc import Callable, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.plotting import THEORY, TWO_COLUMNS, decades
from collapse.studies import Results
from collapse.studies.perturbation.analysis import exact_rates, flows, wide
from collapse.studies.perturbation.common import FLOW, RATIO
from collapse.studies.sentences import UNFINISHED, listed, number

_MONOTONE = {
    "log_nc1_ratio": RATIO,
    "log_within": r"$e^{2\lambda_H t}\,\mathrm{tr}\,\Sigma_W$",
    "log_between": r"$e^{2\lambda_H t}\,\mathrm{tr}\,\Sigma_B$",
}
_NOT = {"trace_between": r"$\mathrm{tr}\,\Sigma_B$", "NC1": "NC1", "NC2_ETF": "NC2 (ETF)"}
_SLOPE, _RATE = "slope between records", "exact rate"
# Of each series its name in sentences, and the direction that counts: 1 a rise, -1 a fall.
_AGAINST_THEORY = {
    "log_nc1_ratio": ("the NC1 ratio rises", 1),
    "log_within": ("the freed trace within classes rises", 1),
    "log_between": ("the freed trace between classes falls", -1),
}
_ALLOWED = {
    "trace_between": ("the trace between classes falls", -1),
    "NC1": ("NC1 rises", 1),
    "NC2_ETF": ("NC2 rises", 1),
}
_ROUNDING = 1e-9
"""Relative change between records below which there is none, as for the claims."""


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["flow"]
    table = flows(experiment)
    # Of all flows: a flow of which NC1_ratio is never resolved has the other panels.
    others = wide(experiment, "time", *_NOT)
    figure, axes = plt.subplots(2, 4, figsize=(TWO_COLUMNS, 3.3), sharex=True)
    drawn = [_lines(axes[0, i], table, name) for i, name in enumerate(_MONOTONE)]
    # Only what falls to zero spans decades.
    for panel, label in zip(axes[0], _MONOTONE.values(), strict=False):
        decades(panel)
        panel.set_title(label, loc="left")
    for panel, (name, label) in zip(axes[1], _NOT.items(), strict=False):
        drawn.append(_lines(panel, others, name))
        panel.set_title(label + " / largest", loc="left")
        panel.set_ylim(0, 1.05)
        panel.set_xlabel("time $t$")
    drawn.append(_slopes(axes[0, 3], exact_rates(experiment)))
    axes[0, 3].set_xlabel("time $t$")
    axes[0, 3].tick_params(labelbottom=True)
    axes[1, 3].set_axis_off()
    axes[1, 3].legend(
        handles=[
            Line2D([], [], color=FLOW, linewidth=1, label="flow, one per seed"),
            Line2D([], [], color=FLOW, marker="o", linestyle="", label=_SLOPE),
            Line2D([], [], label=_RATE, **THEORY),
        ],
        loc="center left",
    )
    axes[0, 0].set_ylabel("monotone (Thm 3.1)")
    axes[1, 0].set_ylabel("need not be")
    return figure, pd.concat(drawn, ignore_index=True)


def _lines(axes: Axes, table: pd.DataFrame, name: str) -> pd.DataFrame:
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
    for _, line in rows.groupby("seed"):
        axes.plot(line["time"], line["value"], color=FLOW, linewidth=0.8)
    axes.set_xscale("log")
    return rows


def _slopes(axes: Axes, table: pd.DataFrame) -> pd.DataFrame:
    table = table[table["time"] > 0]
    middle = np.sqrt(table["time"] * table["next_time"])
    rows = pd.DataFrame({"seed": table["seed"], "time": middle, "value": -table["slope"]})
    for seed, line in rows.groupby("seed"):
        axes.plot(line["time"], line["value"], "o", color=FLOW, markersize=1.8)
        exact = table[table["seed"] == seed]
        # Above the points of all seeds.
        axes.plot(exact["time"], -exact["rate"], zorder=3, **THEORY)
    decades(axes)
    axes.set_title(rf"$-\,d\ln$({RATIO})$/dt$", loc="left")
    exact = table[["seed", "time"]].assign(value=-table["rate"], series=_RATE)
    return pd.concat([rows.assign(series=_SLOPE), exact])


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    rows = rows.sort_values(["seed", "time"])
    steps = _steps(rows)
    if steps.empty:
        return UNFINISHED
    sentences = []
    if steps["series"].isin(_AGAINST_THEORY).any():
        against = _counted(steps, _AGAINST_THEORY, lambda of: f"in {of.sum()}")
        sentences.append(
            f"Of {(steps['series'] == 'log_nc1_ratio').sum()} steps between records {against}, by "
            "more than a billionth of itself; theory has no such step."
        )
    runs = steps["seed"].nunique()
    allowed = _counted(steps, _ALLOWED, lambda of: f"in {of.groupby(steps['seed']).any().sum()}")
    sentences.append(f"Of {runs} {'flow' if runs == 1 else 'flows'}, {allowed} at some time.")
    gaps = _rate_gaps(rows)
    if len(gaps):
        sentences.append(
            f"The slopes differ from the exact rate by {number(gaps.median())} of it in the "
            f"median, by {number(gaps.max())} at most."
        )
    return " ".join(sentences)


def _steps(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the relative change between neighbouring records, with seed and series."""
    change = rows.groupby(["series", "seed"])["value"].pct_change()
    steps = rows[["seed", "series"]].assign(change=change).dropna()
    return steps[steps["series"].isin([*_AGAINST_THEORY, *_ALLOWED])]


def _counted(
    steps: pd.DataFrame,
    series: Mapping[str, tuple[str, int]],
    count: Callable[[pd.Series], str],
) -> str:
    """Say, by a count of the steps that do, how often each series goes the way that counts."""
    parts = []
    for name, (text, sign) in series.items():
        change = steps.loc[steps["series"] == name, "change"]
        if len(change):
            parts.append(f"{text} {count(sign * change > _ROUNDING)}")
    return listed(parts)


def _rate_gaps(rows: pd.DataFrame) -> pd.Series:
    """Return |slope / mean of the exact rates at both ends - 1| of each step but a flow's last."""
    slope, rate = (rows[rows["series"] == name].reset_index() for name in (_SLOPE, _RATE))
    # A step lies between a record and the next: both have as many rows, in the order of time.
    mean = (rate["value"] + rate.groupby("seed")["value"].shift(-1)) / 2
    return (slope["value"] / mean - 1).abs().dropna()
