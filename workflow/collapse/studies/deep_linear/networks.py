"""Collapse of a real network against the epoch: what the network figures share."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from collapse.plotting import FLOAT32_FLOOR
from collapse.studies import Results
from collapse.studies.curves import curves
from collapse.studies.deep_linear.analysis import OF_HEAD
from collapse.studies.deep_linear.heads import NAMES, draw_heads
from collapse.studies.networks import describe
from collapse.studies.sentences import UNFINISHED, listed, number, span

_FALL = "fall of the learning rate"


def draw_network(experiment: Results) -> tuple[Figure, pd.DataFrame]:
    """Return NC1 to NC3 and the training error against the epoch, a row per kind of head.

    Vertical lines are epochs after which the learning rate falls.
    """

    def curve(bias: bool, metric: str) -> pd.DataFrame:
        return curves(experiment, metric, "all" if metric == "error" else "H1", bias=bias)

    error = ("error", "training error", None)
    text = describe(experiment.config)
    figure, rows = draw_heads(experiment, FLOAT32_FLOOR, error, curve, "epoch", text)
    falls = _falls(experiment.config["training"])
    for panel in figure.axes:
        for epoch in falls:
            panel.axvline(epoch, color="0.85", linewidth=0.6, zorder=0)
    # Of integers, even where the rate never falls.
    lines = pd.DataFrame({"step": falls}, dtype=int).assign(metric=_FALL)
    rows = pd.concat([rows, lines], ignore_index=True)
    # Without a depth the lines would make numbers with a point of all depths.
    return figure, rows.astype({"depth": "Int64", "seeds": "Int64"})


def network_findings(rows: pd.DataFrame) -> str:
    """Return what was measured of a network, in sentences."""
    measured = rows[rows["metric"] != _FALL]
    if measured.empty:
        return UNFINISHED
    heads = [_ends(head, of_head) for head, of_head in measured.groupby("head", sort=False)]
    return " ".join([*heads, _zero_error(measured[measured["metric"] == "error"])])


def largest_rise(rows: pd.DataFrame) -> str:
    """Say between which recorded epochs NC3 rises most; nothing where it never does."""
    by_epoch = rows[rows["metric"] == "NC3_product"].groupby("step")["median"].median()
    factors = by_epoch / by_epoch.shift()
    if not (factors > 1).any():
        return ""
    after = factors.idxmax()
    before = by_epoch.index[by_epoch.index < after].max()
    falls = rows.loc[rows["metric"] == _FALL, "step"]
    schedule = f"; the learning rate first falls after epoch {falls.min()}" if len(falls) else ""
    return (
        f" From one recorded epoch to the next NC3 rises most from {before} to {after}, from "
        f"{number(by_epoch[before])} to {number(by_epoch[after])} in the median over "
        f"lines{schedule}."
    )


def _falls(training: dict[str, Any]) -> list[int]:
    """Return the epochs after which the learning rate falls."""
    schedule, epochs = training["schedule"], training["epochs"]
    if schedule is None:
        return []
    if schedule["at"] is None:
        return list(range(schedule["step"], epochs, schedule["step"]))
    return [round(part * epochs) for part in schedule["at"]]


def _ends(head: str, rows: pd.DataFrame) -> str:
    first, last = (rows[rows["step"] == rows["step"].agg(which)] for which in ("min", "max"))
    metrics = [
        f"{name} {span(at_end)} ({span(_medians(first, key))})"
        for key, name in NAMES.items()
        if len(at_end := _medians(last, key))
    ]
    return (
        f"{OF_HEAD[head]} the medians at epoch {last['step'].iloc[0]} (at epoch "
        f"{first['step'].iloc[0]}) are, over depths, {listed(metrics)}, where theory has 0."
    )


def _medians(rows: pd.DataFrame, metric: str) -> pd.Series:
    return rows.loc[rows["metric"] == metric, "median"]


def _zero_error(errors: pd.DataFrame) -> str:
    """Say where the training error is gone, which circles mark, or what is left of it."""
    zero = errors[errors["median"] == 0].groupby(["head", "depth"], sort=False)["step"].min()
    last = errors.loc[errors["step"] == errors["step"].max(), "median"]
    if zero.empty:
        return f"The median training error ends at {span(last)} and is zero at no recorded epoch."
    several = zero.index.get_level_values("head").nunique() > 1
    places = [
        f"{epoch} (M = {depth}{', ' + head if several else ''})"
        for (head, depth), epoch in zero.items()
    ]
    return (
        "Circles mark the first recorded epoch at which the median training error is zero: "
        f"{listed(places)}. It ends at {span(last)}."
    )
