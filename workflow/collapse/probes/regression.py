"""A linear head on real targets: regression collapse, fit and the geometry of W."""

from collections.abc import Iterator, Mapping
from typing import Any

from collapse.metrics.targets import fit_readings, regression_readings, target_readings
from collapse.probes import Reading, State


def rows(state: State, _: Mapping[str, Any]) -> Iterator[Reading]:
    """Yield the metrics of the head, the fit of held-out samples, and at the end the targets'."""
    weight = state.weight
    decay = state.config["weight_decay"]
    # A list holds a decay for each layer, of which a regression has one.
    decays = decay[0] if isinstance(decay, list) else decay, state.config["feature_decay"]
    yield from regression_readings(state.features, state.targets, weight, state.bias, decays)
    if state.last:
        yield from target_readings(state.targets)
    held_out = state.held_out()
    if held_out is not None:
        yield from fit_readings(*held_out)
