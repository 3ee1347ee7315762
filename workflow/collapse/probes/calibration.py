"""Whether a classifier is right as often as it is sure, on samples that it was not trained on."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from torch import Tensor

from collapse.errors import InputError
from collapse.metrics.calibration import (
    confidence,
    confidence_gap,
    expected_calibration_error,
    reliability,
)
from collapse.probes import Reading, State


def rows(state: State, settings: Mapping[str, Any]) -> Iterator[Reading]:
    """Yield, of the last state's held-out samples and on layer ``all``, its calibration.

    ``ECE``, the expected calibration error; ``confidence``, the mean of the largest softmax
    probability; ``confidence_gap``, that less the accuracy, signed.
    """
    held_out = _held_out(state)
    if held_out is None:
        return
    logits, _ = held_out
    yield "all", "ECE", expected_calibration_error(*held_out, settings["bins"])
    yield "all", "confidence", confidence(logits)
    yield "all", "confidence_gap", confidence_gap(*held_out)


def points(state: State, settings: Mapping[str, Any]) -> pd.DataFrame | None:
    """Return the bins of the reliability diagram that have samples, by ``bin`` from 0.

    Edges ``low`` and ``high``, ``count``, mean ``bin_confidence`` and ``bin_accuracy``.
    """
    held_out = _held_out(state)
    if held_out is None:
        return None
    found = reliability(*held_out, settings["bins"])._asdict()
    bins = pd.DataFrame({name: values.numpy() for name, values in found.items()})
    names = {name: f"bin_{name}" for name in ("confidence", "accuracy")}
    bins = bins.rename(columns=names).rename_axis("bin").reset_index()
    return bins[bins["count"] > 0].assign(layer="all")


def _held_out(state: State) -> tuple[Tensor, Tensor] | None:
    """Return logits and labels of held-out samples of a last state; refuse real targets.

    None where there are none, or a network that went on to diverge has no finite logits.
    """
    if state.targets is None or state.targets.ndim != 1:
        raise InputError("probe calibration: labels needed, found none")
    found = state.held_out() if state.last else None
    return found if found is not None and found[0].isfinite().all() else None
