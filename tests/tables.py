"""Made-up experiments for the tests of claims, and changes to them."""

from dataclasses import replace

import numpy as np
import pandas as pd

from collapse.studies import Results

PLACE = ["step", "layer", "metric", "value"]


def results(config, runs):
    """Return an experiment of these runs.

    A run is its keys, what is measured by (step, layer, metric), and what is predicted by metric.
    """
    rows, closed = [], []
    for keys, measured, predicted in runs:
        rows += [(*keys.values(), *place, float(value)) for place, value in measured.items()]
        closed += [(*keys.values(), metric, float(value)) for metric, value in predicted.items()]
    names = list(keys)
    return Results(
        config,
        pd.DataFrame(rows, columns=[*names, *PLACE]),
        pd.DataFrame(closed, columns=[*names, "metric", "value"]),
        pd.DataFrame(columns=[*names, "step", "layer", "probe"]),
    )


def configured(experiment, **changes):
    """Return an experiment of another config; dots in a name stand as double underscores."""
    config = dict(experiment.config)
    for name, value in changes.items():
        section, _, key = name.partition("__")
        config[section] = config[section] | {key: value} if key else value
    return replace(experiment, config=config)


def selected(rows, metric, keys):
    """Tell the rows of a metric, or of a list of one, in the runs with these keys."""
    name = rows["metric"].eq(metric) | rows["metric"].str.startswith(f"{metric}[")
    return np.logical_and.reduce([name, *_with(rows, keys)])


def _with(rows, keys):
    wanted = {key: value if isinstance(value, list) else [value] for key, value in keys.items()}
    return [rows[key].isin(values) for key, values in wanted.items()]


def changed(experiment, metric, change, **keys):
    """Return an experiment in which a metric of the rows with these keys is changed."""
    rows = experiment.metrics
    chosen = selected(rows, metric, keys)
    assert chosen.any()
    value = rows["value"].where(~chosen, change(rows["value"]))
    return replace(experiment, metrics=rows.assign(value=value))


def scaled(experiment, metric, factor, **keys):
    """Return an experiment in which a metric of the rows with these keys is so much larger."""
    return changed(experiment, metric, lambda value: value * factor, **keys)


def valued(experiment, metric, value, **keys):
    """Return an experiment in which a metric of the rows with these keys has this value."""
    return changed(experiment, metric, lambda values: values * 0 + value, **keys)


def without(experiment, **keys):
    """Return an experiment that lacks the rows with these keys."""
    rows = experiment.metrics
    gone = np.logical_and.reduce(_with(rows, keys))
    assert gone.any()
    return replace(experiment, metrics=rows[~gone])


def diverged(experiment, **keys):
    """Return an experiment in which the runs with these keys diverged."""
    rows = experiment.metrics
    gone = rows[np.logical_and.reduce([rows["step"].notna(), *_with(rows, keys)])]
    gone = gone.drop_duplicates(experiment.keys).assign(metric="diverged", layer="all", value=1.0)
    assert len(gone)
    return replace(experiment, metrics=pd.concat([rows, gone], ignore_index=True))


def undecided(rows):
    """Return verdict and measured text of the claims that were not replicated, by name."""
    return {
        row["claim"]: (row["verdict"], row["measured"])
        for row in rows
        if row["verdict"] != "replicated"
    }
