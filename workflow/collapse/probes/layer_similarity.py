"""Free features beside those that each layer of a trained network has of the same samples."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from collapse.errors import InputError
from collapse.metrics.measure import study_metrics
from collapse.metrics.similarity import cka, procrustes
from collapse.probes import Reading, State
from collapse.upstream import feature_layers, features_by_class


def rows(state: State, settings: Mapping[str, Any]) -> Iterator[Reading]:
    """Yield, of the last state and on the layer's name, its likeness to each layer's features.

    ``CKA`` and ``procrustes`` of the state's features and the layer's, of the first samples of each
    class. Of the network alone, on the same samples: ``network_NC1``, ``network_NC1_ratio`` and
    ``network_NC2_ETF``, and ``network_CKA`` and ``network_procrustes`` of the layer and the next.
    """
    if not state.last:
        return
    labels, tensors = state.targets, state.referred(settings)
    classes, count = _by_class(labels)
    layers = feature_layers(tensors)
    features = [features_by_class(tensors, layer, classes, count) for layer in layers]
    for layer, own, following in zip(layers, features, [*features[1:], None], strict=True):
        for name, likeness in (("CKA", cka), ("procrustes", procrustes)):
            # Of a layer whose units are all dead there is none.
            if _vary(state.features, own):
                yield layer, name, likeness(state.features, own)
            if following is not None and _vary(own, following):
                yield layer, f"network_{name}", likeness(own, following)
        values = study_metrics(own, labels, least=1)
        for name in ("NC1", "NC1_ratio", "NC2_ETF"):
            if values[name] is not None:
                yield layer, f"network_{name}", values[name]


def _by_class(labels: torch.Tensor | None) -> tuple[int, int]:
    """Return K and n of features grouped by class, as many of each; refuse others."""
    if labels is not None and not labels.is_floating_point():
        classes = int(labels.max()) + 1
        count = len(labels) // classes
        if torch.equal(labels, torch.arange(classes).repeat_interleave(count)):
            return classes, count
    raise InputError("probe layer_similarity: a problem with as many samples of each class needed")


def _vary(*features: torch.Tensor) -> bool:
    return all(bool((each != each[0]).any()) for each in features)
