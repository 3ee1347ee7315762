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

_COLOUR = category_colours(["reached"])["reached"]


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
        panel.axhline(0, label="simplex ETF", **(THEORY | {"linestyle": "-", "linewidth": 0.8}))
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
                    label="cross-polytope" if place == 0 else None, **THEORY,
                )  # fmt: skip
        panel.set_xticks(range(len(classes)), classes)
        panel.set_xlabel("classes $K$")
        panel.set_title(f"$M={depth}$", loc="left")
    axes[0, 0].set_ylabel("loss relative to\nbest ETF (%)")
    diverged_note(axes[0, -1], experiment)
    handles, labels = axes[0, -1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=3, borderaxespad=0.2)
    return figure, losses
