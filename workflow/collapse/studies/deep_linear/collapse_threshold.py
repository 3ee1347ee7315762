"""Figure: the top logit singular value against the scaled decay, upward and downward."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.plotting import THEORY, TWO_COLUMNS, category_colours, over_seeds, seed_points
from collapse.studies import Results
from collapse.studies.curves import diverged_note
from collapse.studies.deep_linear.analysis import fractions
from collapse.studies.sentences import UNFINISHED, listed, number
from collapse.theory.deep_linear import (
    largest_root,
    logit_fraction,
    metastable_threshold,
    minimiser,
    threshold,
)

_COLOURS = category_colours(["up", "down"])
_MARKERS = {"up": "^", "down": "v"}
_TOP = 1.16
"""Upper end of the ordinate: the names of the thresholds stand above the largest fraction, 1."""
_GONE = 1e-3
"""Fraction below which a sweep counts as at zero, as in the claims."""


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["collapse_threshold"]
    measured = over_seeds(fractions(experiment), ["depth", "direction", "scaled_decay"])
    decays, layers = measured["scaled_decay"].to_numpy(), measured["depth"].to_numpy()
    measured["optimum"] = logit_fraction(minimiser(decays, layers), layers)
    depths = sorted(experiment.metrics["depth"].unique())
    end = 1.03 * max(experiment.config["sweep"]["scaled_decay"])
    figure, axes = plt.subplots(
        1, len(depths), figsize=(TWO_COLUMNS, 1.9), sharey=True, squeeze=False
    )
    figure_rows = [measured.assign(series="measured")]
    for panel, depth in zip(axes[0], depths, strict=True):
        rows = measured[measured["depth"] == depth]
        decays = np.linspace(1e-3, end, 800)
        figure_rows.append(_draw_theory(panel, depth, decays))
        for direction, points in rows.groupby("direction", sort=False):
            seed_points(
                panel, points, "scaled_decay", fmt=_MARKERS[direction],
                color=_COLOURS[direction], markersize=3.2, markeredgewidth=0.7,
                markerfacecolor="none" if direction == "down" else None,
                label=f"sweep {direction}",
            )  # fmt: skip
        panel.set_title(f"$M={depth}$", loc="left")
        panel.set_xlabel(r"scaled decay $\beta/n$")
        panel.set_ylim(-0.04, _TOP)
        panel.set_xlim(0, end)
    axes[0, 0].set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes[0, 0].set_ylabel(r"$\sigma_1(Z)/\sqrt{n}$")
    diverged_note(axes[0, -1], experiment)
    handles, labels = axes[0, -1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=4, borderaxespad=0.2)
    return figure, pd.concat(figure_rows, ignore_index=True)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    measured = rows[rows["series"] == "measured"]
    if measured.empty:
        return UNFINISHED
    ends = rows[rows["series"].isin(["tau", "tau_loc"])]
    # At M = 1 there is tau alone.
    tau, end = (ends.groupby("depth")["scaled_decay"].agg(which) for which in ("min", "max"))
    up, down = (measured[measured["direction"] == direction] for direction in ("up", "down"))
    below = up[up["scaled_decay"] < up["depth"].map(tau)]
    off = below[["low", "high"]].sub(below["optimum"], axis=0).abs().max(axis=1)
    last = up[up["high"] > _GONE].groupby("depth")["scaled_decay"].max()
    stuck = down.loc[down["depth"] > 1, "high"]
    sentences = {
        "Below tau the upward sweeps are at most {} from the global optimum.": _by_depth(
            off.groupby(below["depth"]).max()
        ),
        f"The last scaled decay at which they are above {number(_GONE)} is {{}}.": _by_depth(
            last, "; theory: " + end.reindex(last.index).map(number)
        ),
        "From M = 2 on, where zero is a local minimum at every decay, downward sweeps reach {} "
        "at most.": number(stuck.max()) if len(stuck) else "",
    }
    return " ".join(text.format(values) for text, values in sentences.items() if values)


def _by_depth(values: pd.Series, notes: pd.Series | None = None) -> str:
    """Spell numbers with their depths, and perhaps more in the same brackets; none are empty."""
    notes = pd.Series("", values.index) if notes is None else notes
    parts = [f"{number(value)} (M = {m}{notes[m]})" for m, value in values.items()]
    return listed(parts) if parts else ""


def _draw_theory(axes: Axes, depth: int, decays: np.ndarray) -> pd.DataFrame:
    """Draw the global optimum and the metastable branch; return both."""
    jump, end = float(threshold(depth)), float(metastable_threshold(depth))
    # A point on either side of the jump, so that the line falls straight down.
    below = np.append(decays[decays < jump], jump * (1 - 1e-9))
    alive = np.concatenate([below, [jump * (1 + 1e-9)], decays[decays > jump]])
    optimum = logit_fraction(minimiser(alive, depth), depth)
    axes.plot(alive, optimum, label="global optimum", **THEORY)
    series = [_series(depth, alive, optimum, "global optimum")]
    if depth > 1:
        beyond = np.append(decays[(decays > jump) & (decays < end)], end * (1 - 1e-9))
        branch = logit_fraction(largest_root(beyond, depth), depth)
        axes.plot(
            beyond,
            branch,
            color="black",
            linewidth=0.9,
            linestyle=(0, (1, 1.5)),
            label="local minimum",
        )
        series.append(_series(depth, beyond, branch, "metastable branch"))
    # At M = 1 both thresholds are the same. They are named to either side: they may lie close.
    places = (jump, "tau", r"$\tau$", "right"), (end, "tau_loc", r"$\tau_{\mathrm{loc}}$", "left")
    for place, name, label, side in places[: 1 + (depth > 1)]:
        if place <= decays.max():
            axes.annotate(label, (place, 1.02), ha=side, va="bottom", fontsize=7, color="0.3")
            axes.plot([place, place], [0, 1.04], color="0.8", linewidth=0.6, zorder=0)
        series.append(_series(depth, np.array([place]), np.array([np.nan]), name))
    return pd.concat(series)


def _series(depth: int, decays: np.ndarray, values: np.ndarray, name: str) -> pd.DataFrame:
    return pd.DataFrame({"depth": depth, "scaled_decay": decays, "median": values, "series": name})
