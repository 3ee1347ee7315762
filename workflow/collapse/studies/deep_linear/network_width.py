"""Figure: collapse of multilayer perceptrons on real images against their width."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from collapse.plotting import TWO_COLUMNS, decades, over_seeds, seed_points
from collapse.studies import Results
from collapse.studies.analysis import signed_gap
from collapse.studies.curves import depth_colours, depth_legend, diverged_note
from collapse.studies.deep_linear.analysis import HEAD, NC2, OF_HEAD
from collapse.studies.deep_linear.heads import NAMES
from collapse.studies.networks import data_name
from collapse.studies.sentences import UNFINISHED, listed, number, span

_SPREAD = 1.05
"""Factor between the abscissae of neighbouring depths: their bars should not hide each other."""


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    mlp, wide = experiments["network_mlp"], experiments["network_width"]
    ends = pd.concat([_ends(mlp), _ends(wide)], ignore_index=True)
    points = over_seeds(ends, ["bias", "metric", "width", "depth"])
    # That of one width has all depths.
    colours = depth_colours(mlp)
    heads = sorted({*mlp.metrics["bias"], *wide.metrics["bias"]})
    figure, axes = plt.subplots(
        len(heads), 4, figsize=(TWO_COLUMNS, 1.6 * len(heads) + 0.35), squeeze=False, sharex=True
    )
    for row, bias in zip(axes, heads, strict=True):
        row[0].set_title(HEAD[bias], loc="left")
        for panel, (metric, label) in zip(row, _labels(bias).items(), strict=True):
            shown = points[(points["bias"] == bias) & (points["metric"] == metric)]
            _draw(panel, shown, colours)
            panel.set_ylabel(label)
    for panel in axes[-1]:
        panel.set_xticks(sorted(points["width"].unique()))
        panel.set_xlabel("hidden width")
    for panel, experiment in zip(axes[0], (mlp, wide), strict=False):
        diverged_note(panel, experiment)
    depth_legend(figure, f"MLPs on {data_name(mlp.config)}, at the last epoch", mlp)
    return figure, points


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    if rows.empty:
        return UNFINISHED
    return " ".join([_of_head(HEAD[bias], of_head) for bias, of_head in rows.groupby("bias")])


def _of_head(head: str, rows: pd.DataFrame) -> str:
    narrow, wide = rows["width"].min(), rows["width"].max()
    medians = rows.pivot_table(index=["metric", "depth"], columns="width", values="median")
    text = f"{OF_HEAD[head]} the medians are " + listed(
        [
            f"{name} {span(rows.loc[rows['metric'] == metric, 'median'])}"
            for metric, name in NAMES.items()
            if metric in medians.index
        ]
    )
    # At a small scale not every width has all depths.
    factors = (medians[wide] / medians[narrow]).dropna()
    if narrow == wide or factors.empty:
        return f"{text} over depths, where theory has 0."
    depths = factors.index.get_level_values("depth").unique()
    changes = [
        f"{name} by {listed([number(factors[metric, m]) for m in depths])}"
        for metric, name in NAMES.items()
        if metric in factors.index
    ]
    return (
        f"{text} over depths and widths, where theory has 0. From width {narrow} to {wide} they "
        f"change, at {listed([f'M = {m}' for m in depths])}, by these factors: {listed(changes)}."
    )


def _labels(bias: bool) -> dict[str, str]:
    frame = "ETF" if bias else "OF"
    return {
        "NC1": "NC1",
        NC2[bias]: f"NC2 ({frame})",
        "NC3_product": "NC3",
        "loss_gap": "relative loss gap",
    }


def _ends(experiment: Results) -> pd.DataFrame:
    """Return the metrics at the last epoch of every run, with its width."""
    gaps = signed_gap(experiment).rename(columns={"gap": "value"}).assign(metric="loss_gap")
    names = ["NC1", "NC3_product", *NC2.values()]
    rows = pd.concat([*(experiment.last(name, "H1") for name in names), gaps], ignore_index=True)
    # Measured is the distance to either frame.
    rows = rows[rows["metric"] != rows["bias"].map(lambda bias: NC2[not bias])]
    if "hidden" in experiment.keys:
        # A list is text in tables; all layers are of one width.
        return rows.assign(width=rows["hidden"].str.split("-").str[0].astype(int))
    return rows.assign(width=experiment.config["model"]["hidden"][0])


def _draw(axes: Axes, points: pd.DataFrame, colours: Mapping[Any, tuple]) -> None:
    for place, (depth, colour) in enumerate(colours.items()):
        rows = points[points["depth"] == depth].sort_values("width")
        shift = _SPREAD ** (place - (len(colours) - 1) / 2)
        style = {"fmt": "o-", "color": colour, "markersize": 3, "linewidth": 0.8}
        seed_points(axes, rows.assign(width=rows["width"] * shift), "width", **style)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    decades(axes)
