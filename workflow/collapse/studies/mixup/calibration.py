"""Figure: whether networks are right as often as they are sure, with mixup and without."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.plotting import TWO_COLUMNS, over_seeds, seed_band, seed_points
from collapse.studies import Results
from collapse.studies.mixup.mixed import (
    FROZEN,
    LOSSES,
    colours,
    heading,
    probed,
    spelt,
    toned,
)
from collapse.studies.sentences import UNFINISHED, listed

FEW = 10
"""Samples of a bin below which its accuracy says nothing."""
_PLAIN, _SQUARES = "none", "MSE"
_OTHERS = {FROZEN: "network_fixed_etf", _SQUARES: "network_mse_mixup"}
# Whose softmax says nothing.
_UNSURE = (_SQUARES,)
# Metric, its mark's face, and its name.
_ERRORS = (("ECE", None, "ECE"), ("confidence_gap", "white", "confidence $-$ accuracy"))
_NAMES = {
    "ECE": "The expected calibration error, 0 where accuracy follows confidence,",
    "confidence_gap": "Mean confidence less accuracy",
    "test_accuracy": "The accuracy",
}


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    arms = _arms(experiments)
    figure, axes = plt.subplots(1, 3, figsize=(TWO_COLUMNS, 2.6), width_ratios=[1, 1.1, 1.3])
    drawn = [_draw_reliability(axes[0], arms)]
    for metric, face, _ in _ERRORS:
        rows = _by_arm(arms, metric, left_out=_UNSURE)
        drawn.append(_draw_arms(axes[1], rows, metric, face))
    axes[1].axhline(0, color="0.7", linewidth=0.6, zorder=0)
    axes[1].set_ylabel("calibration error")
    drawn.append(_draw_arms(axes[2], _by_arm(arms, "test_accuracy"), "test_accuracy"))
    axes[2].set_ylabel("held-out accuracy")
    reliable = [arm for arm in arms if arm not in _OTHERS]
    handles = [
        Line2D([], [], color=_colour(arm), marker="o", label=_label(arm)) for arm in reliable
    ]
    handles += [
        Line2D([], [], linestyle="", marker="o", color="0.4", label=label, markersize=4,
               markerfacecolor=face or "0.4")
        for _, face, label in _ERRORS
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1)
    figure.suptitle(heading(experiments), x=0.01, ha="left", fontsize=7)
    return figure, pd.concat(drawn, ignore_index=True)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    metrics = rows.groupby("metric") if len(rows) else {}
    sentences = [
        f"{name} is {listed(_spelt_arms(metrics.get_group(metric)))}."
        for metric, name in _NAMES.items()
        if len(rows) and metric in metrics.groups
    ]
    return " ".join(sentences) or UNFINISHED


def _spelt_arms(rows: pd.DataFrame) -> list[str]:
    words = {_PLAIN: "without mixup", FROZEN: "with the frozen ETF", _SQUARES: "with MSE + mixup"}
    arms = [words.get(arm, f"at alpha = {arm}") for arm in rows["arm"]]
    return [f"{text} {arm}" for text, arm in zip(spelt(rows), arms, strict=True)]


def _arms(experiments: Mapping[str, Results]) -> dict[str | float, tuple[Results, float | None]]:
    """Return experiment and alpha (None: all its runs) by arm: no mixup, each alpha, others."""
    mixed = experiments["network_mixup"]
    alphas = sorted(mixed.metrics["alpha"].unique())
    return {
        _PLAIN: (experiments["network_baseline"], None),
        **{float(alpha): (mixed, alpha) for alpha in alphas},
        **{arm: (experiments[name], None) for arm, name in _OTHERS.items()},
    }


def _of_arm(rows: pd.DataFrame, alpha: float | None) -> pd.DataFrame:
    return rows if alpha is None else rows[rows["alpha"] == alpha]


def _name(arm: str | float) -> str:
    return f"{arm:g}" if isinstance(arm, float) else arm


def _label(arm: str | float) -> str:
    """Return what an arm is called in legend and ticks; all but `_PLAIN` are mixup."""
    if isinstance(arm, float):
        return rf"$\alpha={arm:g}$"
    return {_PLAIN: "no mixup", FROZEN: "frozen ETF", _SQUARES: "MSE"}[arm]


def _colour(arm: str | float) -> tuple:
    """Return the colour that an arm has in every figure."""
    plain, mixed, squares = LOSSES.values()
    if isinstance(arm, float):
        return toned(colours()[mixed], arm)
    return colours()[{_PLAIN: plain, FROZEN: FROZEN, _SQUARES: squares}[arm]]


def _draw_reliability(
    axes: Axes, arms: Mapping[str | float, tuple[Results, float | None]]
) -> pd.DataFrame:
    """Draw accuracy against confidence bin by bin, both medians over seeds."""
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8, zorder=0)
    tables = []
    for arm, (experiment, alpha) in arms.items():
        if arm in _OTHERS:
            continue
        points = experiment.at_last(probed(experiment, "calibration"))
        bins = _of_arm(points, alpha)
        bins = bins[bins["count"] >= FEW]
        table = over_seeds(bins, ["bin"], "bin_accuracy")
        confidence = over_seeds(bins, ["bin"], "bin_confidence")["median"]
        samples = over_seeds(bins, ["bin"], "count")["median"]
        table = table.assign(confidence=confidence, count=samples)
        seed_band(axes, table, "confidence", color=_colour(arm), marker="o")
        tables.append(table.assign(arm=_name(arm), metric="bin_accuracy"))
    axes.set_xlabel("confidence")
    axes.set_ylabel("accuracy")
    axes.set_ylim(0, 1.02)
    return pd.concat(tables, ignore_index=True)


def _by_arm(
    arms: Mapping[str | float, tuple[Results, float | None]],
    metric: str,
    left_out: tuple[str, ...] = (),
) -> pd.DataFrame:
    """Return median and range over seeds of a metric at the last epoch, by arm."""
    rows = [
        _of_arm(experiment.last(metric, "all"), alpha).assign(arm=arm)
        for arm, (experiment, alpha) in arms.items()
        if arm not in left_out
    ]
    return over_seeds(pd.concat(rows), ["arm"])


def _draw_arms(
    axes: Axes, rows: pd.DataFrame, metric: str, face: str | None = None
) -> pd.DataFrame:
    """Draw a metric's median and range over seeds, arm by arm."""
    for place, arm in rows["arm"].items():
        style = {"color": _colour(arm), "markersize": 4, "markerfacecolor": face or _colour(arm)}
        seed_points(axes, rows.loc[[place]].assign(place=place), "place", **style)
    names = [_label(arm).replace(" ", "\n") for arm in rows["arm"]]
    axes.set_xticks(range(len(rows)), names)
    axes.set_xlim(-0.6, len(rows) - 0.4)
    return rows.assign(arm=rows["arm"].map(_name), metric=metric)
