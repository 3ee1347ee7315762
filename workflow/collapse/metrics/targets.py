"""What a linear head does with real targets: collapse, fit, geometry and residuals."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from collapse.metrics.frames import defined
from collapse.metrics.layers import Reading, entries
from collapse.metrics.measure import regression_metrics
from collapse.metrics.regression import nrc3_at, regression_statistics
from collapse.metrics.rows import row_blocks, widened

# Enough for a scatter plot, whatever the size of the data set.
SCATTER = 250
"""Samples that are returned one by one."""


def regression_readings(
    features: Tensor,
    targets: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    decays: tuple[float, float],
) -> Iterator[Reading]:
    """Yield what is measured of a linear head Z = H W^T + b on real targets.

    On layer ``H1``: the metrics of `collapse.metrics.study_metrics` that concern the features and
    the weight, lists entry by entry; ``NRC3_c``, see `nrc3_at`, at c = weight_decay feature_decay;
    ``gram[i,j]`` (i <= j), the entries of W W^T; ``weight_norm_squared`` = norm(W)^2,
    ``feature_norm_mean`` and ``feature_norm_squared_mean``, the means of norm(h) and of its square;
    ``mean_feature_ratio`` = norm(hbar) over the former. On layer ``all``: ``r2``, ``mse``,
    ``mse_sum`` (summed over targets), ``loss`` = mse_sum/2 + feature_decay/2 norm(H)^2/M +
    weight_decay/2 norm(W)^2, and ``residual_covariance[i,j]`` (i <= j), (1/M) E^T E with E = Z - Y.

    `features` are M x d, on any device, `targets` M x n; `weight` is W, n x d, of a head with
    several layers their product; `bias` is n or None. `decays` are weight_decay and feature_decay,
    the latter of the mean over samples (Andriopoulos et al. 2024).
    """
    statistics = regression_statistics(features, targets, weight, bias)
    weight_decay, feature_decay = decays
    values = regression_metrics(statistics)
    # The closed form of a head without bias is about zero: second moments take the place of
    # covariances.
    moment = statistics.target_covariance
    if bias is None:
        centre = targets.to(moment).mean(0)
        moment = moment + torch.outer(centre, centre)
    # At the gamma of the run's own decays, where `NRC3` searches for the best.
    values["NRC3_c"] = nrc3_at(statistics.weight, moment, weight_decay * feature_decay)
    mean, lengths, squares = _lengths(features)
    values["mean_feature_ratio"] = defined(mean.norm() / lengths)
    values["feature_norm_mean"] = lengths.item()
    values["feature_norm_squared_mean"] = squares.item()
    values["weight_norm_squared"] = statistics.weight.square().sum().item()
    fit = {name: values.pop(name) for name in ("r2", "mse")}
    fit["mse_sum"] = statistics.squared_error.item()
    fit["loss"] = (
        fit["mse_sum"]
        + feature_decay * values["feature_norm_squared_mean"]
        + weight_decay * values["weight_norm_squared"]
    ) / 2
    yield from _as_readings("H1", values)
    yield from _as_readings("all", fit)
    yield from entries("H1", "gram", statistics.weight @ statistics.weight.T)
    residuals = _residuals(features, targets, weight, bias)
    covariance = residuals.T @ residuals / len(residuals)
    yield from entries("all", "residual_covariance", covariance)


def target_readings(targets: Tensor) -> Iterator[Reading]:
    """Yield what is measured of targets, M x n, on layer ``all``.

    ``target_covariance[i,j]`` (i <= j) about the mean, with 1/M, and ``samples`` = M.
    """
    centred = targets.double() - targets.double().mean(0)
    yield from entries("all", "target_covariance", centred.T @ centred / len(centred))
    yield "all", "samples", float(len(targets))


def residual_points(
    features: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None
) -> dict[str, NDArray]:
    """Return residuals z_i - y_i and targets y_i - ybar_i of single samples.

    Columns ``sample``, which counts up to `SCATTER` evenly spaced samples, ``output`` (i),
    ``target`` and ``residual``; a row for every sample and output. The arguments are those of
    `regression_readings`.
    """
    samples = _scattered(targets)
    count = len(samples)
    residuals = _residuals(features, targets, weight, bias)[samples]
    centred = (targets.double() - targets.double().mean(0))[samples]
    outputs = targets.shape[1]
    return {
        "sample": np.repeat(np.arange(count), outputs),
        "output": np.tile(np.arange(outputs), count),
        "target": centred.flatten().cpu().numpy(),
        "residual": residuals.flatten().cpu().numpy(),
    }


def space_points(features: Tensor, weight: Tensor) -> dict[str, NDArray]:
    """Return where single features and the rows of W lie in three directions of their space.

    ``axis_1`` is along w_1, ``axis_2`` along what w_2 adds to it (0 of one target), ``axis_3``
    along the direction orthogonal to all rows of W in which the features, about zero, are longest
    (0 where the rows leave none).
    Columns ``role``, ``feature`` or ``weight``, and ``sample``, which counts the samples of
    `residual_points`, or the rows of W. `features` are M x d, `weight` n x d.
    """
    rows = weight.to(features.device).double()
    basis, triangle = torch.linalg.qr(rows.mT)
    # The sign of a column is the factorisation's: along its row.
    basis = basis * triangle.diagonal().sign()
    moment = torch.zeros(2 * features.shape[1:], dtype=torch.float64, device=features.device)
    for block, _ in widened(row_blocks(features)):
        rest = block - (block @ basis) @ basis.mT
        moment += rest.mT @ rest
    axes = torch.zeros(features.shape[1], 3, dtype=torch.float64, device=features.device)
    axes[:, : min(2, basis.shape[1])] = basis[:, :2]
    if basis.shape[1] < len(basis):
        axes[:, 2] = torch.linalg.eigh(moment).eigenvectors[:, -1]
    chosen = features[_scattered(features)].double()
    places = torch.cat([chosen, rows]) @ axes
    return {
        "role": np.repeat(["feature", "weight"], [len(chosen), len(rows)]),
        "sample": np.concatenate([np.arange(len(chosen)), np.arange(len(rows))]),
        **{f"axis_{k}": places[:, k - 1].cpu().numpy() for k in (1, 2, 3)},
    }


def _scattered(values: Tensor) -> Tensor:
    """Return the places of up to `SCATTER` evenly spaced rows."""
    count = min(len(values), SCATTER)
    # In integers: every one once where there are few.
    return torch.arange(count, device=values.device) * len(values) // count


def fit_readings(outputs: Tensor, targets: Tensor) -> Iterator[Reading]:
    """Yield ``test_mse`` and ``test_r2`` of held-out samples (M x n) on layer ``all``.

    ``test_mse`` is the mean over samples and targets, ``test_r2`` = 1 - sum norm(z - y)^2 / sum
    norm(y - ybar)^2 with the held-out mean, pooled over targets.
    """
    targets = targets.double()
    error = (outputs.double() - targets).square().mean()
    spread = (targets - targets.mean(0)).square().mean()
    yield from _as_readings(
        "all", {"test_mse": error.item(), "test_r2": defined(1 - error / spread)}
    )


def _lengths(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean feature (d), the mean norm and the mean squared norm."""
    sums, lengths, squares = 0.0, 0.0, 0.0
    for block, _ in widened(row_blocks(features)):
        norms = torch.linalg.vector_norm(block, dim=1)
        sums, lengths = sums + block.sum(0), lengths + norms.sum()
        squares = squares + norms.square().sum()
    return sums / len(features), lengths / len(features), squares / len(features)


def _residuals(features: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # In double precision: near the optimum the residuals are differences of close numbers.
    matrix = weight.to(features.device).double()
    outputs = torch.cat([block @ matrix.T for block, _ in widened(row_blocks(features))])
    return (outputs if bias is None else outputs + bias.to(outputs)) - targets.to(outputs)


def _as_readings(layer: str, values: dict[str, float | list[float] | None]) -> Iterator[Reading]:
    for name, value in values.items():
        # A metric of several numbers is a reading each; an undefined one is none.
        if isinstance(value, list):
            yield from ((layer, f"{name}[{k}]", entry) for k, entry in enumerate(value))
        elif value is not None:
            yield layer, name, value
