"""Networks of a small and of a large start: their layers at the end, and which start is which."""

import numpy as np
import pandas as pd

from collapse.studies import Results

SMALL, LARGE = 0.3, 1.0
"""Gains up to which a start is small, and from which on it is large."""
STARTS = ("small", "large")


def start_of(gain: float) -> str | None:
    """Return which start a gain makes, None for one between."""
    return "small" if gain <= SMALL else "large" if gain >= LARGE else None


def of_start(rows: pd.DataFrame, start: str) -> pd.DataFrame:
    """Return the rows of the most extreme gain of a start; none where there is no such gain."""
    gains = [gain for gain in rows["gain"].unique() if start_of(gain) == start]
    extreme = (min if start == "small" else max)(gains, default=None)
    return rows[rows["gain"] == extreme]


def by_layer(experiment: Results, metric: str) -> pd.DataFrame:
    """Return a metric of every hidden layer and recorded epoch, with ``number``, the layer's."""
    rows = experiment.completed(experiment.values(metric))
    rows = rows[rows["layer"].str.startswith("hidden")]
    return rows.assign(number=rows["layer"].str.removeprefix("hidden").astype(int))


def falls(experiment: Results, start: str) -> pd.DataFrame:
    """Return by how much ln of the NC1 ratio falls in each hidden layer at the end, by seed.

    Columns ``seed``, ``number``; ``right``, from a layer's input to behind its right factor; and
    ``rest``, from there to its output: the left factor changes nothing, the ReLU does.
    """
    logs = {}
    for place in ("input", "right", "output"):
        rows = experiment.at_last(by_layer(experiment, f"NC1_ratio_{place}"))
        rows = of_start(rows, start).set_index(["seed", "number"])["value"]
        logs[place] = np.log(rows.astype(float))
    right, rest = logs["input"] - logs["right"], logs["right"] - logs["output"]
    return pd.DataFrame({"right": right, "rest": rest}).reset_index()
