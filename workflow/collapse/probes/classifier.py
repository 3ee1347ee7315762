"""A linear classifier and its features: collapse layer by layer, frames, and each class."""

from collections.abc import Iterator, Mapping
from typing import Any

from collapse.metrics.layers import accuracy_readings, frame_readings, head_readings
from collapse.probes import Reading, State


def rows(state: State, _: Mapping[str, Any]) -> Iterator[Reading]:
    """Yield the metrics of the head and of its frame; of the last state accuracies too.

    Where theory has a frame (``weight_norm`` and ``feature_norm``, the norms of the rows of the
    head's product and of the class means) also the distances to it.
    """
    frame = state.frame
    lengths = (frame["weight_norm"], frame["feature_norm"]) if "weight_norm" in frame else None
    features, labels = state.features, state.targets
    yield from head_readings(features, labels, state.head, state.bias)
    yield from frame_readings(features, labels, state.head, lengths, grams=state.last)
    # Held-out samples are passed through the network anew: of the last state only.
    held_out = state.held_out() if state.last else None
    if held_out is not None:
        yield from accuracy_readings(*held_out)
