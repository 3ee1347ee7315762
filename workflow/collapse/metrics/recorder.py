"""Metrics of a network while it trains, at log-spaced steps."""

import math
import random

import numpy as np
import torch

from collapse.errors import InputError
from collapse.metrics.batches import Batches
from collapse.metrics.measure import Value, measured


class Recorder:
    """Measures a network at steps evenly spaced on a logarithmic axis.

    Call it before every step of a training loop, with the number of steps done; it measures when it
    is time to. The training is
    the same, to the byte, as without it: each module's mode and the random numbers are put back
    (not those of a generator that its loader shares with the training's).

    Parameters
    ----------
    batches : Batches
        What is measured: a loader with a model, see `Batches`.
    per_decade : int
        Steps measured between one power of ten and the next; steps 0 and 1 are the first.

    Attributes
    ----------
    rows : list of dict
        What was measured so far: ``step``, and the metrics as `measure` names them, None where one
        is undefined. `pandas.DataFrame` takes it as it is.

    Raises
    ------
    InputError
        `per_decade` is less than 1. While it measures, as `measure`.
    """

    def __init__(self, batches: Batches, per_decade: int = 10) -> None:
        if per_decade < 1:
            raise InputError(f"per_decade: found {per_decade}, allowed are integers from 1")
        self._batches, self._per_decade = batches, per_decade
        self.rows: list[dict[str, Value | int]] = []

    def __call__(self, step: int) -> dict[str, Value] | None:
        """Measure if it is time to; return the metrics, or None."""
        return self.record(step) if self.is_due(step) else None

    def is_due(self, step: int) -> bool:
        """Return whether a step, from 0, is one of those that are measured."""
        if step < 1:
            return step == 0
        place = self._per_decade * math.log10(step)
        # Of the two places beside it, one may round to the step.
        near = (math.floor(place), math.ceil(place))
        return any(round(10 ** (each / self._per_decade)) == step for each in near)

    def record(self, step: int) -> dict[str, Value]:
        """Measure now, the last step for instance; return the metrics."""
        # A loader that shuffles draws from the generators that the training draws from.
        states = random.getstate(), np.random.get_state()
        # Named, or it warns where there are several.
        cards = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
        with torch.random.fork_rng(cards):
            found = measured(self._batches)
        random.setstate(states[0])
        np.random.set_state(states[1])
        self.rows.append({"step": step} | found)
        return found
