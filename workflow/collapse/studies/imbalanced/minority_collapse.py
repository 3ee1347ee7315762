"""Figure: each class's logit norm as all decays grow and shrink."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.plotting import THEORY, TWO_COLUMNS, ordered_colours
from collapse.studies import Results
from collapse.studies.curves import diverged_note
from collapse.studies.imbalanced.analysis import by_depth, logit_fractions, predicted_fraction
from collapse.studies.sentences import UNFINISHED, listed, number, span
from collapse.theory.decay import decay_at
from collapse.theory.direction import largest_root, logit_fraction, metastable_threshold, threshold

_MARKERS = {"up": "^", "down": "v"}
_SIZES = (2.0, 4.2)
"""Of the smallest class's markers and the largest's: where they coincide all are seen."""
_GONE = 1e-3
"""Logit norm below which a class counts as at zero, as in the claims."""
_CRITICAL, _END = "critical decay", "end of the local minimum"
_LOCAL = THEORY | {"linestyle": (0, (1, 1.5)), "linewidth": 0.9}


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["minority_collapse"]
    sizes = experiment.config["problem"]["class_sizes"]
    rows = logit_fractions(experiment)
    rows["decay"] = decay_at(rows["scaled_decay"], rows["class_size"], sum(sizes), rows["depth"])
    depths = sorted(experiment.metrics["depth"].unique())
    colours = ordered_colours(sorted(set(sizes)))
    extents = np.linspace(*_SIZES, len(colours))
    lines = -(-len(depths) // 2)
    figure, axes = plt.subplots(
        lines, min(len(depths), 2), figsize=(TWO_COLUMNS, 2.1 * lines), sharey=True, squeeze=False
    )
    columns = ["depth", "direction", "seed", "class", "class_size", "decay", "value", "predicted"]
    measured = rows[columns].rename(columns={"predicted": "optimum"})
    figure_rows = [measured.assign(series="measured")]
    for panel, depth in zip(axes.flat, depths, strict=False):
        figure_rows += _draw_theory(panel, experiment, int(depth), list(colours))
        # Every run by itself: one that took another branch must not hide in a median.
        of_depth = rows[rows["depth"] == depth]
        for size, extent in reversed(list(zip(colours, extents, strict=True))):
            for direction, group in of_depth[of_depth["class_size"] == size].groupby("direction"):
                panel.plot(
                    group["decay"], group["value"], _MARKERS[direction], color=colours[size],
                    markersize=extent, markeredgewidth=0.6,
                    markerfacecolor="none" if direction == "down" else None,
                )  # fmt: skip
        panel.set_title(f"$M={depth}$", loc="left")
        panel.set_ylim(-0.04, 1.1)
        panel.set_xlim(left=0)
    for panel in axes[-1]:
        panel.set_xlabel(r"decay $\lambda$ (geometric mean of all $M+1$)")
    for panel in axes[:, 0]:
        panel.set_ylabel(r"class logit norm $\|P\bar h_k\|$")
    diverged_note(axes[0, -1], experiment)
    _legend(figure, colours)
    return figure, pd.concat(figure_rows, ignore_index=True)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    measured = rows[rows["series"] == "measured"]
    if measured.empty:
        return UNFINISHED
    places = rows[rows["series"].isin([_CRITICAL, _END])].groupby(["depth", "class_size"])["decay"]
    ends = places.agg(critical="min", end="max").reset_index()
    measured = measured.merge(ends, on=["depth", "class_size"])
    up, down = (measured[measured["direction"] == direction] for direction in ("up", "down"))
    below = up[up["decay"] < up["critical"]]
    off = (below["value"] - below["optimum"]).abs().groupby(below["depth"]).max()
    above = up[up["value"] > _GONE].groupby(["depth", "class_size"])
    last = above["decay"].max() / above["end"].first()
    stuck = down.loc[down["depth"] > 1, "value"]
    sentences = {
        "Below its critical decay a class of an upward sweep is at most {} from the global "
        "optimum.": by_depth(off),
        f"The last decay at which it is above {number(_GONE)} is {{}} of the one at which theory "
        "has it vanish, the critical decay at M = 1 and the end of the local minimum from M = 2 "
        "on.": _spans(last),
        "From M = 2 on, where zero is a local minimum at every decay, classes of downward sweeps "
        "reach {} at most.": number(stuck.max()) if len(stuck) else "",
    }
    return " ".join(text.format(values) for text, values in sentences.items() if values)


def _spans(values: pd.Series) -> str:
    """Spell the ranges over class sizes by depth; none are empty."""
    parts = [f"{span(of_depth)} (M = {depth})" for depth, of_depth in values.groupby("depth")]
    return listed(parts) if parts else ""


def _legend(figure: Figure, colours: Mapping[int, tuple]) -> None:
    handles = [
        Line2D([], [], color=colour, marker="o", linestyle="", label=f"$n_k={size:g}$")
        for size, colour in colours.items()
    ]
    handles += [
        Line2D([], [], color="0.3", marker=marker, linestyle="", label=f"sweep {direction}",
               markersize=4, markeredgewidth=0.6,
               markerfacecolor="none" if direction == "down" else None)
        for direction, marker in _MARKERS.items()
    ]  # fmt: skip
    handles += [
        Line2D([], [], label="global optimum", **THEORY),
        Line2D([], [], label="local minimum", **_LOCAL),
    ]
    figure.legend(
        handles=handles,
        loc="outside upper right",
        ncols=len(handles),
        borderaxespad=0.2,
        columnspacing=1.2,
        handletextpad=0.4,
    )


def _draw_theory(
    axes: Axes, experiment: Results, depth: int, sizes: list[int]
) -> list[pd.DataFrame]:
    """Draw the global optimum and the metastable branch of each class size; return both."""
    total = sum(experiment.config["problem"]["class_sizes"])
    largest, tau = max(sizes), float(threshold(depth))
    end = max(experiment.config["sweep"]["scaled_decay"])
    figure_rows = []
    for size in sizes:
        # Up to the end of the sweep, in the class's own scaled decay b/n_k.
        class_decays = np.linspace(1e-4, end * largest / size, 600)
        # A point on either side of the jump, so that the line falls straight down.
        around = np.sort(np.append(class_decays, [tau * (1 - 1e-9), tau * (1 + 1e-9)]))
        decay = decay_at(around, size, total, depth)
        optimum = predicted_fraction(around, np.full(around.shape, depth))
        axes.plot(decay, optimum, **THEORY)
        figure_rows.append(_series(depth, size, decay, optimum, "global optimum"))
        critical = float(decay_at(tau, size, total, depth))
        axes.axvline(critical, color="0.8", linewidth=0.6, zorder=0)
        figure_rows.append(_series(depth, size, [critical], [np.nan], _CRITICAL))
        local_end = float(metastable_threshold(depth))
        if depth > 1 and tau < local_end:
            beyond = np.linspace(tau, min(local_end * (1 - 1e-9), class_decays[-1]), 100)
            decay = decay_at(beyond, size, total, depth)
            branch = logit_fraction(largest_root(beyond, depth), depth)
            axes.plot(decay, branch, **_LOCAL)
            figure_rows.append(_series(depth, size, decay, branch, "metastable branch"))
            end_of_branch = float(decay_at(local_end, size, total, depth))
            figure_rows.append(_series(depth, size, [end_of_branch], [np.nan], _END))
    axes.set_xlim(right=float(decay_at(end, largest, total, depth)) * 1.02)
    return figure_rows


def _series(
    depth: int, size: int, decay: Sequence[float], values: Sequence[float], name: str
) -> pd.DataFrame:
    return pd.DataFrame(
        {"depth": depth, "class_size": size, "decay": decay, "value": values, "series": name}
    )
