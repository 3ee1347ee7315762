"""Figure: Shuttle, imbalanced by nature: which classes collapse at which decay."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.grid import format_value
from collapse.plotting import (
    FLOAT32_FLOOR,
    THEORY,
    TWO_COLUMNS,
    decades,
    ordered_colours,
    over_seeds,
    seed_band,
    seed_points,
)
from collapse.studies import Results
from collapse.studies.analysis import by_class
from collapse.studies.curves import clipped, diverged_note
from collapse.studies.imbalanced.analysis import predicted_fraction, weight_decays
from collapse.studies.networks import describe
from collapse.studies.sentences import UNFINISHED, listed, number
from collapse.theory.decay import scaled_decay

_TOP = 1.2
"""Upper end of the logits: the name of the critical class size stands above the largest, 1."""
_CURVES = (
    ("NC1", "H1", "NC1", FLOAT32_FLOOR**2),
    ("NC2_W_GOF", "H1", "NC2$_W$", FLOAT32_FLOOR),
    ("error", "all", "training error", None),
)


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["network_shuttle"]
    logits = experiment.at_last(by_class(experiment, "own_logit"))
    decays = weight_decays(experiment.config)
    colours = ordered_colours(list(decays))
    figure, axes = plt.subplots(2, max(len(decays), 3), figsize=(TWO_COLUMNS, 3.6), squeeze=False)
    figure_rows = []
    for panel, decay in zip(axes[0], decays, strict=False):
        classes = logits[logits["weight_decay"] == decay]
        panel.set_title(rf"$\lambda_W={format_value(decay)}$", loc="left")
        if len(classes):
            figure_rows += _draw_classes(panel, experiment, classes, decays[decay], colours[decay])
        panel.set_xscale("log")
        panel.set_xlabel("class size $n_k$")
        panel.set_ylim(-0.05, _TOP)
        panel.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes[0, 0].set_ylabel(r"class's own mean logit")
    for panel, (metric, layer, label, limit) in zip(axes[1], _CURVES, strict=False):
        rows = experiment.completed(experiment.values(metric, layer))
        # The abscissa is logarithmic: what comes before the first epoch would only set the range.
        rows = rows[rows["step"] > 0]
        rows = clipped(over_seeds(rows, ["weight_decay", "step"]), limit)
        for decay, group in rows.groupby("weight_decay"):
            seed_band(panel, group, "step", color=colours[decay])
        panel.set_xscale("log")
        if limit is None:
            panel.set_ylim(bottom=0)
        else:
            decades(panel)
        panel.set_xlabel("epoch")
        panel.set_ylabel(label)
        figure_rows.append(rows.assign(metric=metric, series="measured"))
    # A scale may have fewer decays than there are columns.
    for panel in [*axes[0, len(decays) :], *axes[1, len(_CURVES) :]]:
        panel.set_axis_off()
    diverged_note(axes[0, 1], experiment)
    handles = [
        Line2D([], [], color=colour, label=rf"$\lambda_W={format_value(decay)}$")
        for decay, colour in colours.items()
    ]
    handles.append(Line2D([], [], label="closed form", **THEORY))
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), borderaxespad=0.2)
    note = f"\n{experiment.note}" if experiment.note else ""
    figure.text(0.01, 0.995, describe(experiment.config) + note, va="top", fontsize=7)
    return figure, pd.concat(figure_rows, ignore_index=True)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    logits = rows[rows["metric"] == "own_logit"]
    if (logits["series"] == "measured").sum() == 0:
        return UNFINISHED
    decays = [_of_decay(decay, group) for decay, group in logits.groupby("weight_decay")]
    errors = rows[rows["metric"] == "error"]
    last = errors[errors["step"] == errors["step"].max()]
    ends = [f"{number(row.median)} at {number(row.weight_decay)}" for row in last.itertuples()]
    return " ".join([*decays, f"The median training error ends at {listed(ends)}."])


def _of_decay(decay: float, rows: pd.DataFrame) -> str:
    points = rows[rows["series"] == "measured"]
    zero = points["predicted"] == 0
    off = (points["median"] - points["predicted"]).abs()
    parts = []
    if zero.any():
        parts.append(
            f"at most {number(off[zero].max())} from 0 where theory has 0 (classes: {zero.sum()})"
        )
    if not zero.all():
        worst = points.loc[off[~zero].idxmax()]
        parts.append(
            f"at most {number(off[~zero].max())} from theory for "
            f"{'the others' if zero.any() else 'all classes'} (n = {worst['class_size']:g}: "
            f"{number(worst['median'])}; theory: {number(worst['predicted'])})"
        )
    size = rows.loc[rows["series"] == "critical class size", "class_size"]
    critical = f" (critical class size {number(size.iloc[0])})" if len(size) else ""
    return f"At weight decay {number(decay)}{critical} the median logits lie {listed(parts)}."


def _draw_classes(
    axes: Axes,
    experiment: Results,
    classes: pd.DataFrame,
    weights: list[float],
    colour: tuple,
) -> list[pd.DataFrame]:
    """Draw the classes of one decay and what theory says of any class size; return both."""
    decay = classes["weight_decay"].iloc[0]
    sizes = classes.groupby("class")["class_size"].first()
    grid = np.geomspace(sizes.min() / 2, sizes.max() * 1.5, 600)
    class_decays = scaled_decay(grid, sizes.sum(), weights, experiment.config["feature_decay"])
    theory = predicted_fraction(class_decays, np.full(grid.shape, len(weights)))
    axes.plot(grid, theory, **THEORY)
    critical = experiment.predicted("critical_class_size")
    critical = critical.loc[critical["weight_decay"] == decay, "value"]
    # Beyond the classes' sizes the line would be outside the panel, or stretch it.
    if len(critical) and grid[0] < critical.iloc[0] < grid[-1]:
        axes.plot(2 * [critical.iloc[0]], [0, 1.03], color="0.8", linewidth=0.8, zorder=0)
        axes.annotate(
            r"$n_{\mathrm{crit}}$", (critical.iloc[0], 1.08), fontsize=7, color="0.3", ha="center"
        )
    points = over_seeds(classes, ["weight_decay", "class", "class_size"])
    own = scaled_decay(
        points["class_size"].to_numpy(), sizes.sum(), weights, experiment.config["feature_decay"]
    )
    points["predicted"] = predicted_fraction(own, np.full(own.shape, len(weights)))
    seed_points(axes, points, "class_size", color=colour)
    line = pd.DataFrame({"weight_decay": decay, "class_size": grid, "median": theory})
    place = pd.DataFrame({"weight_decay": decay, "class_size": critical})
    return [
        points.assign(metric="own_logit", series="measured"),
        line.assign(metric="own_logit", series="theory"),
        place.assign(metric="own_logit", series="critical class size"),
    ]
