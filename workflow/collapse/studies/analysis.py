"""Numbers that figures and claims of several studies share: measured beside predicted."""

import re

import numpy as np
import pandas as pd

from collapse.studies import Results


def loss_gap(experiment: Results) -> pd.DataFrame:
    """Return the relative distance of the loss to its closed-form optimum, per run and step."""
    keys = experiment.keys
    optimum = experiment.predicted("loss")
    rows = experiment.completed(experiment.values("loss")).merge(
        optimum, on=keys, suffixes=("", "_optimum")
    )
    gap = (rows["value"] - rows["value_optimum"]).abs() / rows["value_optimum"]
    return rows.assign(value=gap)[[*keys, "step", "value"]]


def signed_gap(experiment: Results) -> pd.DataFrame:
    """Return ``gap``, L / L* - 1 at the last step of every run, with the run's keys."""
    keys = experiment.keys
    rows = experiment.last("loss").merge(
        experiment.predicted("loss"), on=keys, suffixes=("", "_optimum")
    )
    return rows.assign(gap=rows["value"] / rows["value_optimum"] - 1)[[*keys, "gap"]]


def by_class(experiment: Results, metric: str) -> pd.DataFrame:
    """Return a metric that is measured class by class, with each class's size.

    With the run's keys, ``step``, ``class``, ``class_size`` and ``value``, for every run that did
    not diverge and every recorded step.
    """
    # Sizes are measured at the last step only, hence the join on the run's keys alone.
    rows = _of_classes(experiment.completed(experiment.metrics), metric)
    sizes = _of_classes(experiment.metrics, "class_size").rename(columns={"value": "class_size"})
    keys = [*experiment.keys, "class"]
    columns = [*keys, "step", "class_size", "value"]
    return rows.merge(sizes[[*keys, "class_size"]], on=keys)[columns]


def _of_classes(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    rows = rows[rows["metric"].str.startswith(f"{metric}[")]
    return rows.assign(**{"class": rows["metric"].str.extract(r"\[(\d+)\]", expand=False)}).astype(
        {"class": int}
    )


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """Return norm(found - expected) over norm(expected), Frobenius norms."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def matrix(rows: pd.DataFrame, name: str) -> np.ndarray | None:
    """Return the symmetric matrix of a run's rows ``name[k,l]``; None where there are none."""
    rows = rows[rows["metric"].str.startswith(f"{name}[")]
    if rows.empty:
        return None
    places = np.array([[int(i) for i in re.findall(r"\d+", metric)] for metric in rows["metric"]])
    # Rows hold one triangle; the other is its mirror image.
    entries = np.zeros((places.max() + 1,) * 2)
    entries[places[:, 0], places[:, 1]] = entries[places[:, 1], places[:, 0]] = rows["value"]
    return entries
