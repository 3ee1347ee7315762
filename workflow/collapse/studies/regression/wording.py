"""What the sentences of the regression figures share."""

from collections.abc import Callable

import pandas as pd

from collapse.studies.sentences import listed, number

BEFORE_W = {
    "relu": "With a ReLU before W",
    "linear": "Without a ReLU before W",
    "signed": "With a linear layer before W",
}
"""What precedes W, as a sentence begins."""


def at_last(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the last step of each data set."""
    return rows[rows["step"] == rows.groupby("data")["step"].transform("max")]


def on_each(rows: pd.DataFrame, say: Callable[[pd.DataFrame], str]) -> str:
    """Say the same of every data set: ``0.1 on Reacher; 0.2 on Swimmer``."""
    groups = rows.groupby("data", sort=False)
    return "; ".join(f"{say(group)} on {name}" for name, group in groups)


def by_ending(rows: pd.DataFrame, say: Callable[[pd.DataFrame], str]) -> list[str]:
    """Begin a sentence with what precedes W, for each ending there is."""
    return [
        f"{words} {say(rows[rows['ending'] == ending])}"
        for ending, words in BEFORE_W.items()
        if (rows["ending"] == ending).any()
    ]


def named(rows: pd.DataFrame) -> str:
    """Name each metric with its median: ``NRC1 0.1 and NRC2 0.2``."""
    return listed([f"{row.metric} {number(row.median)}" for row in rows.itertuples()])


def extremes(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the smallest and of the largest weight decay, in this order."""
    decays = rows["weight_decay"]
    return rows[decays.isin([decays.min(), decays.max()])].sort_values("weight_decay")


def medians(rows: pd.DataFrame, column: str = "median") -> str:
    """List the numbers of a column."""
    return listed([number(value) for value in rows[column]])


def off(rows: pd.DataFrame) -> str:
    """Say how far measured norms are from theory's, where that is not 0, at the same decays."""
    measured, theory = (rows[rows["series"] == series] for series in ("measured", "theory"))
    keys = ["norm", "feature_decay"]
    both = measured.merge(theory[theory["median"] > 0], on=keys, suffixes=("", "_theory"))
    if both.empty:
        return "nothing that can be told"
    errors = (both["median"] / both["median_theory"] - 1).abs()
    furthest = both.loc[errors.idxmax(), "feature_decay"]
    return (
        f"{number(100 * errors.median())} % in the median and up to {number(100 * errors.max())} % "
        f"(at feature decay {number(furthest)})"
    )
