"""Figure: collapse of a convolutional network under five settings of weight decay."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.plotting import TWO_COLUMNS, category_colours, decades, over_seeds, seed_band
from collapse.studies import Results
from collapse.studies.curves import diverged_note
from collapse.studies.networks import describe, mark_zero_error
from collapse.studies.perturbation.resnet import ARMS, LOSSES, NAMES, of_loss
from collapse.studies.sentences import UNFINISHED, listed, number, span

_PANELS = {"NC1": "NC1", "NC2_ETF": "NC2 (ETF)", "error": "training error"}
# As the figure `regularisation` has them: weights before features, less before more.
_COLOURS = category_colours(["zero FC", "2x FC", "zero features", "2x features"])
_COLOURS |= {"baseline": "black"}


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    run = {loss: of_loss(experiments, loss) for loss in LOSSES}
    # With one arm there is nothing to compare.
    shown = {loss: each for loss, each in run.items() if each.metrics["arm"].nunique() > 1} or run
    figure, axes = plt.subplots(
        len(shown), len(_PANELS), figsize=(TWO_COLUMNS, 1.75 * len(shown) + 0.4), squeeze=False,
        sharex="row",
    )  # fmt: skip
    drawn = [
        _draw_loss(line, experiment).assign(loss=loss)
        for line, (loss, experiment) in zip(axes, shown.items(), strict=True)
    ]
    for panel in axes[-1]:
        panel.set_xlabel("epoch")
    table = pd.concat(drawn, ignore_index=True)
    _legend(figure, table)
    return figure, table


def _draw_loss(axes: Sequence[Axes], experiment: Results) -> pd.DataFrame:
    """Draw a row of panels; return what is drawn."""
    curves = {metric: _curves(experiment, metric) for metric in _PANELS}
    for panel, (metric, label) in zip(axes, _PANELS.items(), strict=True):
        for arm, rows in curves[metric].groupby("arm"):
            seed_band(panel, rows, "step", color=_COLOURS[arm])
        panel.set_ylabel(label)
        panel.set_xscale("log")
        # The error reaches zero, which a logarithmic axis does not have.
        if metric == "error":
            panel.set_ylim(bottom=0)
        else:
            decades(panel)
            mark_zero_error(panel, curves[metric], curves["error"], _COLOURS, by="arm")
    note = f", {experiment.note}" if experiment.note else ""
    # Over all panels: no title of the first, which would be given room as wide as it.
    axes[0].set_title(" ", loc="left")
    axes[0].annotate(
        describe(experiment.config) + note,
        (0, 1),
        xycoords="axes fraction",
        fontsize=8,
        xytext=(0, 6),
        textcoords="offset points",
    ).set_in_layout(False)
    diverged_note(axes[1], experiment)
    return pd.concat([rows.assign(metric=metric) for metric, rows in curves.items()])


def _curves(experiment: Results, metric: str) -> pd.DataFrame:
    """Return median and range over seeds of a metric by arm and epoch, after epoch 0."""
    rows = experiment.completed(experiment.values(metric, "all" if metric == "error" else "H1"))
    return over_seeds(rows[rows["step"] > 0], ["arm", "step"])


def _legend(figure: Figure, table: pd.DataFrame) -> None:
    drawn = set(table["arm"])
    handles = [Line2D([], [], color=_COLOURS[arm], label=arm) for arm in ARMS if arm in drawn]
    if (table.loc[table["metric"] == "error", "median"] == 0).any():
        handles.append(
            Line2D([], [], color="0.3", marker="o", markersize=4, markerfacecolor="white",
                   linestyle="", label="zero training error")
        )  # fmt: skip
    # Where every run diverged there is nothing to name.
    figure.legend(
        handles=handles, loc="outside upper center", ncols=max(len(handles), 1),
        borderaxespad=0.2, columnspacing=1.2, handletextpad=0.5,
    )  # fmt: skip


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    parts = [_of_loss(loss, part) for loss, part in rows.groupby("loss", sort=False)]
    if not parts:
        return UNFINISHED
    if {"2x FC", "zero FC"} & set(rows["arm"]):
        parts.append(
            "The paper has the decay of the features move collapse more than that of the last "
            "layer does."
        )
    return " ".join(parts)


def _of_loss(loss: str, rows: pd.DataFrame) -> str:
    """Say what NC1 and the training error are at the last epoch, arm by arm."""
    last = rows[rows["step"] == rows["step"].max()].set_index(["metric", "arm"])["median"]
    nc1 = [f"{number(last['NC1', arm])} ({arm})" for arm in ARMS if ("NC1", arm) in last]
    values = listed(nc1) if nc1 else "not defined"
    return (
        f"With {NAMES[loss]} the median NC1 at epoch {rows['step'].max()} is {values}, "
        f"at a median training error of {span(last['error'])}."
    )
