"""Collapse of free features by class, without a classifier."""

from collections.abc import Iterator, Mapping
from typing import Any

from collapse.metrics.collapse import class_means
from collapse.metrics.measure import study_metrics
from collapse.probes import Reading, State


def rows(state: State, _: Mapping[str, Any]) -> Iterator[Reading]:
    """Yield every metric of the features, and the traces of their covariances.

    ``trace_within`` and ``trace_between``, tr Sigma_W and tr Sigma_B (population), on layer
    ``H1``.
    """
    features, labels = state.features, state.targets
    for name, value in study_metrics(features, labels, least=1).items():
        if value is not None:
            yield "H1", name, value
    means = class_means(features, labels, int(labels.max()) + 1, least=1)
    yield "H1", "trace_within", (features - means[labels]).square().sum(1).mean().item()
    # Classes of equal size: the mean of their means is that of all samples.
    centred = means - means.mean(0)
    yield "H1", "trace_between", centred.square().sum(1).mean().item()
