"""Figure: what the factors of each hidden layer of a network do to NC1."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from collapse.plotting import (
    TWO_COLUMNS,
    category_colours,
    decades,
    over_seeds,
    range_bars,
    seed_band,
)
from collapse.studies import Results
from collapse.studies.deep_rfm.starts import STARTS, by_layer, falls, of_start
from collapse.studies.networks import describe
from collapse.studies.sentences import UNFINISHED, number

_PLACES = {
    "input": (0.0, "o", "$x$"),
    "right": (0.5, "v", "$SV^Tx$"),
    "output": (1.0, "o", None),
}
"""Of a layer's way from its input to the next one's: where, marker, symbol."""


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment, colours = experiments["mlp"], category_colours(STARTS)
    figure, axes = plt.subplots(1, 3, figsize=(TWO_COLUMNS, 2.5))
    axes[1].sharey(axes[0])
    drawn = []
    for panel, start in zip(axes, STARTS, strict=False):
        ratios, gains = _ratios(experiment, start)
        _draw_ratios(panel, ratios, colours[start])
        title = f"{start} start, gain {gains[0]:g}" if len(gains) else f"no {start} start"
        panel.set_title(title, loc="left")
        panel.set_xlabel("hidden layer")
        drawn += [ratios, *_draw_falls(axes[2], experiment, start, colours[start])]
    axes[0].set_ylabel("NC1 ratio")
    decades(axes[0])
    axes[2].axhline(0, color="black", linewidth=0.6)
    axes[2].set_ylabel("fall of ln(NC1 ratio)")
    axes[2].set_xlabel("hidden layer")
    depth = len(experiment.config["model"]["hidden"])
    for panel in axes[:2]:
        panel.set_xticks(range(1, depth + 2), [*range(1, depth + 1), "$H$"])
    axes[2].set_xticks(range(1, depth + 1))
    _legend(figure, experiment, colours)
    return figure, pd.concat(drawn, ignore_index=True)


def _ratios(experiment: Results, start: str) -> tuple[pd.DataFrame, list[float]]:
    """Return median and range over seeds by layer and place, and the gain of the start."""
    parts, gains = [], []
    for place, (offset, *_) in _PLACES.items():
        rows = experiment.at_last(by_layer(experiment, f"NC1_ratio_{place}"))
        rows = of_start(rows, start)
        gains = rows["gain"].unique()
        table = over_seeds(rows, ["number"])
        parts.append(table.assign(place=place, at=table["number"] + offset))
    return pd.concat(parts).sort_values(["number", "at"]).assign(start=start), gains


def _draw_ratios(axes: Axes, rows: pd.DataFrame, colour: tuple) -> None:
    # The output of a layer is the next one's input: both lie on one point of the line.
    seed_band(axes, rows.drop_duplicates("at"), "at", color=colour, linewidth=0.8)
    for place, (_, marker, _) in _PLACES.items():
        part = rows[rows["place"] == place]
        face = "white" if place == "right" else colour
        axes.plot(part["at"], part["median"], marker, color=colour, markerfacecolor=face)


def _draw_falls(axes: Axes, experiment: Results, start: str, colour: tuple) -> list[pd.DataFrame]:
    """Draw what of a layer's fall is its right factor's, and the rest; return what is drawn."""
    table, drawn = falls(experiment, start), []
    for part, offset, alpha in (("right", -0.1, 1.0), ("rest", 0.1, 0.35)):
        rows = over_seeds(table, ["number"], part)
        # Both parts of both starts side by side: they would cover each other.
        at = rows["number"] + offset + (-0.2 if start == "small" else 0.2)
        axes.bar(
            at, rows["median"], 0.2, color=colour, alpha=alpha, yerr=range_bars(rows),
            error_kw={"elinewidth": 0.6, "ecolor": "0.3"},
        )  # fmt: skip
        drawn.append(rows.assign(place=f"fall_{part}", at=rows["number"], start=start))
    return drawn


def _legend(figure: Figure, experiment: Results, colours: Mapping) -> None:
    handles = [Line2D([], [], color=colours[start], label=f"{start} start") for start in STARTS]
    handles += [
        Line2D([], [], color="0.3", linestyle="", marker=marker, label=symbol,
               markerfacecolor="white" if place == "right" else "0.3")
        for place, (_, marker, symbol) in _PLACES.items()
        if symbol
    ]  # fmt: skip
    handles += [
        Patch(color="0.3", label="right factor"), Patch(color="0.3", alpha=0.35, label="ReLU")
    ]  # fmt: skip
    figure.legend(
        handles=handles, loc="outside upper right", ncols=3, borderaxespad=0.2,
        columnspacing=1.2, handletextpad=0.5,
    )  # fmt: skip
    figure.text(0.01, 0.995, describe(experiment.config), va="top", fontsize=7)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    parts = [_of_start(start, part) for start, part in rows.groupby("start", sort=False)]
    return " ".join(parts) or UNFINISHED


def _of_start(start: str, rows: pd.DataFrame) -> str:
    parts = {name: rows[rows["place"] == f"fall_{name}"] for name in ("right", "rest")}
    ratios = rows[~rows["place"].str.startswith("fall")]
    first, last = ratios["median"].iloc[0], ratios["median"].iloc[-1]
    right, rest = (part.set_index("number")["median"] for part in parts.values())
    text = (
        f"From a {start} start the median NC1 ratio goes from {number(first)} of the images to "
        f"{number(last)} of the features; the right factor lowers it, and by more than the ReLU "
        f"does, in {((right > 0) & (right > rest)).sum()} of {len(right)} hidden layers"
    )
    fall = right.sum() + rest.sum()
    # Where NC1 does not fall there is nothing to have a share of.
    share = (
        f", all together by {number(right.sum() / fall)} of its logarithm's fall"
        if fall > 0
        else ""
    )
    return f"{text}{share}."
