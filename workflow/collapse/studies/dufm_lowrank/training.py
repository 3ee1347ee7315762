"""Figure: loss, collapse and spectra of free features and of a network on their way."""

import re
from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.plotting import (
    THEORY,
    TWO_COLUMNS,
    category_colours,
    decades,
    ordered_colours,
    over_seeds,
    seed_band,
)
from collapse.studies import Results
from collapse.studies.curves import diverged_note
from collapse.studies.dufm_lowrank.analysis import HIDDEN
from collapse.studies.networks import describe
from collapse.studies.sentences import UNFINISHED, listed, number

ROWS = {"descent": ("free features", "step"), "network": ("network", "epoch")}
NAMES = {"free features": "free features", "network": "a network"}
"""Of the rows, in sentences."""
LOSSES = {"loss_dnc": "DNC", "loss_srg": "SRG"}
RESOLVED = 1e-2
"""Share of the largest singular value from which on one counts for a rank, as the probe has it."""
LOSS, COLLAPSE, SPECTRUM = "loss", "NC1 ratio", "singular value"
_LOWEST = 1e-8
"""Below it singular values, over the largest, are rounding of what they are computed from."""


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    names = [name for name in ROWS if name in experiments]
    figure, axes = plt.subplots(
        len(names), 3, figsize=(TWO_COLUMNS, 2.0 * len(names) + 0.4), squeeze=False
    )
    colours = ordered_colours(_layers(experiments[name].metrics for name in names))
    drawn = []
    for panels, name in zip(axes, names, strict=True):
        experiment, (title, clock) = experiments[name], ROWS[name]
        drawn += [
            rows.assign(system=title) for rows in _draw_row(panels, experiment, clock, colours)
        ]
        trained = "model" in experiment.config
        shown = describe(experiment.config) if trained else _told(experiment)
        panels[0].set_title(shown, loc="left", fontsize=7)
        diverged_note(panels[2], experiment)
    handles = [
        Line2D([], [], color=colour, label=f"$M_{{{layer[1:]}}}$")
        for layer, colour in colours.items()
    ]
    handles.append(Line2D([], [], label="closed form", **THEORY))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 8))
    return figure, pd.concat(drawn, ignore_index=True)


def _told(experiment: Results) -> str:
    problem = experiment.config["problem"]
    keys = {"L": "depth", "K": "classes", "n": "samples_per_class"}
    parts = [f"${name}={problem[key]}$" for name, key in keys.items()]
    return f"free features, {', '.join(parts)}"


def _layers(tables: Iterable[pd.DataFrame]) -> list[str]:
    """Return the hidden layers of tables, in their order in the model."""
    found = {layer for table in tables for layer in table["layer"].dropna()}
    return sorted(filter(re.compile(HIDDEN).fullmatch, found), key=lambda layer: int(layer[1:]))


def _draw_row(
    axes: Sequence[Axes], experiment: Results, clock: str, colours: Mapping[str, tuple]
) -> list[pd.DataFrame]:
    losses = over_seeds(_later(experiment, "loss"), ["step"])
    seed_band(axes[0], losses, "step", color=category_colours([LOSS])[LOSS])
    axes[0].set_xscale("log")
    predicted = {name: experiment.predicted(name)["value"] for name in LOSSES}
    for name, label in LOSSES.items():
        for value in predicted[name].head(1):
            axes[0].axhline(value, **THEORY)
            axes[0].annotate(
                label, (0.02, value), xycoords=("axes fraction", "data"), fontsize=7,
                xytext=(0, 2 if name == "loss_dnc" else -8), textcoords="offset points",
            )  # fmt: skip
    _limit(axes[0], losses, pd.concat(predicted.values()))
    decades(axes[0])
    axes[0].set(xlabel=clock, ylabel="loss")
    return [
        losses.assign(series=LOSS),
        _collapse(axes[1], experiment, clock, colours),
        _spectra(axes[2], experiment, colours),
    ]


def _limit(axes: Axes, losses: pd.DataFrame, predicted: pd.Series) -> None:
    """Show the closed forms and the end of the way to them.

    Decades above them, where it begins, the differences to them would not show.
    """
    ends = losses.loc[losses["step"] == losses["step"].max(), ["low", "high"]].to_numpy().ravel()
    shown = np.concatenate([ends, predicted])
    if len(shown):
        highest = max(6 * predicted.max() if len(predicted) else 0, 1.5 * shown.max())
        axes.set_ylim(0.7 * shown.min(), min(highest, 1.5 * max(losses["high"].max(), shown.max())))


def _later(experiment: Results, metric: str) -> pd.DataFrame:
    """Return the rows of a metric after step 0, which a logarithmic axis does not have."""
    rows = experiment.completed(experiment.values(metric))
    return rows[rows["step"] > 0]


def _collapse(
    axes: Axes, experiment: Results, clock: str, colours: Mapping[str, tuple]
) -> pd.DataFrame:
    """Draw the NC1 ratio of each layer against the step."""
    rows = _later(experiment, "NC1_ratio")
    rows = rows[rows["layer"].str.fullmatch(HIDDEN)]
    table = over_seeds(rows, ["layer", "step"])
    for layer in _layers([table]):
        seed_band(axes, table[table["layer"] == layer], "step", color=colours[layer])
    axes.set_xscale("log")
    decades(axes)
    axes.set(xlabel=clock, ylabel=COLLAPSE)
    return table.assign(series=COLLAPSE)


def _spectra(axes: Axes, experiment: Results, colours: Mapping[str, tuple]) -> pd.DataFrame:
    """Draw the singular values of each layer's class means, over the largest, at the end."""
    rows = experiment.completed(experiment.metrics)
    rows = rows[rows["metric"].str.startswith("singular_value[")]
    rows = experiment.at_last(rows[rows["layer"].str.fullmatch(HIDDEN)])
    place = rows["metric"].str.extract(r"\[(\d+)\]", expand=False).astype(int) + 1
    largest = rows.groupby([*experiment.keys, "layer"], dropna=False)["value"].transform("max")
    share = (rows["value"] / largest).clip(lower=_LOWEST)
    table = over_seeds(rows.assign(place=place, value=share), ["layer", "place"])
    for layer in _layers([table]):
        seed_band(axes, table[table["layer"] == layer], "place", color=colours[layer], marker="o")
    axes.axhline(RESOLVED, color="0.6", linewidth=0.7, linestyle=":", zorder=0)
    axes.set_yscale("log")
    axes.set_ylim(bottom=_LOWEST / 2)
    axes.set_xticks(np.arange(1, table["place"].max() + 1) if len(table) else [])
    axes.set(xlabel="index $i$", ylabel="$s_i(M_l)\\,/\\,s_1(M_l)$")
    return table.assign(series=SPECTRUM)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    sentences = []
    for system, part in rows.groupby("system", sort=False) if len(rows) else ():
        series = dict(list(part.groupby("series")))
        if LOSS not in series:
            continue
        loss = series[LOSS].sort_values("step").iloc[-1]
        ends = series.get(COLLAPSE, part.head(0)).sort_values("step").groupby("layer").last()
        text = (
            f"With {NAMES[system]} the loss ends at {number(loss['median'])} in the median "
            f"({number(loss['low'])} to {number(loss['high'])})"
        )
        if len(ends):
            medians = ends["median"]
            ratios = [
                f"{number(medians[layer])} (H_{layer[1:]})"
                for layer in _layers([ends.reset_index()])
            ]
            text += f", the NC1 ratio at {listed(ratios)}"
        if SPECTRUM in series:
            above = series[SPECTRUM][series[SPECTRUM]["median"] > RESOLVED]
            sizes = above.groupby("layer").size()
            counts = [f"{sizes[layer]} (H_{layer[1:]})" for layer in _layers([above])]
            text += f"; singular values above a hundredth of the largest are {listed(counts)}"
        sentences.append(f"{text}.")
    return " ".join(sentences) or UNFINISHED
