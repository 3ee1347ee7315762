"""Numbers that figures and claims share: flows in time, and what a minimiser does to H_0."""

import numpy as np
import pandas as pd

from collapse.grid import tied
from collapse.studies import Results
from collapse.theory.perturbation import log_rates_of_traces

RESOLVED = 1e-12
"""NC1_ratio below which a flow shows only rounding."""
_TRACES = ("NC1_ratio", "trace_within", "trace_between")


def wide(experiment: Results, *metrics: str) -> pd.DataFrame:
    """Return metrics as columns, with a row per run and step: its keys, ``step`` and them."""
    rows = experiment.completed(experiment.metrics)
    rows = rows[rows["metric"].isin(metrics)]
    keys = [*experiment.keys, "step"]
    table = rows.pivot_table(index=keys, columns="metric", values="value").reset_index()
    # Where no run is left, or none has a metric, its column is empty.
    return table.reindex(columns=[*keys, *metrics])


def flows(experiment: Results) -> pd.DataFrame:
    """Return flows record by record, in the order of time, while NC1_ratio is resolved.

    With the run's keys, ``time``, NC1_ratio, and the logarithms of what Theorem 3.1 says is
    monotone: ``log_nc1_ratio``, and ``log_within`` and ``log_between`` of the traces times
    exp(2 feature_decay time).
    """
    table = wide(experiment, "time", *_TRACES).sort_values([*experiment.keys, "step"])
    # A trace of 0 has no logarithm; NC1_ratio is not resolved there.
    table = table[table["NC1_ratio"] > RESOLVED]
    growth = 2 * table["feature_decay"] * table["time"]
    return table.assign(
        log_nc1_ratio=np.log(table["NC1_ratio"]),
        log_within=np.log(table["trace_within"]) + growth,
        log_between=np.log(table["trace_between"]) + growth,
    )


def steps_of(table: pd.DataFrame, keys: list[str], column: str) -> pd.Series:
    """Return the differences of a column between a run's neighbouring records."""
    return table.groupby(keys, dropna=False)[column].diff().dropna()


def exact_rates(experiment: Results) -> pd.DataFrame:
    """Return the exact rate of ln NC1_ratio at each record, and its slope to the next record.

    With the run's keys, ``time``, ``next_time``, ``rate`` and ``slope``; the mean of the rates at
    both ends (``mean_rate``) is what the slope is to second order.
    """
    table = wide(experiment, "time", "within_logits", "between_growth", *_TRACES)
    table = table[table["NC1_ratio"] > RESOLVED].sort_values([*experiment.keys, "step"])
    rates = log_rates_of_traces(
        table["trace_within"],
        table["trace_between"],
        table["within_logits"],
        table["between_growth"],
        table["feature_decay"],
    )
    table = table.assign(rate=rates["NC1_ratio"], log=np.log(table["NC1_ratio"]))
    runs = table.groupby(experiment.keys, dropna=False)
    following = runs[["time", "rate", "log"]].shift(-1)
    table = table.assign(
        next_time=following["time"],
        slope=(following["log"] - table["log"]) / (following["time"] - table["time"]),
        mean_rate=(following["rate"] + table["rate"]) / 2,
    )
    return table.dropna(subset=["slope"])


def responses(experiment: Results, metric: str) -> pd.DataFrame:
    """Return a metric of the minimiser over that of H_0 (``value``), with the run's keys."""
    keys = experiment.keys
    rows = experiment.completed(experiment.values(metric, "H1"))
    start, end = (rows[rows["step"] == step].set_index(keys)["value"] for step in (0, 1))
    return (end / start).rename("value").reset_index()


def shape(experiment: Results) -> dict[str, int]:
    """Return classes, samples and dimension of its runs: of a grid over one, those kept."""
    grid, problem = experiment.config["grid"], experiment.config["problem"]
    names = ("classes", "samples_per_class", "dim")
    return {name: grid.get(f"problem.{name}", [problem[name]])[0] for name in names}


def spectrum(experiment: Results, name: str) -> pd.DataFrame:
    """Return the numbered values ``name[i]`` with the run's keys, ``index`` and ``value``."""
    rows = experiment.completed(experiment.metrics)
    rows = rows[rows["metric"].str.startswith(f"{name}[")]
    places = rows["metric"].str.extract(r"\[(\d+)\]", expand=False).astype(int)
    return rows.assign(index=places)[[*experiment.keys, "index", "value"]]


def arms(experiment: Results) -> dict[str, tuple[float, float]]:
    """Return weight and feature decay of the baseline and of the four arms that change one.

    The baseline is the middle of each list of decays; an arm without its decays is left out.
    """
    grid, config = experiment.config["grid"], tied(experiment.config)
    lists = [sorted(grid.get(key, [config[key]])) for key in _DECAYS]
    weight, feature = (values[len(values) // 2] for values in lists)
    found = {
        "baseline": (weight, feature),
        "2 weight": (2 * weight, feature),
        "1/2 weight": (weight / 2, feature),
        "2 feature": (weight, 2 * feature),
        "1/2 feature": (weight, feature / 2),
    }
    return {
        name: pair
        for name, pair in found.items()
        if all(any(np.isclose(v, x) for x in values) for v, values in zip(pair, lists, strict=True))
    }


_DECAYS = ("weight_decay", "feature_decay")


def of_arm(rows: pd.DataFrame, decays: tuple[float, float]) -> pd.DataFrame:
    """Return the rows at these decays."""
    near = [np.isclose(rows[key], value) for key, value in zip(_DECAYS, decays, strict=True)]
    return rows[near[0] & near[1]]
