"""Numbers that figures and claims of the regression study share."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collapse.plotting import over_seeds
from collapse.studies import Results
from collapse.studies.analysis import matrix, relative
from collapse.theory.regression import nrc3, predict

DATA = ("reacher", "swimmer", "hopper")
"""Data sets, which name the experiments under weight decay."""
SETTING = ("ending", "weight_decay")
"""Columns that tell apart the runs of a network experiment, but for the seed."""
PARTLY = {"weights": "weights", "backbone": "all"}
"""Which parameters alone are decayed in the experiments ``*_partly``: the config's word by ours."""
NORMALISED = {"noisy": "none", "batchnorm": "batch_before"}
"""The same of where networks of the experiments ``*_noisy`` have BatchNorm."""
ALIVE = 1e-3
"""Share of variance from which a principal component counts as there."""
PAPER_GAMMA = {"reacher": 0.749, "swimmer": 0.691, "hopper": 0.011}
"""gamma/lambda_min at which the paper finds NRC3 smallest, by data set (its Fig. 4)."""


def on_data(experiments: Mapping[str, Results], suffix: str = "") -> dict[str, Results]:
    """Return the experiments of all data sets, or those whose names end in a suffix."""
    return {name + suffix: experiments[name + suffix] for name in DATA}


def chosen(experiment: Results, **keys: Any) -> Results:
    """Return the experiment's runs with these values of their keys."""
    tables = {}
    for name in ("metrics", "predictions", "samples"):
        table = getattr(experiment, name)
        matches = [table[key] == value for key, value in keys.items()]
        tables[name] = table[np.logical_and.reduce(matches)]
    return replace(experiment, **tables)


def decays(experiment: Results) -> list[float]:
    """Return the experiment's weight decays, ascending."""
    return sorted(experiment.metrics["weight_decay"].unique())


def working_decay(experiment: Results) -> float:
    """Return the largest weight decay under which no network gives up a direction of the targets.

    In every run R2 is above 0 and the features' n-th principal component has at least `ALIVE` of
    their variance. The largest of all where there is none, 0 where there are no runs.
    """
    targets = len(covariance(experiment))
    shares = indexed(experiment, "explained_variance_ratio")
    shares = shares[shares["index"] == targets].groupby("weight_decay")["value"].min()
    fits = experiment.last("r2").groupby("weight_decay")["value"].min()
    # Zero is no decay: a working one is positive.
    alive = shares.index[(shares >= ALIVE) & (fits.reindex(shares.index) > 0) & (shares.index > 0)]
    return max(alive, default=max(decays(experiment), default=0.0))


def at_working_decay(experiment: Results) -> Results:
    """Return the experiment's runs at its `working_decay`."""
    return chosen(experiment, weight_decay=working_decay(experiment))


def covariance(experiment: Results) -> NDArray[np.float64]:
    """Return the covariance of the targets (n x n, 1/M) that its first run was measured against.

    Without a row where nothing was measured.
    """
    rows = experiment.metrics
    rows = rows[rows["metric"].str.startswith("target_covariance[")]
    if rows.empty:
        return np.empty((0, 0))
    # The data are the same for all runs: one says it.
    first = rows[experiment.keys].iloc[0]
    return matrix(rows[(rows[experiment.keys] == first).all(axis=1)], "target_covariance")


def samples(experiment: Results) -> int:
    """Return the number M of training samples, 0 where nothing was measured."""
    return int(experiment.values("samples")["value"].max()) if len(covariance(experiment)) else 0


def runs(
    experiment: Results, name: str, *, every_step: bool = False
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield the rows ``name[...]`` of each run that did not diverge, with the run's keys.

    Of its last step; or of every step, each by itself and with ``step`` among the keys.
    """
    rows = experiment.completed(experiment.metrics)
    rows = rows[rows["metric"].str.startswith(f"{name}[")]
    rows = rows if every_step else experiment.at_last(rows)
    keys = [*experiment.keys, *(["step"] if every_step else [])]
    for values, group in rows.groupby(keys, sort=True):
        yield dict(zip(keys, values, strict=True)), group


def nrc3_curves(experiment: Results) -> pd.DataFrame:
    """Return NRC3 along training at the gamma that is best for each run's last W.

    With the run's keys, ``step`` and ``value``; empty with a single target.
    """
    keys = experiment.keys
    best = experiment.last("gamma", "H1").set_index(keys)["value"].to_dict()
    target_covariance = covariance(experiment)
    entries = []
    for run, rows in runs(experiment, "gram", every_step=True):
        gamma = best.get(tuple(run[key] for key in keys))
        gram = matrix(rows, "gram")
        # W = 0 has no direction to compare.
        if gamma is not None and gram.any():
            entries.append({**run, "value": float(nrc3(gram, target_covariance, gamma))})
    return pd.DataFrame(entries, columns=[*keys, "step", "value"])


def curves(experiment: Results, metric: str) -> pd.DataFrame:
    """Return a metric against the step, over seeds, by `SETTING`; ``NRC3`` as `nrc3_curves`."""
    if metric == "NRC3":
        rows = nrc3_curves(experiment)
    else:
        rows = experiment.completed(experiment.values(metric))
    return over_seeds(rows, [*SETTING, "step"])


def finals(experiment: Results, metric: str) -> pd.DataFrame:
    """Return a metric at the last step, over seeds, by `SETTING`."""
    return over_seeds(experiment.last(metric), SETTING)


def explained_variance(experiment: Results, *, every_step: bool = False) -> pd.DataFrame:
    """Return the shares of the principal components at the last step, or at every step.

    As `over_seeds`, by `SETTING`, ``component`` (from 1) and, of every step, ``step``.
    """
    rows = indexed(experiment, "explained_variance_ratio", every_step=every_step)
    keys = [*SETTING, "component", *(["step"] if every_step else [])]
    return over_seeds(rows.rename(columns={"index": "component"}), keys)


def indexed(experiment: Results, name: str, *, every_step: bool = False) -> pd.DataFrame:
    """Return the rows ``name[k]`` of every run with a column ``index``, from 1.

    Of its last step, or of every step.
    """
    rows = experiment.completed(experiment.metrics)
    rows = rows[rows["metric"].str.startswith(f"{name}[")]
    rows = rows if every_step else experiment.at_last(rows)
    index = rows["metric"].str.extract(r"\[(\d+)\]", expand=False).astype(int) + 1
    return rows.assign(index=index)


def theory_along(
    target_covariance: NDArray[np.float64],
    weight_decays: Iterable[float],
    feature_decays: Iterable[float],
) -> list[dict[str, Any]]:
    """Return the closed form at each pair of decays, none of them zero."""
    return [
        predict(
            target_covariance=target_covariance,
            weight_decay=float(weight),
            feature_decay=float(feature),
        )
        for weight, feature in zip(weight_decays, feature_decays, strict=True)
    ]


def theory_mse(experiment: Results, levels: pd.Series) -> pd.DataFrame:
    """Return the closed form's mean squared error over the range of `levels` of c.

    With ``c`` and ``median``; without rows where no level is above zero or the experiment has none.
    """
    positive, targets = levels[levels > 0], covariance(experiment)
    if positive.empty or not len(targets):
        return pd.DataFrame({"c": [], "median": []})
    grid = np.geomspace(positive.min() / 1.3, positive.max() * 1.4, 100)
    # Both decays are sqrt(c): the squared error depends on their product alone.
    predictions = theory_along(targets, np.sqrt(grid), np.sqrt(grid))
    return pd.DataFrame(
        {"c": grid, "median": [each["mse_sum"] / len(targets) for each in predictions]}
    )


def gram_distance(experiment: Results) -> pd.DataFrame:
    """Return the relative distance of W W^T to its closed form at the last step of every run.

    With the run's keys and ``value``, norm(W W^T - G)/norm(G), where theory has a G that is not
    zero.
    """
    keys = experiment.keys
    rows = experiment.predictions
    rows = rows[rows["metric"].str.startswith("gram[")]
    theory = {
        values: matrix(group, "gram")
        for values, group in rows.groupby(keys)
        if group["value"].any()
    }
    distances = [
        {**run, "value": relative(matrix(rows, "gram"), theory[place])}
        for run, rows in runs(experiment, "gram")
        for place in [tuple(run.values())]
        if place in theory
    ]
    return pd.DataFrame(distances, columns=[*keys, "value"])


def whitened(targets: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return z = Sigma^(-1/2) (y - ybar) of each row of centred targets, Sigma = `own`."""
    eigenvalues, axes = np.linalg.eigh(own)
    return targets @ (axes / np.sqrt(eigenvalues)) @ axes.T


def products(experiment: Results, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with a column ``c``, the product of weight_decay and feature_decay."""
    if "feature_decay" in rows:
        return rows.assign(c=rows["weight_decay"] * rows["feature_decay"])
    feature = experiment.config["feature_decay"]
    # Null ties it to the weight decay.
    feature = rows["weight_decay"] if feature is None else feature
    return rows.assign(c=rows["weight_decay"] * feature)
