"""Features of hidden layers: by depth, and beside the minimisers that are held near them."""

import numpy as np
import pandas as pd

from collapse.errors import InputError
from collapse.studies import Results

LIKENESSES = ("CKA", "procrustes")
"""Metrics of two layers' features."""


def by_depth(experiment: Results, metric: str) -> pd.DataFrame:
    """Return a metric of every hidden layer at the end, with the run's keys and ``depth``.

    Depth is the number of hidden layers up to it. A network that was trained layer by layer has a
    step for each.
    """
    rows = experiment.completed(experiment.values(metric))
    if has_hidden_layers(experiment):
        rows = experiment.at_last(rows[rows["layer"].str.startswith("hidden")])
        rows = rows.assign(depth=rows["layer"].map(number).astype(int))
    else:
        rows = rows[rows["layer"].isin(["H1", "all"])]
        rows = rows.assign(depth=rows["step"])
    return rows[[*experiment.keys, "depth", "value"]]


def has_hidden_layers(experiment: Results) -> bool:
    """Return whether a state has all hidden layers; else each step has one more than the last."""
    return experiment.config.get("layers") == "all"


def held_near(experiment: Results, metric: str) -> pd.DataFrame:
    """Return, by run, a metric of the minimiser beside that of its H_0 and of the next layer.

    With the run's keys: ``minimiser``; ``start``, of H_0; and ``following``, of the next layer's
    features on the same samples. `metric` may be ``CKA`` or ``procrustes``, a likeness to the next
    layer, which that layer itself is not asked for. Of a last layer there is no next one: NaN.

    Raises
    ------
    InputError
        If the experiment does not start from a network's features, or nothing holds it to them.
    """
    rows = experiment.at_last(experiment.completed(experiment.metrics))
    if not {"from_layer", "beta"} <= {*rows} or experiment.metrics["beta"].isna().any():
        raise InputError("intermediate_features: needed are start.from_layer and a problem.beta")
    following = rows["layer"] == rows["from_layer"].map(_next)
    likeness = metric in LIKENESSES

    def column(name: str, where: pd.Series) -> pd.Series:
        return rows[(rows["metric"] == name) & where].set_index(experiment.keys)["value"]

    columns = {
        "minimiser": column(metric, following if likeness else rows["layer"] == "H1"),
        "start": column(f"network_{metric}", rows["layer"] == rows["from_layer"]),
    }
    if not likeness:
        columns["following"] = column(f"network_{metric}", following)
    return pd.DataFrame(columns).rename_axis(experiment.keys).reset_index()


def number(layer: str) -> float:
    """Return the number of a hidden layer, ``hidden3``; of what the head gets, infinity."""
    return int(layer.removeprefix("hidden")) if layer.startswith("hidden") else np.inf


def _next(layer: str) -> str:
    return f"hidden{number(layer) + 1}"
