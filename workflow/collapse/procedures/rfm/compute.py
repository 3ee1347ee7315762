"""Fit the layers of deep recursive feature machines, one after the other."""

import sys
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import pandas as pd
from torch import Tensor

from collapse.procedures import Computed, JobContext, Runs, run_record
from collapse.procedures.rfm import kernel
from collapse.procedures.rfm.layers import (
    features,
    inputs_of,
    normalised,
    projected,
    root_of,
    signs,
)
from collapse.progress import Progress
from collapse.upstream import Upstream


def compute(runs: Runs, upstream: Upstream, job: JobContext) -> Computed:
    """Fit every layer of each run; a killed job starts anew.

    A layer whose AGOP vanishes, or is not finite, ends the run as diverged.
    """
    # The device before the data: who waits for one holds none.
    device, dataset = job.device, upstream.data_set()
    inputs, labels, *_ = inputs_of(dataset, runs[0]["config"]["data"], device)
    targets = signs(labels, len(dataset.outputs))
    first = _Layer(inputs, targets, runs[0]["config"])
    tensors, records, rows = {}, [], []
    depths = [run["config"]["depth"] for run in runs]
    progress, done = Progress(sum(depths), unit="layer"), 0
    for run, depth in zip(runs, depths, strict=True):
        steps = []
        for step, state, fitted in _layers(first, run):
            prefix = f"{run['id']}/{step:06d}/"
            tensors |= {prefix + name: tensor.cpu().numpy() for name, tensor in state.items()}
            rows.append(run["keys"] | {"step": step} | fitted)
            steps.append(step)
            done += 1
            progress.update(done)
        diverged = len(steps) + 1 if len(steps) < depth else None
        if diverged is not None:
            print(f"{run['id']}: diverged at layer {diverged}", file=sys.stderr)
        records.append(run_record(run, steps, diverged))
    columns = [*runs[0]["keys"], "step", "error", "squared_error"]
    return Computed(tensors, records, pd.DataFrame(rows, columns=columns))


class _Layer:
    """A layer up to its projection; runs of a job have the first one in common."""

    def __init__(self, inputs: Tensor, targets: Tensor, config: Mapping[str, Any]) -> None:
        self.inputs, self.targets = normalised(inputs), targets
        self._bandwidth, self._ridge = config["bandwidth"], config["ridge"]

    @cached_property
    def coefficients(self) -> Tensor:
        """Those of its regression."""
        return kernel.fit(self.inputs, self.targets, self._bandwidth, self._ridge)

    @cached_property
    def agop(self) -> Tensor:
        """That of its predictor; only some runs want it."""
        return kernel.agop(self.inputs, self.coefficients, self._bandwidth)


def _layers(
    first: _Layer, run: Mapping[str, Any]
) -> Iterator[tuple[int, dict[str, Tensor], dict[str, float]]]:
    """Yield each layer's number, its state and what its predictor leaves of the targets."""
    config, seed, fitted = run["config"], run["seed"], first
    for layer in range(1, config["depth"] + 1):
        state, root = {"coefficients": fitted.coefficients}, None
        if config["projection"] != "identity":
            # All features alike, or none that is finite: there is no direction to project on.
            if not (fitted.agop.isfinite().all() and fitted.agop.max() > 0):
                return
            root = state["root"] = root_of(fitted.agop, config["projection"], seed, layer)
        yield layer, state, _left(first.targets, config["ridge"] * fitted.coefficients)
        outputs = features(projected(fitted.inputs, root), config, seed, layer)
        fitted = _Layer(outputs, first.targets, config)


def _left(targets: Tensor, residuals: Tensor) -> dict[str, float]:
    """Return the fraction misclassified and the mean squared error, of residuals Y - f(X)."""
    wrong = (targets - residuals).argmax(1) != targets.argmax(1)
    return {
        "error": wrong.double().mean().item(),
        "squared_error": residuals.square().mean().item(),
    }
