"""Figure: the lengths of the general orthogonal frame by class size, measured and predicted."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from collapse.plotting import FLOAT64_FLOOR, THEORY, TWO_COLUMNS, error_axis, over_seeds
from collapse.studies import Results
from collapse.studies.curves import depth_colours, depth_legend, diverged_note
from collapse.studies.imbalanced.analysis import (
    LENGTHS,
    frame_of,
    measured_lengths,
    of_lengths,
)
from collapse.studies.sentences import UNFINISHED, listed, number

_NAMES = {
    "first_layer": "singular values of W1",
    "weight_norm": "rows of P",
    "feature_norm": "class means",
}
"""What the lengths are called in sentences."""
_OUTSIDE = 1.5
"""How far the theory is drawn beyond the smallest and the largest class, as a factor."""


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["direct_optimisation"]
    colours = depth_colours(experiment)
    measured = measured_lengths(experiment)
    measured["error"] = (measured["value"] / measured["predicted"] - 1).abs()
    points = over_seeds(measured, ["length", "depth", "class_size", "predicted"])
    errors = measured.groupby(["length", "depth", "class_size"])["error"].max().reset_index()
    theory = _theory(experiment, list(colours))
    figure, axes = plt.subplots(2, 3, figsize=(TWO_COLUMNS, 3.5), sharex=True, height_ratios=(3, 2))
    for (above, below), (length, label) in zip(axes.T, LENGTHS.items(), strict=True):
        for depth, colour in colours.items():
            line, marks = (_of(table, length, depth) for table in (theory, points))
            above.plot(line["class_size"], line["median"], **THEORY | {"linewidth": 0.8})
            above.plot(marks["class_size"], marks["median"], "o", color=colour)
            # An error of zero has no place on a logarithmic axis: it is drawn at the floor.
            error = _of(errors, length, depth)
            below.plot(
                error["class_size"], error["error"].clip(lower=FLOAT64_FLOOR), "o-",
                color=colour, linewidth=0.8,
            )  # fmt: skip
        above.set_ylabel(label)
        _length_axis(above)
        _error_axis(below, sorted(set(experiment.config["problem"]["class_sizes"])))
    axes[1, 0].set_ylabel("relative error")
    diverged_note(axes[0, 1], experiment)
    sizes = experiment.config["problem"]["class_sizes"]
    closed = Line2D([], [], label="closed form", **THEORY)
    depth_legend(figure, f"free features, $N={sum(sizes)}$", experiment, [closed])
    return figure, pd.concat(
        [
            points.assign(series="measured"),
            theory.assign(series="theory"),
            errors.rename(columns={"error": "median"}).assign(series="largest relative error"),
        ],
        ignore_index=True,
    )


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    points = rows[rows["series"] == "measured"]
    if points.empty:
        return UNFINISHED
    errors = rows[rows["series"] == "largest relative error"].groupby("length")["median"].max()
    text = (
        "The largest relative errors over classes, depths and seeds are "
        f"{listed([f'{number(errors[key])} ({name})' for key, name in _NAMES.items()])}."
    )
    small, large = points["class_size"].min(), points["class_size"].max()
    ratios = [
        f"{_ratio(group, 'median')} (theory: {_ratio(group, 'predicted')}) at M = {depth}"
        for depth, group in points[points["length"] == "feature_norm"].groupby("depth")
    ]
    return (
        f"{text} The length of the class mean of {large:g} samples over that of {small:g} is "
        f"{listed(ratios)}."
    )


def _ratio(rows: pd.DataFrame, column: str) -> str:
    by_size = rows.groupby("class_size")[column].first()
    return number(by_size[by_size.index.max()] / by_size[by_size.index.min()])


def _length_axis(axes: Axes) -> None:
    # Within a decade or two: powers of ten would be too few labels.
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())


def _error_axis(axes: Axes, sizes: list[int]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(sizes, map(str, sizes))
    error_axis(axes, top=1)
    axes.set_xlabel("class size $n_k$")


def _theory(experiment: Results, depths: list[int]) -> pd.DataFrame:
    sizes = experiment.config["problem"]["class_sizes"]
    grid = np.geomspace(min(sizes) / _OUTSIDE, max(sizes) * _OUTSIDE, 100)
    return pd.concat(
        pd.DataFrame({"length": length, "depth": depth, "class_size": grid, "median": values})
        for depth in depths
        for length, values in of_lengths(
            frame_of(experiment.config, depth, grid, sum(sizes))
        ).items()
    )


def _of(rows: pd.DataFrame, length: str, depth: int) -> pd.DataFrame:
    rows = rows[(rows["length"] == length) & (rows["depth"] == depth)]
    return rows.sort_values("class_size")
