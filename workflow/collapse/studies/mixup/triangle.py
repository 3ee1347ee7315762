"""The paper's picture: mixed features in the plane of three classes' classifier."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from collapse.studies.sentences import number

SAME, DIFFERENT = "#9A9A9A", "#A50F3C"
"""Pairs of one class and of two: light and dark where colours are alike, and no loss's."""
COLUMNS = ("first", "second", "mix", "x", "y")
MOST = 1500
"""Samples in a picture at most: of more nothing could be told apart."""
MIDDLE = (0.4, 0.6)
"""The lambda of an even mix."""


def panel(axes: Axes, points: pd.DataFrame, size: float = 1.5) -> pd.DataFrame:
    """Draw mixed features and the classifier; return what is drawn.

    Of more than `MOST` samples evenly chosen ones are drawn.

    `points` are `COLUMNS` and ``view``, with the classifier's rows in view ``weights``: these
    are drawn as arrows as long as the mean features of their classes, to which their own length
    does not compare. Features are drawn about the mean of their classes' means, with which
    self-duality compares a classifier: features after a ReLU all lie to one side of the origin.
    """
    rows = points[points["view"] == "weights"]
    samples = _centred(points[points["view"] != "weights"])
    arrows = classifier(rows, samples[samples["first"] == samples["second"]])
    samples = _thinned(samples)
    # In any order, so that neither kind covers the other.
    shuffled = samples.sample(frac=1, random_state=0)
    axes.scatter(
        shuffled["x"], shuffled["y"], size**2, linewidth=0, alpha=0.6, rasterized=True,
        c=np.where(shuffled["first"] == shuffled["second"], SAME, DIFFERENT),
    )  # fmt: skip
    for x, y in arrows[["x", "y"]].itertuples(index=False):
        axes.annotate(
            "", (x, y), (0, 0),
            arrowprops={
                "arrowstyle": "-|>", "color": "black", "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0,
            },
        )  # fmt: skip
    bare(axes)
    drawn = pd.concat([samples, arrows], ignore_index=True)
    _frame(axes, drawn)
    return drawn


def _frame(axes: Axes, drawn: pd.DataFrame) -> None:
    """Make the panel a square around what is drawn, so that those of a row are alike."""
    axes.set_aspect("equal", adjustable="box")
    if len(drawn):
        low, high = (drawn[["x", "y"]].agg(end).to_numpy() for end in ("min", "max"))
        middle, half = (low + high) / 2, 0.52 * (high - low).max()
        ends = np.stack([middle - half, middle + half], 1)
        axes.set(xlim=ends[0], ylim=ends[1])


def _centred(samples: pd.DataFrame) -> pd.DataFrame:
    """Return samples about the mean of their classes' means, or about their own without any."""
    same = samples[samples["first"] == samples["second"]]
    centre = (same if len(same) else samples).groupby("first")[["x", "y"]].mean().mean()
    return samples.assign(x=samples["x"] - centre["x"], y=samples["y"] - centre["y"])


def _thinned(samples: pd.DataFrame) -> pd.DataFrame:
    """Return so many of the samples as a picture may have, those of all lambda alike."""
    if len(samples) <= MOST:
        return samples
    return samples.iloc[np.linspace(0, len(samples) - 1, MOST).round().astype(int)]


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
    """Say below the panels what the colours are."""
    dot = {"linestyle": "", "marker": "o", "markersize": 4, "markeredgewidth": 0}
    handles = [
        Line2D([], [], color=SAME, label="pairs of one class", **dot),
        Line2D([], [], color=DIFFERENT, label="pairs of two classes", **dot),
        Line2D([], [], color="black", label="rows of W (rescaled)", linewidth=0.9),
        *extra,
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), borderaxespad=0.2,
        columnspacing=1.2, handletextpad=0.5,
    )  # fmt: skip


def table(drawn: pd.DataFrame, **names: object) -> pd.DataFrame:
    """Return drawn points as rows of a figure's table, under names of their own."""
    return drawn[[*COLUMNS, "view"]].assign(**names)


def reach(drawn: pd.DataFrame, middle: tuple[float, float] = MIDDLE) -> float:
    """Return how far out even mixes of two classes lie, over the convex combination of both means.

    Along the sum of the class means, so that theory has A(lambda) here too; NaN without a mix
    whose lambda is in `middle`.
    """
    samples = drawn[drawn["view"] != "weights"]
    same = samples["first"] == samples["second"]
    means = samples[same].groupby("first")[["x", "y"]].mean()
    even = samples[~same & samples["mix"].between(*middle)]
    first, second = (means.reindex(even[end]).to_numpy() for end in ("first", "second"))
    mix = even[["mix"]].to_numpy()
    along, straight = first + second, mix * first + (1 - mix) * second
    found, convex = ((place * along).sum() for place in (even[["x", "y"]].to_numpy(), straight))
    return found / convex if convex else np.nan


def reaches(rows: pd.DataFrame, by: Sequence[str], name: str) -> list[str]:
    """Return in words how far out even mixes lie, picture by picture: ``1.9 name``.

    `name` says with the values of the columns `by` which picture is meant.
    """
    parts = []
    for values, drawn in rows.groupby(list(by), sort=False):
        found = reach(drawn)
        if np.isfinite(found):
            parts.append(f"{number(found)} {name.format(*values)}")
    return parts
