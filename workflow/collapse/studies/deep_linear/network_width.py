"""Figure: collapse of multilayer perceptrons on real images against their width."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from collapse.plotting import TWO_COLUMNS, decades, over_seeds, range_bars
from collapse.studies import Results
from collapse.studies.analysis import signed_gap
from collapse.studies.curves import depth_colours, depth_legend, diverged_note
from collapse.studies.deep_linear.analysis import HEAD, NC2
from collapse.studies.networks import data_name

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


def _labels(bias: bool) -> dict[str, str]:
    frame = "ETF" if bias else "OF"
    return {"NC1": "NC1", NC2[bias]: f"NC2 ({frame})", "NC3_product": "NC3", "gap": "$L/L^*-1$"}


def _ends(experiment: Results) -> pd.DataFrame:
    """Return the metrics at the last epoch of every run, with its width."""
    gaps = signed_gap(experiment).rename(columns={"gap": "value"}).assign(metric="gap")
    names = ["NC1", "NC3_product", *NC2.values()]
    rows = pd.concat([*(experiment.last(name, "H1") for name in names), gaps], ignore_index=True)
    if "hidden" in experiment.keys:
        # A list is text in tables; all layers are of one width.
        return rows.assign(width=rows["hidden"].str.split("-").str[0].astype(int))
    return rows.assign(width=experiment.config["model"]["hidden"][0])


def _draw(axes: Axes, points: pd.DataFrame, colours: Mapping[Any, tuple]) -> None:
    for place, (depth, colour) in enumerate(colours.items()):
        rows = points[points["depth"] == depth].sort_values("width")
        shift = _SPREAD ** (place - (len(colours) - 1) / 2)
        axes.errorbar(
            rows["width"] * shift, rows["median"],
            yerr=range_bars(rows),
            fmt="o-", color=colour, markersize=3, linewidth=0.8, elinewidth=0.7,
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    decades(axes)
