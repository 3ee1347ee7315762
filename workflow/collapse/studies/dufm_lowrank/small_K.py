"""Figure: what few classes do with many layers: losses split, class means and Gram matrices."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.plotting import TWO_COLUMNS, category_colours
from collapse.studies import Results
from collapse.studies.dufm_lowrank.analysis import (
    FOUND,
    alive,
    class_means,
    draw_matrix,
    entries,
    hyperparameters,
    matrix_bar,
    relative_losses,
)
from collapse.studies.moving import of_run
from collapse.studies.sentences import UNFINISHED, listed
from collapse.theory.dufm_lowrank import predict

PARTS = ("fit", "penalties")
DNC, BEST = "DNC", "lowest"
EXPERIMENTS = ("few_classes", "fifteen_classes")


@dataclass(frozen=True)
class Lowest:
    """The lowest end of many starts.

    Attributes
    ----------
    ratio
        Its loss over that of DNC.
    starts, below
        How many starts there were, and how many of them ended below DNC.
    losses
        Its loss and that of DNC, split as `PARTS`.
    before, last
        Class means of layers L - 1 and L before their ReLUs, without dead units.
    """

    classes: int
    depth: int
    ratio: float
    starts: int
    below: int
    losses: pd.DataFrame
    before: np.ndarray
    last: np.ndarray


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    found = [
        lowest
        for name in EXPERIMENTS
        if name in experiments
        for lowest in _lowest(experiments[name])
    ]
    if not found:
        figure = plt.figure(figsize=(TWO_COLUMNS, 1.0))
        figure.text(0.5, 0.5, UNFINISHED, ha="center")
        return figure, pd.DataFrame()
    figure, axes = plt.subplots(
        4, len(found), figsize=(TWO_COLUMNS, 6.0), squeeze=False,
        height_ratios=[1.0, 1.15, 1.15, 1.0],
    )  # fmt: skip
    drawn = [
        rows
        for panels, lowest in zip(axes.T, found, strict=True)
        for rows in _draw_column(panels, lowest)
    ]
    axes[0, 0].set_ylabel("lowest / DNC")
    axes[1, 0].set_ylabel("$M_{L-1}$")
    axes[2, 0].set_ylabel("$M_L$")
    axes[3, 0].set_ylabel(r"$M_{L-1}^\top M_{L-1}$")
    matrix_bar(figure, axes[1:], axes[1, 0].images[0])
    return figure, pd.concat(drawn, ignore_index=True)


def _lowest(experiment: Results) -> Iterator[Lowest]:
    """Yield the lowest start of each number of classes."""
    problem = experiment.config["problem"]
    losses = relative_losses(experiment)
    # A column where the grid varies it.
    if "classes" not in losses:
        losses = losses.assign(classes=problem["classes"])
    depth = problem["depth"]
    for classes, rows in losses.groupby("classes"):
        best = rows.loc[rows["value"].idxmin()]
        alone = of_run(experiment, {key: best[key] for key in experiment.keys})
        loss, fit = (alone.last(name)["value"].iloc[0] for name in ("loss", "fit"))
        before, last = (
            alive(class_means(alone, f"H{number}"), ordered=True) for number in (depth - 1, depth)
        )
        yield Lowest(
            classes, depth, best["value"], len(rows), int((rows["value"] < 1 - FOUND).sum()),
            pd.concat([_split_dnc(experiment, classes), _split(BEST, fit, loss)]), before, last,
        )  # fmt: skip


def _split(name: str, fit: float, loss: float) -> pd.DataFrame:
    return pd.DataFrame({"solution": name, "part": PARTS, "value": [fit, loss - fit]})


def _split_dnc(experiment: Results, classes: int) -> pd.DataFrame:
    """Return the loss of DNC as its fit, 1/2 (1 - a)^2, and its penalties."""
    answer = predict(**hyperparameters(experiment, {"classes": classes}))
    return _split(DNC, (1 - answer["alpha_dnc"]) ** 2 / 2, answer["loss_dnc"])


def _draw_column(axes: np.ndarray, lowest: Lowest) -> Iterator[pd.DataFrame]:
    place = {"classes": lowest.classes, "depth": lowest.depth}
    counts = {"ratio": lowest.ratio, "starts": lowest.starts, "below": lowest.below}
    _draw_losses(axes[0], lowest.losses)
    axes[0].set_title(f"$K={lowest.classes}$, $L={lowest.depth}$", loc="left")
    yield lowest.losses.assign(panel="loss", **place, **counts)
    panels = {
        "before": lowest.before, "last": lowest.last, "gram": lowest.before.T @ lowest.before
    }  # fmt: skip
    for panel, (name, matrix) in zip(axes[1:], panels.items(), strict=True):
        draw_matrix(panel, matrix)
        yield entries(matrix).assign(panel=name, **place)


def _draw_losses(axes: Axes, losses: pd.DataFrame) -> None:
    """Draw each part of the lowest loss, and all of it, over the same of DNC."""
    table = losses.pivot(index="part", columns="solution", values="value").loc[list(PARTS)]
    table.loc["loss"] = table.sum()
    values = table[BEST] / table[DNC]
    axes.axhline(1, color="0.7", linewidth=0.6, zorder=0)
    for (part, value), colour in zip(
        values.items(), category_colours(list(values.index)).values(), strict=True
    ):
        axes.plot(part, value, "o", color=colour, markersize=5)
        # Below a point that would otherwise have its number on the line.
        place = -9 if value <= 1 else 5
        axes.annotate(
            f"{value:.3f}", (part, value), ha="center", xytext=(0, place), fontsize=6,
            textcoords="offset points",
        )  # fmt: skip
    axes.set_xlim(-0.6, len(values) - 0.4)
    low, high = min(values.min(), 1), max(values.max(), 1)
    # What differs by rounding is not blown up.
    margin = max(0.3 * (high - low), 0.05)
    axes.set_ylim(low - margin, high + margin)
    axes.tick_params(axis="x", length=0, labelsize=6)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    if rows.empty:
        return UNFINISHED
    losses = rows[rows["panel"] == "loss"]
    parts = []
    for (classes, depth), part in losses.groupby(["classes", "depth"]):
        first = part.iloc[0]
        value = part.set_index(["solution", "part"])["value"]
        fit, penalties = (value[BEST, name] / value[DNC, name] for name in PARTS)
        parts.append(
            f"{first['ratio']:.3f} with K = {classes} and L = {depth} (its squared error "
            f"{fit:.3f}, its penalties {penalties:.3f} of those of DNC; "
            f"{first['below']:g} of {first['starts']:g} starts end below DNC)"
        )
    return f"The lowest loss found, over that of DNC, is {listed(parts)}."
