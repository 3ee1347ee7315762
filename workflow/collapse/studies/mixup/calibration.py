"""Figure: whether networks are right as often as they are sure, with mixup and without."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.plotting import TWO_COLUMNS, ordered_colours, over_seeds, range_bars, seed_band
from collapse.studies import Results
from collapse.studies.mixup.mixed import heading, probed

FEW = 10
"""Samples of a bin below which its accuracy says nothing."""
_PLAIN, _FROZEN, _SQUARES = "none", "frozen ETF", "MSE"
_OTHERS = {_FROZEN: "network_fixed_etf", _SQUARES: "network_mse_mixup"}
# Whose softmax says nothing.
_UNSURE = (_SQUARES,)
# Metric, its mark's face, and its name.
_ERRORS = (("ECE", None, "ECE"), ("confidence_gap", "white", "confidence $-$ accuracy"))


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    arms = _arms(experiments)
    alphas = [arm for arm in arms if isinstance(arm, float)]
    colours = {_PLAIN: "black", **ordered_colours(alphas), **dict.fromkeys(_OTHERS, "0.5")}
    figure, axes = plt.subplots(1, 3, figsize=(TWO_COLUMNS, 2.5), width_ratios=[1, 1.05, 1.3])
    drawn = [_draw_reliability(axes[0], arms, colours)]
    for metric, face, _ in _ERRORS:
        rows = _by_arm(arms, metric, left_out=_UNSURE)
        drawn.append(_draw_arms(axes[1], rows, metric, colours, face))
    axes[1].axhline(0, color="0.7", linewidth=0.6, zorder=0)
    axes[1].set_ylabel("calibration error")
    axes[1].legend(
        handles=[
            Line2D([], [], linestyle="", marker="o", color="black", label=label,
                   markerfacecolor=face or "black")
            for _, face, label in _ERRORS
        ],
        loc="lower center", bbox_to_anchor=(0.45, 1), ncols=2, handletextpad=0, columnspacing=0.8,
    )  # fmt: skip
    rows = _by_arm(arms, "test_accuracy")
    drawn.append(_draw_arms(axes[2], rows, "test_accuracy", colours))
    axes[2].set_ylabel("test accuracy")
    for panel in axes[1:]:
        panel.set_xlabel(r"mixup $\alpha$")
    figure.legend(
        handles=[
            Line2D([], [], color=colours[arm], marker="o", label=_label(arm))
            for arm in (_PLAIN, *alphas)
        ],
        loc="outside upper right", ncols=len(alphas) + 1, borderaxespad=0.2, columnspacing=1,
    )  # fmt: skip
    figure.text(0.01, 0.995, heading(experiments), va="top", fontsize=7)
    return figure, pd.concat(drawn, ignore_index=True)


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
    return rf"$\alpha={arm:g}$" if isinstance(arm, float) else "no mixup"


def _draw_reliability(
    axes: Axes, arms: Mapping[str | float, tuple[Results, float | None]], colours: Mapping
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
        seed_band(axes, table, "confidence", color=colours[arm], marker="o")
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
    axes: Axes,
    rows: pd.DataFrame,
    metric: str,
    colours: Mapping,
    face: str | None = None,
) -> pd.DataFrame:
    """Draw a metric's median and range over seeds, arm by arm."""
    for place, row in rows.iterrows():
        colour = colours[row["arm"]]
        bars = [[length] for length in range_bars(row)]
        axes.errorbar(
            place, row["median"], yerr=bars, fmt="o", color=colour, markersize=4, capsize=2,
            markerfacecolor=face or colour,
        )  # fmt: skip
    axes.set_xticks(range(len(rows)), [_name(arm).replace(" ", "\n") for arm in rows["arm"]])
    axes.set_xlim(-0.6, len(rows) - 0.4)
    return rows.assign(arm=rows["arm"].map(_name), metric=metric)
