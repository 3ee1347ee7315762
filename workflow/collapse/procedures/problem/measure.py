"""Measure the recorded states of problems."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import torch

from collapse import probes
from collapse.probes import State
from collapse.problems.parameters import Parameters
from collapse.procedures import JobContext, Measured, Runs, States
from collapse.upstream import Upstream


def measure(runs: Runs, states: States, upstream: Upstream, job: JobContext) -> Iterator[Measured]:
    """Measure every recorded state of each run, on the CPU."""
    module = import_module(f"collapse.problems.{runs[0]['config']['problem']['kind']}")
    # The problem is the same for all runs of a group, and so is what it is measured against.
    targets = module.answers(runs[0]["config"])
    history = states.history
    # What the history knows of every step is measured too.
    scalars = [name for name in history if name not in (*runs[0]["keys"], "step")]
    for run in runs:
        record = states.run(run["id"])
        run_history = states.history_of(run["keys"])
        rows, points = [], []
        for step, values in zip(
            record["steps"], run_history[scalars].to_dict("records"), strict=True
        ):
            # Of the recorded steps: a diverged run ends where its states do.
            place = {"first": step == record["steps"][0], "last": step == record["steps"][-1]}
            tensors = {k: torch.from_numpy(v) for k, v in states.at(run["id"], step).items()}
            state = _state(
                run["config"], tensors, targets, job.frame(run["keys"], step),
                partial(upstream.features, run["id"]), place,
            )  # fmt: skip
            loss = values.pop("objective")
            readings = probes.with_loss(probes.rows(state, job.settings["probes"]), loss)
            rows += [(step, *reading) for reading in readings]
            points += [
                frame.assign(step=step) for frame in probes.points(state, job.settings["probes"])
            ]
            rows += [(step, "all", name, value) for name, value in values.items()]
        if record["diverged_at"] is not None:
            rows.append((record["diverged_at"], "all", "diverged", 1.0))
        yield Measured(rows, points)


def _state(
    config: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    targets: torch.Tensor | None,
    frame: Mapping[str, np.ndarray],
    read: Callable[[str], dict[str, np.ndarray]],
    place: Mapping[str, bool],
) -> State:
    variables = Parameters(**tensors)
    return State(
        config=config,
        tensors=tensors,
        # A problem has samples as columns, a probe as rows.
        features=None if variables.features is None else variables.features.T.contiguous(),
        weights=variables.weights,
        bias=variables.bias,
        targets=targets,
        frame=frame,
        upstream=read,
        **place,
    )
