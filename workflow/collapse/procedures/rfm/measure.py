"""Measure deep recursive feature machines: each layer's inputs, their projection, its features."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from collapse.metrics.measure import study_metrics
from collapse.procedures import JobContext, Measured, Runs, States
from collapse.procedures.rfm import kernel
from collapse.procedures.rfm.layers import features, inputs_of, normalised, projected
from collapse.progress import Progress
from collapse.upstream import Upstream

# Samples of each class in a Gram matrix: enough to see blocks.
SHOWN = 5


def measure(runs: Runs, states: States, upstream: Upstream, job: JobContext) -> Iterator[Measured]:
    """Measure every recorded layer of each run on the whole training set.

    Points of the probe ``gram`` are cosines between the inputs of the first samples of each class,
    freed of the mean of all; of the last layer those between its features too.
    """
    # The device before data and states: who waits for one holds none.
    device, dataset = job.device, upstream.data_set()
    inputs, labels, test, test_labels = inputs_of(dataset, runs[0]["config"]["data"], device)
    # As many as trained on: more would cost as much as the fit.
    samples = inputs, labels, test[: len(inputs)], test_labels[: len(inputs)]
    for run in runs:
        record, history = states.run(run["id"]), states.history_of(run["keys"])
        reading = _Reading(run, samples)
        progress = Progress(len(record["steps"]), unit="layer")
        for step in record["steps"]:
            state = {
                name: torch.from_numpy(array).to(device)
                for name, array in states.at(run["id"], step).items()
            }
            reading.add(step, state, history[history["step"] == step])
            progress.update(step)
        yield reading.measured(record["diverged_at"])


class _Reading:
    """What is measured of a run, layer by layer: the samples go through it as it grows."""

    def __init__(self, run: Mapping[str, Any], samples: tuple[Tensor, ...]) -> None:
        self._config, self._seed = run["config"], run["seed"]
        self._inputs, self._labels, self._test, self._test_labels = samples
        self._rows: list[tuple[int, str, str, float]] = []
        self._points: list[pd.DataFrame] = []

    def add(self, step: int, state: Mapping[str, Tensor], history: pd.DataFrame) -> None:
        """Measure a layer of this state, and pass the samples on to the next."""
        inputs, test = normalised(self._inputs), normalised(self._test)
        inside, inside_test = (projected(each, state.get("root")) for each in (inputs, test))
        self._inputs, self._test = (
            features(each, self._config, self._seed, step) for each in (inside, inside_test)
        )
        places = {"X": inputs, "MX": inside, "Phi": self._inputs}
        self._rows += [(step, *row) for row in geometry_readings(places, self._labels)]
        outputs = kernel.predict(test, inputs, state["coefficients"], self._config["bandwidth"])
        fits = fit_readings(outputs, self._test_labels, history)
        self._rows += [(step, *row) for row in fits]
        shown = {"X": inputs} | ({"Phi": self._inputs} if step == self._config["depth"] else {})
        grams = [gram(values, self._labels).assign(layer=name) for name, values in shown.items()]
        self._points += [frame.assign(step=step, probe="gram") for frame in grams]

    def measured(self, diverged: int | None) -> Measured:
        """Return what was measured."""
        end = [] if diverged is None else [(diverged, "all", "diverged", 1.0)]
        return Measured(self._rows + end, self._points)


def fit_readings(
    outputs: Tensor, labels: Tensor, history: pd.DataFrame
) -> Iterator[tuple[str, str, float]]:
    """Yield how well a layer's kernel regression fits.

    ``error`` is the fraction of training samples that it gets wrong, ``squared_error`` the mean
    over samples and classes of its squared distance to targets of 1 and -1, both as the layer's
    `history` has them; ``test_accuracy`` the fraction of held-out samples, with N x K `outputs`,
    that it gets right.
    """
    for name in ("error", "squared_error"):
        yield "all", name, history[name].item()
    # A data set need not have samples that are held out.
    if len(labels):
        yield "all", "test_accuracy", (outputs.argmax(1) == labels).double().mean().item()


def geometry_readings(
    places: Mapping[str, Tensor], labels: Tensor
) -> Iterator[tuple[str, str, float]]:
    """Yield every metric of features alone at each place of a layer, N x d by its name.

    X are its inputs at norm 1, MX these times the root M^(1/2), Phi the random features of that.
    """
    for place, values in places.items():
        for name, value in study_metrics(values, labels, least=1).items():
            # Of features that all coincide most are undefined.
            if value is not None:
                yield place, name, value


def gram(values: Tensor, labels: Tensor) -> pd.DataFrame:
    """Return cosines between samples, sorted by class, of the first samples of each class.

    Less the mean of all N x d values, each pair once: ``row``, ``column``, ``value``, and
    ``row_class`` and ``column_class``.
    """
    places = torch.cat(
        [torch.nonzero(labels == k)[:SHOWN, 0] for k in range(int(labels.max()) + 1)]
    )
    chosen, of = normalised(values[places] - values.mean(0)), labels[places].cpu().numpy()
    row, column = np.triu_indices(len(chosen))
    cosines = (chosen @ chosen.T).cpu().numpy()[row, column]
    classes = {"row_class": of[row], "column_class": of[column]}
    return pd.DataFrame({"row": row, "column": column, **classes, "value": cosines})
