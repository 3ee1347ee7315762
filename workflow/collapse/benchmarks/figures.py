"""The benchmark's figures: ratios, growth of cost, and what precision does to the metrics."""

from collections.abc import Callable, Iterable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.benchmarks.table import three_digits
from collapse.plotting import (
    THEORY,
    TWO_COLUMNS,
    category_colours,
    decades,
    over_seeds,
    seed_band,
)

PANELS = {"NC1": "NC1", "NC2_ETF": "NC2 (ETF)", "NC3": "NC3", "NC3_product": "NC3 (product)"}
PRECISIONS = {"tf32": "TF32", "bf16": "bf16", "float32": "float32"}
AXES = {
    "B": "problems in a batch $B$",
    "N": "samples $N$",
    "d": "feature dimension $d$",
    "K": "classes $K$",
}

Drawn = tuple[Figure, pd.DataFrame]


def speed(table: pd.DataFrame) -> Drawn:
    """Draw the ratios as bars, with the goals; what was left out stands there as such."""
    # What has no ratio by nature (a share, an error) stays out; what should have one and was left
    # out stands there.
    missing = table["note"].fillna("").str.startswith("left out")
    rows = table[table["ratio"].notna() | (missing & table["goal"].fillna(">").str.contains(">"))]
    rows = rows.reset_index(drop=True)
    goals = rows["goal"].str.extract(r">= ([\d.e+-]+)")[0].astype(float)
    figure, axes = plt.subplots(figsize=(TWO_COLUMNS, 0.5 + 0.3 * len(rows)))
    devices = list(dict.fromkeys(rows.loc[rows["ratio"].notna(), "device"]))
    colours = category_colours(devices)
    for place, row in rows.iterrows():
        if pd.isna(row["ratio"]):
            goal = "" if pd.isna(goals[place]) else f" (goal: {goals[place]:g}x)"
            axes.annotate(row["note"] + goal, (1, place), (4, 0), **_BESIDE, color="0.5")
            continue
        axes.barh(place, row["ratio"], height=0.62, color=colours[row["device"]], linewidth=0)
        # `fmax` ignores a goal that is NaN.
        end = np.fmax(row["ratio"], goals[place])
        axes.annotate(three_digits(row["ratio"]) + "x", (end, place), (4, 0), **_BESIDE)
        axes.plot(2 * [goals[place]], [place - 0.42, place + 0.42], color="black", linewidth=1.4)
    axes.set_yticks(range(len(rows)), [f"{row.work}\nagainst {row.against}" for row in _of(rows)])
    axes.tick_params(axis="y", length=0, labelsize=6)
    # Top to bottom in the order of the table.
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xscale("log")
    ends = [*rows["ratio"].dropna(), *goals[rows["ratio"].notna()].dropna(), 10]
    axes.set_xlim(min(1, min(ends) / 2), 3 * max(ends))
    axes.xaxis.set_major_formatter(lambda x, _: three_digits(x) + "x")
    axes.set_xlabel("times faster (goal: black mark)")
    handles = [plt.Rectangle((0, 0), 1, 1, color=colours[device]) for device in devices]
    figure.legend(handles, devices, loc="outside upper right", ncols=3, borderaxespad=0.2)
    figure.get_layout_engine().set(w_pad=0.08)
    return figure, rows[["work", "against", "device", "ratio", "spread", "goal", "met", "note"]]


_BESIDE = {"textcoords": "offset points", "va": "center", "fontsize": 6}


def _of(rows: pd.DataFrame):
    return rows.itertuples(index=False)


def scaling(table: pd.DataFrame) -> Drawn:
    """Draw the cost against each size, with the bounds of the measured rates."""
    series = list(dict.fromkeys(zip(table["work"], table["axis"], strict=True)))
    figure, axes = plt.subplots(2, 3, figsize=(TWO_COLUMNS, 3.6), sharey="row")
    colour = category_colours(["measured"])["measured"]
    for panel, (work, axis) in zip(axes.flat, series, strict=True):
        rows = table[(table["work"] == work) & (table["axis"] == axis)]
        panel.fill_between(
            rows["size"], rows["low"], rows["high"], color=colour, alpha=0.2, linewidth=0
        )
        panel.plot(rows["size"], rows["value"], "o-", color=colour, label="measured")
        panel.plot(rows["size"], rows["product_bound"], **THEORY, label="bound: matrix products")
        dotted = THEORY | {"linestyle": (0, (1, 1.5))}
        panel.plot(rows["size"], rows["copy_bound"], **dotted, label="bound: memory")
        panel.set_xscale("log")
        panel.set_xticks(rows["size"], _apart(rows["size"]), fontsize=6)
        panel.minorticks_off()
        panel.set_xlabel(AXES[axis])
    for row, label in zip(axes, ("problem-steps per s", "NC1 to NC4 (s)"), strict=True):
        row[0].set_ylabel(label)
        decades(row[0])
    devices = dict.fromkeys(zip(table["work"], table["device"], strict=True))
    text = "\n".join(f"{work}: {device}" for work, device in devices)
    figure.text(0.01, 0.995, text, va="top", fontsize=6)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=3, borderaxespad=0.2)
    return figure, table


def _apart(sizes: Iterable[int]) -> list[str]:
    """Return the labels of increasing sizes, empty where they would touch on a log axis."""
    labels, last = [], 0.0
    for size in sizes:
        fits = size >= 1.8 * last
        short = f"{round(size / 1000, 1):g}k" if size >= 1000 else f"{size:g}"
        labels.append(short if fits else "")
        last = size if fits else last
    return labels


def precision(table: pd.DataFrame) -> Drawn:
    """Draw the metrics against the epoch, and each seed's at the last epoch."""
    if table["value"].isna().all():
        figure, axes = plt.subplots(figsize=(TWO_COLUMNS, 0.6))
        axes.axis("off")
        axes.text(0.5, 0.5, f"precision study {table['note'].iloc[0]}", ha="center", va="center")
        return figure, table
    figure, axes = plt.subplots(2, len(PANELS), figsize=(TWO_COLUMNS, 3.3), height_ratios=(3, 2))
    colours = category_colours(list(PRECISIONS))
    figure_rows = []
    for (above, below), (metric, label) in zip(axes.T, PANELS.items(), strict=True):
        rows = table[table["metric"] == metric]
        bands = over_seeds(rows, ["precision", "epoch"])
        for name, line in bands.groupby("precision", sort=False):
            seed_band(above, line, "epoch", color=colours[name], label=PRECISIONS[name])
        last = rows[rows["epoch"] == rows["epoch"].max()]
        _points(below, last, colours)
        above.set_xscale("log")
        above.set_xlabel("epoch")
        above.set_ylabel(label)
        below.set_ylabel(f"{label},\nlast epoch")
        decades(above)
        decades(below)
        figure_rows += [bands.assign(panel="epochs", metric=metric)]
        figure_rows += [last.drop(columns="note").assign(panel="last epoch")]
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=3, borderaxespad=0.2)
    return figure, pd.concat(figure_rows, ignore_index=True)


def _points(axes: Axes, last: pd.DataFrame, colours: dict) -> None:
    """Draw a point per seed and a bar at the median, by precision."""
    for place, name in enumerate(PRECISIONS):
        values = last.loc[last["precision"] == name, "value"].sort_values()
        spread = np.linspace(-0.2, 0.2, len(values)) if len(values) > 1 else np.zeros(len(values))
        axes.plot(place + spread, values, "o", color=colours[name], markersize=2.5)
        axes.plot([place - 0.32, place + 0.32], 2 * [values.median()], color="black", linewidth=0.8)
    axes.set_xticks(range(len(PRECISIONS)), PRECISIONS.values(), fontsize=6)
    axes.set_xlim(-0.6, len(PRECISIONS) - 0.4)


FIGURES: dict[str, Callable[[pd.DataFrame], Drawn]] = {
    "speed": speed,
    "scaling": scaling,
    "precision": precision,
}
