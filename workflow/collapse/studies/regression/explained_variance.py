"""Figure: shares of the features' variance along their first principal components."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.plotting import TWO_COLUMNS
from collapse.studies import Results
from collapse.studies.regression.analysis import covariance, explained_variance, on_data
from collapse.studies.regression.panels import (
    ENDINGS,
    decay_colours,
    decay_handles,
    diverged,
    endings_of,
    heading,
    label_rows,
    points,
    say,
    title,
)


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    by_data = on_data(experiments)
    endings = endings_of(by_data.values())
    colours = decay_colours(by_data.values())
    figure, axes = plt.subplots(
        len(endings), len(by_data), figsize=(TWO_COLUMNS, 0.5 + 1.4 * len(endings)),
        squeeze=False, sharex=True, sharey=True,
    )  # fmt: skip
    figure_rows = []
    for column, (name, experiment) in zip(axes.T, by_data.items(), strict=True):
        title(column[0], experiment)
        shares = explained_variance(experiment)
        for panel, ending in zip(column, endings, strict=True):
            panel_shares = shares[shares["ending"] == ending]
            _draw_panel(panel, panel_shares, colours, len(covariance(experiment)))
        figure_rows.append(shares.assign(data=name))
        column[-1].set_xlabel("principal component $k$")
        diverged(column[-1], experiment)
    label_rows(axes, [f"variance share\n{ENDINGS[ending]}" for ending in endings])
    heading(figure, by_data.values(), decay_handles(colours, r"\lambda_{\mathrm{WD}}"))
    return figure, pd.concat(figure_rows, ignore_index=True)


def _draw_panel(axes: Axes, shares: pd.DataFrame, colours: Mapping, count: int) -> None:
    """Draw one line per decay, side by side, and a bound at the number of targets."""
    axes.axvline(count + 0.5, color="0.6", linewidth=0.7, linestyle=(0, (3, 3)), zorder=0)
    if shares.empty:
        say(axes, "not run at this scale")
    present = [decay for decay in colours if decay in set(shares["weight_decay"])]
    for place, decay in enumerate(present):
        rows = shares[shares["weight_decay"] == decay]
        # Side by side, so that the bars do not hide each other.
        offset = 0.36 * (place / max(len(present) - 1, 1) - 0.5)
        rows = rows.assign(component=rows["component"] + offset)
        points(
            axes, rows, "component", fmt="o-", color=colours[decay], linewidth=0.7, markersize=2.8
        )
    axes.set_ylim(-0.03, 1.03)
    axes.set_xticks(range(1, 6))
