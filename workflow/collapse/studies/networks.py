"""Real networks in figures: what was trained on what, and where the training error is gone."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes


def model_name(config: dict[str, Any]) -> str:
    """Return the architecture actually used, in a few words."""
    return config["labels"]["model"]


def data_name(config: dict[str, Any]) -> str:
    """Return the name of the data actually used."""
    return config["labels"]["data"]


def setting(config: dict[str, Any]) -> str:
    """Return the architecture and the data actually used, in a line."""
    labels = config["labels"]
    return f"{labels['model']} on {labels['data']}, {labels['samples']}"


def describe(config: dict[str, Any]) -> str:
    """Return the architecture, the data and the loss actually used, in a line."""
    return f"{setting(config)}, {config['labels']['loss']}"


def mark_zero_error(
    axes: Axes, rows: pd.DataFrame, errors: pd.DataFrame, colours: dict, by: str = "depth"
) -> None:
    """Circle each curve at the first recorded epoch whose median training error is zero.

    The column `by` tells the curves of `rows` and of `errors` apart.
    """
    for name, error in errors.groupby(by):
        zero = error.loc[error["median"] == 0, "step"]
        if len(zero):
            # Its place on this metric's curve, not on the error's.
            at = rows[(rows[by] == name) & (rows["step"] == zero.min())]
            axes.plot(
                at["step"], at["median"], "o", markersize=4, markerfacecolor="white",
                color=colours[name], zorder=3,
            )  # fmt: skip
