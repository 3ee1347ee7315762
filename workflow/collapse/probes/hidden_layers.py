"""Collapse of every hidden layer's features of a network."""

from collections.abc import Iterator, Mapping
from typing import Any

from collapse.metrics.measure import study_metrics
from collapse.probes import Reading, State


def rows(state: State, _: Mapping[str, Any]) -> Iterator[Reading]:
    """Yield every metric of features alone on layers ``hidden1`` and so on."""
    labelled = state.targets.ndim == 1
    answers = {"labels" if labelled else "targets": state.targets}
    for layer, features in state.tensors.items():
        if not layer.startswith("hidden"):
            continue
        for name, value in study_metrics(features, **answers, least=1).items():
            # A spectrum is no scalar row.
            if isinstance(value, float):
                yield layer, name, value
