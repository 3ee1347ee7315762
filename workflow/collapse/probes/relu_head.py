"""The layers of a ReLU head: collapse, rank and spectrum before and after each ReLU.

Of a problem over free features and of a network alike: features H_1, on which there is no ReLU, and
weights W_1 to W_L, between which there is one.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from collapse.metrics.collapse import class_means
from collapse.metrics.layers import accuracy_readings
from collapse.probes import Reading, State

RESOLVED = 1e-2
"""Share of the largest singular value from which on one counts for the rank of class means."""


def rows(state: State, _: Mapping[str, Any]) -> Iterator[Reading]:
    """Yield what is measured of each layer, and of the last what it puts out.

    On layers ``H1`` to ``HL``, H_(l+1) = W_l relu(H_l) without a ReLU on H_1, and Z = W_L relu(H_L)
    on layer ``Z``, M_l the uncentred class means as columns: ``NC1_ratio``, tr Sigma_W / tr Sigma_B
    (left out where the means do not differ); ``rank``, how many singular values of M_l are above a
    hundredth of the largest; ``condition_number``, the largest over the K-th (left out where that
    is zero); ``singular_value[i]`` of M_l, descending, K at most. The same of relu(H_l) on ``H2``
    to ``HL`` as ``NC1_ratio_rectified``, ``rank_rectified``, ``condition_number_rectified`` and
    ``singular_value_rectified[i]``. On layer ``all``: ``fit``, 1/(2N) ||Z - Y||_F^2 against one-hot
    labels, and ``error``, the fraction of samples whose largest output is not their label's; of the
    last state of a network also ``test_accuracy``.
    """
    layers = _layers(state)
    labels, outputs = state.targets.cpu(), layers["Z"]
    for name, values in layers.items():
        yield from _readings(name, "", values, labels, outputs.shape[1])
        if name not in ("H1", "Z"):
            yield from _readings(name, "_rectified", values.relu(), labels, outputs.shape[1])
    wanted = torch.nn.functional.one_hot(labels, outputs.shape[1]).to(outputs)
    yield "all", "fit", (outputs - wanted).square().sum(1).mean().item() / 2
    yield "all", "error", (outputs.argmax(1) != labels).double().mean().item()
    held_out = state.held_out() if state.last else None
    if held_out is not None:
        yield from accuracy_readings(*held_out)


def points(state: State, _: Mapping[str, Any]) -> pd.DataFrame | None:
    """Return the class means of every layer of the first and the last state, entry by entry.

    Column ``unit`` is the row of M_l, ``class`` its column; ``mean`` before the ReLU and
    ``rectified`` behind it, which on ``H1`` and ``Z`` is not there.
    """
    if not (state.first or state.last):
        return None
    layers, labels, frames = _layers(state), state.targets.cpu(), []
    for name, values in layers.items():
        means = _means(values, labels, layers["Z"].shape[1]).numpy()
        units, classes = np.indices(means.shape)
        behind = np.full(means.shape, np.nan)
        if name not in ("H1", "Z"):
            behind = _means(values.relu(), labels, layers["Z"].shape[1]).numpy()
        columns = {"unit": units, "class": classes, "mean": means, "rectified": behind}
        flat = {column: entries.ravel() for column, entries in columns.items()}
        frames.append(pd.DataFrame({"layer": name, **flat}))
    return pd.concat(frames, ignore_index=True)


def _layers(state: State) -> dict[str, Tensor]:
    """Return H_1 to H_L and Z, samples as rows, in float64 on the CPU."""
    # The same for rows and points of a state.
    if ("relu_head",) not in state.memo:
        values, layers = state.features.cpu().double(), {}
        for number, weight in enumerate(state.head, 1):
            layers[f"H{number}"] = values
            entering = values if number == 1 else values.relu()
            values = entering @ weight.cpu().double().T
        values = values if state.bias is None else values + state.bias.cpu().double()
        state.memo["relu_head",] = layers | {"Z": values}
    return state.memo["relu_head",]


def _means(values: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the class means as columns, d x K."""
    return class_means(values, labels, classes, least=1).T


def _readings(
    layer: str, suffix: str, values: Tensor, labels: Tensor, classes: int
) -> Iterator[Reading]:
    means = _means(values, labels, classes)
    within = (values - means.T[labels]).square().sum(1).mean()
    centred = means - values.mean(0).unsqueeze(1)
    between = centred.square().sum() / classes
    if between > 0:
        yield layer, f"NC1_ratio{suffix}", (within / between).item()
    spectrum = torch.linalg.svdvals(means)[:classes]
    yield layer, f"rank{suffix}", float((spectrum > RESOLVED * spectrum[0]).sum())
    if len(spectrum) == classes and spectrum[-1] > 0:
        yield layer, f"condition_number{suffix}", (spectrum[0] / spectrum[-1]).item()
    for place, value in enumerate(spectrum.tolist()):
        yield layer, f"singular_value{suffix}[{place}]", value
