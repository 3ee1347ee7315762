"""What the stages measure of a head and its features: against labels, or against real targets."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from collapse.metrics.layers import Reading, Row, at_step, frame_readings, head_readings
from collapse.metrics.targets import regression_readings, target_readings
from collapse.stages.closed_form import decays_of_regression, frame_lengths


@dataclass(frozen=True)
class State:
    """A head and the features it works on.

    Attributes
    ----------
    features
        N x d.
    weights
        W_1 to W_M.
    bias
        Of the last layer, or None.
    """

    features: Tensor
    weights: Sequence[Tensor]
    bias: Tensor | None


def rows_of(
    step: int, state: State, targets: Tensor, config: Mapping[str, Any], *, last: bool
) -> list[Row]:
    """Return all that is measured of a state.

    Parameters
    ----------
    step
        Its step or epoch.
    state
        The state.
    targets
        N labels, or N x n real targets.
    config
        The run's config at this step.
    last
        Whether it is the run's last: what does not change, or is large, is measured only then.
    """
    measured = _against_labels if targets.ndim == 1 else _against_targets
    return at_step(step, measured(state, targets, config, last))


def _against_labels(
    state: State, labels: Tensor, config: Mapping[str, Any], last: bool
) -> Iterator[Reading]:
    lengths = frame_lengths(config, torch.bincount(labels).tolist())
    yield from head_readings(state.features, labels, state.weights, state.bias)
    yield from frame_readings(state.features, labels, state.weights, lengths, grams=last)


def _against_targets(
    state: State, targets: Tensor, config: Mapping[str, Any], last: bool
) -> Iterator[Reading]:
    (weight,) = state.weights
    decays = decays_of_regression(config)
    yield from regression_readings(state.features, targets, weight, state.bias, decays)
    if last:
        yield from target_readings(targets)
