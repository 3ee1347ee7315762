"""Numbers that figures and claims share: measured beside predicted, latent by latent."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from collapse.studies import Results
from collapse.theory.posterior_collapse import KEYS, conditional_eigenvalues, predict

AWAY = 0.01
"""Margin from a threshold below which a minimum counts as at a boundary."""


def listed(experiment: Results, metric: str) -> pd.DataFrame:
    """Return ``name[i]`` of every run's last state (``value``) and as predicted (``predicted``).

    With the run's keys and ``latent``, which is i.
    """
    last = experiment.at_last(experiment.completed(experiment.metrics))
    pattern = rf"{metric}\[(\d+)\]"
    measured = _numbered(last, pattern)
    predicted = _numbered(experiment.predictions, pattern).rename(columns={"value": "predicted"})
    keys = [*experiment.keys, "latent"]
    return measured[[*keys, "value"]].merge(predicted[[*keys, "predicted"]], on=keys)


def _numbered(rows: pd.DataFrame, pattern: str) -> pd.DataFrame:
    numbers = rows["metric"].str.extract(f"^{pattern}$", expand=False)
    return rows[numbers.notna()].assign(latent=numbers.dropna().astype(int))


def single(experiment: Results, metric: str) -> pd.DataFrame:
    """Return a number of every run's last state and as ``predicted``, with the run's keys."""
    keys = experiment.keys
    found = experiment.last(metric)[[*keys, "value"]]
    closed = experiment.predicted(metric).rename(columns={"value": "predicted"})
    return found.merge(closed[[*keys, "predicted"]], on=keys)


def away(experiment: Results, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of those runs whose minimum is away from all thresholds."""
    margin = experiment.predicted("margin").rename(columns={"value": "margin"})
    joined = rows.merge(margin, on=experiment.keys)
    return joined[joined["margin"] > AWAY].drop(columns="margin")


def rises(rows: pd.DataFrame, key: str, least: float, within: Sequence[str] = ()) -> pd.Series:
    """Return, by seed and by the keys `within`, the largest rise of a value along a key.

    `least` or more for a seed in which it falls by less than that everywhere: what is the same all
    along has no rise, and shows nothing.
    """
    ordered = rows.sort_values(key).groupby(["seed", *within])["value"]
    rise = ordered.agg(lambda each: each.diff().max())
    change = (ordered.last() - ordered.first()).groupby(level="seed").transform("min")
    return rise.where(change <= -least, np.maximum(rise, least))


def closed_form(experiment: Results, **changes: Any) -> dict[str, Any]:
    """Return the closed form of a linear conditional autoencoder at other hyperparameters."""
    problem = experiment.config["problem"] | changes
    given = {name: problem[name] for name in KEYS if problem.get(name) is not None}
    eigenvalues = given.pop("covariance_eigenvalues")
    conditional = conditional_eigenvalues(eigenvalues, problem["correlation"])
    return predict(model="cvae", conditional_covariance_eigenvalues=conditional, **given)


def thetas(experiment: Results) -> np.ndarray:
    """Return the eigenvalues of the conditional second moment of its latents, descending."""
    problem = experiment.config["problem"]
    values = conditional_eigenvalues(problem["covariance_eigenvalues"], problem["correlation"])
    return np.sort(values)[::-1][: problem["latent_dim"]]


def released_rule(experiment: Results, betas: np.ndarray) -> np.ndarray:
    """Return how many latents are active by the released code, theta >= sqrt(beta) e."""
    level = np.sqrt(betas) * experiment.config["problem"]["decoder_std"]
    return (thetas(experiment)[None] >= level[:, None]).sum(1)


def data_eigenvalues(experiment: Results) -> np.ndarray:
    """Return the eigenvalues that a linear model would see in a network's images, descending."""
    rows = _numbered(experiment.metrics, r"data_eigenvalue\[(\d+)\]")
    return rows.groupby("latent")["value"].first().sort_index().to_numpy()


def linear_count(experiment: Results, levels: np.ndarray) -> np.ndarray:
    """Return how many latents of a linear model of its images are active at beta e^2 = `levels`."""
    return (data_eigenvalues(experiment)[None] > np.asarray(levels)[:, None]).sum(1)
