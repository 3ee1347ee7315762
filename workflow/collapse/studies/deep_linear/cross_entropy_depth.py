"""Figure: cross-entropy losses reached from random starts against the ETF and cross-polytope."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from collapse.plotting import THEORY, TWO_COLUMNS, category_colours
from collapse.studies import Results
from collapse.studies.curves import diverged_note
from collapse.studies.deep_linear.analysis import excess_losses
from collapse.studies.sentences import UNFINISHED, listed, number

_COLOUR = category_colours(["reached"])["reached"]
_POLYTOPE = THEORY | {"linestyle": (0, (5, 1.5, 1, 1.5))}
_BELOW = 1e-6
"""Relative distance below the best ETF that is told from rounding, as in the claims."""


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["cross_entropy_depth"]
    losses = excess_losses(experiment)
    depths = sorted(experiment.metrics["depth"].unique())
    classes = sorted(losses["classes"].unique())
    figure, axes = plt.subplots(
        1, len(depths), figsize=(TWO_COLUMNS, 2.0), sharey=True, squeeze=False
    )
    for panel, depth in zip(axes[0], depths, strict=True):
        # Theory above the points, which would hide it.
        panel.axhline(0, label="best simplex ETF", zorder=3, **THEORY)
        for place, count in enumerate(classes):
            rows = losses[(losses["depth"] == depth) & (losses["classes"] == count)]
            if rows.empty:
                continue
            # Side by side: seeds often reach the same loss, and points would hide each other.
            spread = np.linspace(-0.25, 0.25, len(rows)) if len(rows) > 1 else [0.0]
            panel.plot(
                place + np.asarray(spread), 100 * rows["reached"].sort_values(), "o",
                color=_COLOUR, markersize=2.5, label=None if place else "reached, one seed each",
            )  # fmt: skip
            if rows["cross_polytope"].notna().any():
                panel.plot(
                    [place - 0.38, place + 0.38], 2 * [100 * rows["cross_polytope"].iloc[0]],
                    label="best cross-polytope" if place == 0 else None, zorder=3, **_POLYTOPE,
                )  # fmt: skip
        panel.set_xticks(range(len(classes)), classes)
        panel.set_xlim(-0.6, len(classes) - 0.4)
        panel.set_xlabel("classes $K$")
        panel.set_title(f"$M={depth}$", loc="left")
    axes[0, 0].set_ylabel("loss relative to\nbest ETF (%)")
    diverged_note(axes[0, -1], experiment)
    handles, labels = axes[0, -1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=3, borderaxespad=0.2)
    return figure, losses


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    if rows.empty:
        return UNFINISHED
    below = rows.assign(below=rows["reached"] < -_BELOW).groupby(["depth", "classes"])["below"]
    shares = below.agg(lambda runs: f"{runs.sum()}/{len(runs)}")
    depths = [
        f"{listed(row.dropna())} at M = {depth}" for depth, row in shares.unstack().iterrows()
    ]
    classes = listed([str(count) for count in sorted(rows["classes"].unique())])
    lowest = rows.loc[rows["reached"].idxmin()]
    text = (
        f"More than {number(100 * _BELOW)} % below the best simplex ETF end {listed(depths)} of "
        f"the starts (K = {classes}). The lowest loss relative to that ETF's is "
        f"{number(100 * lowest['reached'])} % (M = {lowest['depth']:g}, K = {lowest['classes']:g})"
    )
    polytope = lowest["cross_polytope"]
    return text + (
        "."
        if pd.isna(polytope)
        else f", the best cross-polytope's there {number(100 * polytope)} %."
    )
