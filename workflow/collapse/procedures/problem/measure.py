"""Measure the recorded states of problems."""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
import torch

from collapse import probes
from collapse.probes import State
from collapse.problems.parameters import Parameters
from collapse.procedures import JobContext, Measured, States
from collapse.upstream import Upstream

Runs = Sequence[Mapping[str, Any]]


def measure(runs: Runs, states: States, upstream: Upstream, job: JobContext) -> Iterator[Measured]:
    """Measure every recorded state of each run, on the CPU."""
    module = import_module(f"collapse.problems.{runs[0]['config']['problem']['kind']}")
    targets = module.answers(runs[0]["config"])
    history = states.history
    scalars = [name for name in history if name not in (*runs[0]["keys"], "step")]
    for run in runs:
        told = states.run(run["id"])
        own = history[_are(history, run["keys"])]
        rows, points = [], []
        for step, values in zip(told["steps"], own[scalars].to_dict("records"), strict=True):
            place = {"first": step == told["steps"][0], "last": step == told["steps"][-1]}
            tensors = {k: torch.from_numpy(v) for k, v in states.at(run["id"], step).items()}
            state = _state(run["config"], tensors, targets, job.frame(run["keys"], step), place)
            rows += [(step, *each) for each in probes.rows(state, job.told["probes"])]
            points += [each.assign(step=step) for each in probes.points(state, job.told["probes"])]
            rows += [(step, "all", name, value) for name, value in values.items()]
        if told["diverged_at"] is not None:
            rows.append((told["diverged_at"], "all", "diverged", 1.0))
        yield Measured(rows, points)


def _are(table: pd.DataFrame, keys: Mapping[str, Any]) -> np.ndarray:
    """Return which rows are of a run; a key that is null is missing in tables."""
    columns = ((table[name], value) for name, value in keys.items())
    return np.logical_and.reduce(
        [column.isna() if value is None else column == value for column, value in columns]
    )


def _state(config, tensors, targets, frame, place) -> State:
    variables = Parameters(**tensors)
    return State(
        config=config,
        tensors=tensors,
        features=None if variables.features is None else variables.features.T.contiguous(),
        weights=variables.weights,
        bias=variables.bias,
        targets=targets,
        frame=frame,
        **place,
    )
