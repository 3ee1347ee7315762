"""Free features beside those that each layer of a trained network has of the same samples."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from collapse.errors import InputError
from collapse.metrics.measure import measure
from collapse.metrics.similarity import cka, procrustes
from collapse.probes import Reading, State
from collapse.problems.starts.network_features import feature_layers, grouped


def rows(state: State, settings: Mapping[str, Any]) -> Iterator[Reading]:
    """Yield, of the last state and on the layer's name, its likeness to each layer's features.

    ``CKA`` and ``procrustes`` of the state's features and the layer's, of the first samples of each
    class. Of the network alone, on the same samples: ``network_NC1``, ``network_NC1_ratio`` and
    ``network_NC2_ETF``, and ``network_CKA`` and ``network_procrustes`` of the layer and the next.
    """
    if not state.last:
        return
    labels, tensors = state.targets, state.referred(settings)
    classes, layers = int(labels.max()) + 1, feature_layers(tensors)
    count = len(labels) // classes
    if not torch.equal(labels, torch.arange(classes).repeat_interleave(count)):
        raise InputError(
            "probe layer_similarity: a problem with as many samples of each class needed"
        )
    features = [grouped(tensors, layer, classes, count) for layer in layers]
    for place, (layer, own) in enumerate(zip(layers, features, strict=True)):
        for name, likeness in (("CKA", cka), ("procrustes", procrustes)):
            yield layer, name, likeness(state.features, own)
            if place + 1 < len(layers):
                yield layer, f"network_{name}", likeness(own, features[place + 1])
        values = measure(own, labels, least=1)
        for name in ("NC1", "NC1_ratio", "NC2_ETF"):
            if values[name] is not None:
                yield layer, f"network_{name}", values[name]
