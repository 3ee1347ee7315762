"""Layers of deep recursive feature machines: their places, and where NC1 falls."""

import numpy as np
import pandas as pd

from collapse.studies import Results

PLACES = {"X": "$X$", "MX": r"$M^{1/2}X$", "Phi": r"$\Phi$"}
"""Where a layer is measured, in the samples' order of passing, with the symbols of figures."""
ARMS = {"agop": "AGOP", "identity": "$M=I$", "shuffled": "shuffled basis"}
"""Projections, with their names in figures."""


def of_map(experiment: Results, feature_map: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Return those of an experiment's rows that are of completed runs with a feature map."""
    rows = experiment.completed(rows)
    return rows[rows["feature_map"] == feature_map]


def ends(experiment: Results, metric: str, feature_map: str, projection: str) -> pd.DataFrame:
    """Return a metric of the first layer's inputs and of the last layer's features, by seed.

    Columns ``input`` and ``output``.
    """
    rows = of_map(experiment, feature_map, experiment.values(metric))
    rows = rows[rows["projection"] == projection]
    first = rows[(rows["layer"] == "X") & (rows["step"] == 1)]
    last = experiment.at_last(rows[rows["layer"] == "Phi"])
    columns = {"input": first, "output": last}
    return pd.concat({k: part.set_index("seed")["value"] for k, part in columns.items()}, axis=1)


def falls(experiment: Results, metric: str) -> pd.DataFrame:
    """Return by how much ln of a metric falls in each layer of ReLU features with the AGOP.

    Columns ``projection``, from X to M^(1/2) X, and ``map``, from there to Phi; by seed and step.
    """
    rows = of_map(experiment, "relu", experiment.values(metric))
    rows = rows[(rows["projection"] == "agop") & rows["layer"].isin(PLACES)]
    table = np.log(rows.pivot(index=["seed", "step"], columns="layer", values="value"))
    table = table.reindex(columns=list(PLACES))
    return pd.DataFrame({"projection": table["X"] - table["MX"], "map": table["MX"] - table["Phi"]})


def symmetric(rows: pd.DataFrame) -> np.ndarray:
    """Return the symmetric matrix of which the rows hold each pair once."""
    row, column = rows["row"].to_numpy(int), rows["column"].to_numpy(int)
    entries = np.full((row.max() + 1,) * 2, np.nan)
    entries[row, column] = entries[column, row] = rows["value"]
    return entries
