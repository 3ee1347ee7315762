"""The paper's picture: mixed features in the plane of three classes' classifier."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from collapse.plotting import ONE_COLUMN

SAME, DIFFERENT = "#E69F00", "#0B4F9C"
"""Pairs of one class and of two: apart for the colour-blind, and light and dark in grey."""
COLUMNS = ("first", "second", "mix", "x", "y")


def panel(axes: Axes, points: pd.DataFrame, size: float = 1.5) -> pd.DataFrame:
    """Draw mixed features and the classifier; return what is drawn.

    `points` are `COLUMNS` and ``view``, with the classifier's rows in view ``weights``: these
    are drawn as arrows as long as the mean features of their classes, to which their own length
    does not compare. Features are drawn about the mean of their classes' means, with which
    self-duality compares a classifier: features after a ReLU all lie to one side of the origin.
    """
    rows = points[points["view"] == "weights"]
    samples = _centred(points[points["view"] != "weights"])
    same = samples["first"] == samples["second"]
    # Pairs of two classes last: at the corners they are few.
    for chosen, colour in ((samples[same], SAME), (samples[~same], DIFFERENT)):
        axes.plot(
            chosen["x"], chosen["y"], linestyle="", marker="o", markersize=size, color=colour,
            markeredgewidth=0, alpha=0.5, rasterized=True,
        )  # fmt: skip
    arrows = classifier(rows, samples[same])
    # Arrows have no part in the limits of themselves, and are left out where they end beyond them.
    axes.update_datalim([(0, 0), *arrows[["x", "y"]].to_numpy()])
    axes.autoscale_view()
    for x, y in arrows[["x", "y"]].itertuples(index=False):
        axes.annotate(
            "", (x, y), (0, 0), arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": 0.9}
        )
    bare(axes)
    axes.set_aspect("equal", adjustable="datalim")
    return pd.concat([samples, arrows], ignore_index=True)


def _centred(samples: pd.DataFrame) -> pd.DataFrame:
    """Return samples about the mean of their classes' means, or about their own without any."""
    same = samples[samples["first"] == samples["second"]]
    centre = (same if len(same) else samples).groupby("first")[["x", "y"]].mean().mean()
    return samples.assign(x=samples["x"] - centre["x"], y=samples["y"] - centre["y"])


def bare(axes: Axes) -> None:
    """Leave out ticks and spines: lengths in the plane have no unit of their own."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def classifier(rows: pd.DataFrame, same: pd.DataFrame) -> pd.DataFrame:
    """Return the classifier's rows, scaled to the mean features of their classes."""
    lengths = np.hypot(rows["x"], rows["y"])
    means = same.groupby("first")[["x", "y"]].mean()
    reach = np.hypot(means["x"], means["y"]).mean() if len(means) else lengths.mean()
    scale = reach / lengths.mean() if lengths.mean() > 0 else 1.0
    return rows.assign(x=rows["x"] * scale, y=rows["y"] * scale)


def legend(figure: Figure | SubFigure, extra: Sequence[Line2D] = ()) -> None:
    """Say above the panels what the colours are."""
    dot = {"linestyle": "", "marker": "o", "markersize": 4, "markeredgewidth": 0}
    handles = [
        Line2D([], [], color=SAME, label="both of one class", **dot),
        Line2D([], [], color=DIFFERENT, label="of two classes", **dot),
        Line2D([], [], color="black", label="classifier (rescaled)", linewidth=0.9),
        *extra,
    ]
    # A figure of one column has no room for them in a row.
    columns = len(handles) if figure.bbox.width > ONE_COLUMN * figure.dpi else 1
    figure.legend(
        handles=handles, loc="outside upper center", ncols=columns, borderaxespad=0.2,
        columnspacing=1.2, handletextpad=0.5,
    )  # fmt: skip


def table(drawn: pd.DataFrame, **names: object) -> pd.DataFrame:
    """Return drawn points as rows of a figure's table, under names of their own."""
    return drawn[[*COLUMNS, "view"]].assign(**names)
