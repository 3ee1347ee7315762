"""What a training has done so far: its history, recorded states and checkpoints."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from collapse.models.states import get_arrays, set_arrays
from collapse.training.checkpoints import Arrays, Checkpoints

if TYPE_CHECKING:
    from collapse.training.trainer import Training

_MEANS = ("objective", "data_loss", "error")
# Saving checkpoints may take at most this share of the time.
SHARE = 0.02


class History:
    """The history of E networks, continued from the checkpoints that are found.

    Parameters
    ----------
    training
        The training; it is set to the state of the last checkpoint.
    recorded
        Epochs at whose end the networks' states are kept.
    checkpoints
        An open folder to restore from and to save to, or None.

    Attributes
    ----------
    done
        Epochs done.
    states
        Recorded states of each network by epoch.
    """

    def __init__(
        self, training: Training, recorded: frozenset[int], checkpoints: Checkpoints | None
    ) -> None:
        self._training, self._recorded, self._checkpoints = training, recorded, checkpoints
        size = len(training.ensemble)
        self.done = 0
        self.states: list[dict[int, Arrays]] = [{} for _ in range(size)]
        self._means = np.empty((0, len(_MEANS), size))
        self._rates = np.empty(0)
        # Epoch and step (over all epochs) of each divergence; 0 where there is none.
        self._diverged = np.zeros((size, 2), np.int64)
        self._unsaved: set[int] = set()
        self._next_save = time.monotonic()
        if checkpoints:
            self._restore(checkpoints)

    def _restore(self, checkpoints: Checkpoints) -> None:
        snapshot = checkpoints.restore(self._recorded)
        if snapshot is None:
            return
        self.done = snapshot.epoch
        set_arrays(self._training.ensemble.state, snapshot.parts["network"])
        set_arrays(self._training.optimiser.state, snapshot.parts["optimiser"])
        history = snapshot.parts["history"]
        self._means, self._rates = history["means"], history["rates"]
        self._diverged = history["diverged"]
        for epoch, arrays in snapshot.states.items():
            for key, array in arrays.items():
                index, name = key.split("/", 1)
                self.states[int(index)].setdefault(epoch, {})[name] = array

    @property
    def all_diverged(self) -> bool:
        """Whether no network is left to train."""
        return bool(self._diverged.all())

    @property
    def latest(self) -> tuple[float, float]:
        """Objective and training error of the last epoch, means over the networks left."""
        alive = self._means[-1][:, self._diverged[:, 0] == 0]
        return tuple(alive.mean(1)[[0, 2]]) if alive.size else (np.nan, np.nan)

    def keep(self, epoch: int, rows: np.ndarray, rate: float) -> None:
        """Take over an epoch: what its batches gave, (batches, 3, E), and its learning rate."""
        lost = np.isnan(rows[:, 0])
        for index in np.flatnonzero(lost.any(0) & (self._diverged[:, 0] == 0)):
            step = (epoch - 1) * len(rows) + int(lost[:, index].argmax()) + 1
            self._diverged[index] = epoch, step
        weights = np.array(self._training.sizes) / sum(self._training.sizes)
        means = np.einsum("b,bme->me", weights, rows)
        self._means = np.concatenate([self._means, means[None]])
        self._rates = np.append(self._rates, rate)
        self.done = epoch
        if epoch in self._recorded:
            self._record(epoch)
        if self._checkpoints is not None and time.monotonic() >= self._next_save:
            self._save(self._checkpoints)

    def _record(self, epoch: int) -> None:
        for index in np.flatnonzero(self._diverged[:, 0] == 0):
            member = self._training.ensemble.member(index)
            self.states[index][epoch] = get_arrays(member)
        self._unsaved.add(epoch)

    def _save(self, checkpoints: Checkpoints) -> None:
        began = time.monotonic()
        for epoch in sorted(self._unsaved):
            arrays = {
                f"{index}/{name}": array
                for index, states in enumerate(self.states)
                for name, array in states.get(epoch, {}).items()
            }
            checkpoints.record(epoch, arrays)
        self._unsaved.clear()
        history = {"means": self._means, "rates": self._rates, "diverged": self._diverged}
        parts = {
            "network": get_arrays(self._training.ensemble.state),
            "optimiser": get_arrays(self._training.optimiser.state),
            "history": history,
        }
        checkpoints.save(self.done, parts)
        ended = time.monotonic()
        self._next_save = ended + (ended - began) / SHARE

    def frame(self, index: int) -> pd.DataFrame:
        """Return the history of one network, up to the epoch before it diverged."""
        diverged = self._diverged[index, 0]
        rows = slice(0, diverged - 1 if diverged else self.done)
        means = self._means[rows, :, index]
        columns = dict(zip(_MEANS, means.T, strict=True))
        epochs = np.arange(1, len(means) + 1)
        return pd.DataFrame({"epoch": epochs, **columns, "step_size": self._rates[rows]})

    def divergence(self, index: int) -> tuple[int | None, int | None]:
        """Return epoch and step at which one network diverged, None for both if it did not."""
        epoch, step = self._diverged[index].tolist()
        return (epoch, step) if epoch else (None, None)
