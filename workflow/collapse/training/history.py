"""What a training has done so far: its history, recorded states and checkpoints."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from torch import Tensor

from collapse.models.states import get_arrays, set_arrays
from collapse.training.checkpoints import Arrays, Checkpoints

MEANS = ("objective", "data_loss", "error")
"""Columns of the history whose means over an epoch are kept."""
LABEL_ENTROPY = "label_entropy"
"""One more of them, where labels are soft."""
PARTS = ("ensemble", "optimiser")
"""What a checkpoint holds beside the history, see `Trained.state`."""
# Longer trainings keep the means of evenly spaced epochs only.
MOST_ROWS = 20_000
# Saving checkpoints may take at most this share of the time.
SHARE = 0.02


class Trained(Protocol):
    """Networks in training: what a checkpoint holds, and what an epoch is."""

    settings: Mapping[str, Any]
    sizes: Sequence[int]
    means: Sequence[str]

    def __len__(self) -> int:
        """Return E, the number of networks."""

    def member(self, index: int) -> Mapping[str, Tensor]:
        """Return the parameters and buffers of one network."""

    def normalised(self, index: int) -> bool:
        """Return whether the features of one network depend on the batch."""

    def state(self, part: str) -> Mapping[str, Tensor]:
        """Return the tensors of one of `PARTS` of all networks, by name."""


class History:
    """The history of E networks, continued from the checkpoints that are found.

    `checkpoints` are an open folder to restore from and to save to, or None: the networks of
    `trainer` are set to the state of the last. At the end of the epochs `recorded` the networks'
    states are kept.

    Attributes
    ----------
    done
        Epochs done.
    states
        Recorded states of each network by epoch.
    """

    def __init__(
        self, trainer: Trained, recorded: frozenset[int], checkpoints: Checkpoints | None
    ) -> None:
        self._trainer, self._recorded, self._checkpoints = trainer, recorded, checkpoints
        size = len(trainer)
        self.done = 0
        # Both rounded up: at most `MOST_ROWS` rows.
        self._stride = -(-trainer.settings["epochs"] // MOST_ROWS)
        self.states: list[dict[int, Arrays]] = [{} for _ in range(size)]
        rows = -(-trainer.settings["epochs"] // self._stride)
        # Epochs kept; 0 in rows to come.
        self._epochs = np.zeros(rows, np.int64)
        kept = (len(trainer.means), size)
        self._means, self._rates = np.zeros((rows, *kept)), np.zeros(rows)
        self._latest = np.zeros(kept)
        # Epoch and step (over all epochs) of each divergence; 0 where there is none.
        self._diverged = np.zeros((size, 2), np.int64)
        self._unsaved: set[int] = set()
        # The first after the first epoch: what it takes is not known before.
        self._next_save = time.monotonic()
        if checkpoints:
            self._restore(checkpoints)
        # A restored training has its start among the states.
        if not self.done and 0 in recorded:
            self._record(0)

    def _restore(self, checkpoints: Checkpoints) -> None:
        snapshot = checkpoints.restore(self._recorded)
        if snapshot is None:
            return
        self.done = snapshot.epoch
        print(f"continues after epoch {self.done}", file=sys.stderr, flush=True)
        # Into the tensors that are there: optimiser and captured step go on to use their memory.
        for part in PARTS:
            set_arrays(self._trainer.state(part), snapshot.parts[part])
        history = snapshot.parts["history"]
        self._epochs, self._means = history["epochs"], history["means"]
        self._rates, self._diverged = history["rates"], history["diverged"]
        for epoch, arrays in snapshot.states.items():
            for key, array in arrays.items():
                index, name = key.split("/", 1)
                self.states[int(index)].setdefault(epoch, {})[name] = array

    @property
    def all_diverged(self) -> bool:
        """Whether no network is left to train."""
        return bool(self._diverged.all())

    @property
    def latest(self) -> dict[str, float]:
        """Objective (``loss``) and any error of the last epoch, means over the networks left."""
        alive = self._latest[:, self._diverged[:, 0] == 0]
        means = alive.mean(1) if alive.size else np.full(len(alive), np.nan)
        by_name = dict(zip(self._trainer.means, means, strict=True))
        shown = {"objective": "loss", "error": "error"}
        return {label: by_name[name] for name, label in shown.items() if name in by_name}

    def keep(self, epoch: int, rows: np.ndarray, rate: float) -> None:
        """Take over an epoch: what its batches gave, (batches, means, E), and its learning rate."""
        # The trainer returns NaN from the step on at which a network diverged.
        diverged = np.isnan(rows[:, 0])
        for index in np.flatnonzero(diverged.any(0) & (self._diverged[:, 0] == 0)):
            step = (epoch - 1) * len(rows) + int(diverged[:, index].argmax()) + 1
            self._diverged[index] = epoch, step
        # A batch counts by its size: their mean is the objective of the whole set.
        weights = np.array(self._trainer.sizes) / sum(self._trainer.sizes)
        self._latest = np.einsum("b,bme->me", weights, rows)
        if epoch % self._stride == 0 or epoch == self._trainer.settings["epochs"]:
            # The last epoch has a row, whether or not the stride meets it.
            row = (epoch - 1) // self._stride
            self._epochs[row], self._means[row], self._rates[row] = epoch, self._latest, rate
        self.done = epoch
        if epoch in self._recorded:
            self._record(epoch)
        if self._checkpoints is not None and time.monotonic() >= self._next_save:
            self.save()

    def _record(self, epoch: int) -> None:
        # A diverged network has no state to keep.
        for index in np.flatnonzero(self._diverged[:, 0] == 0):
            # BatchNorm has seen no data before the first epoch.
            if epoch > 0 or not self._trainer.normalised(index):
                self.states[index][epoch] = get_arrays(self._trainer.member(index))
        self._unsaved.add(epoch)

    def save(self) -> None:
        """Write a checkpoint of the epochs done; there is a folder of checkpoints."""
        begin = time.monotonic()
        # States first: a checkpoint's epoch promises that all before it are there.
        for epoch in sorted(self._unsaved):
            arrays = {
                f"{index}/{name}": array
                for index, states in enumerate(self.states)
                for name, array in states.get(epoch, {}).items()
            }
            self._checkpoints.record(epoch, arrays)
        # Each is written once, however many checkpoints follow.
        self._unsaved.clear()
        history = {
            "epochs": self._epochs,
            "means": self._means,
            "rates": self._rates,
            "diverged": self._diverged,
        }
        parts = {part: get_arrays(self._trainer.state(part)) for part in PARTS}
        parts["history"] = history
        self._checkpoints.save(self.done, parts)
        end = time.monotonic()
        # After a save of t seconds t/SHARE of training, so that saving takes at most the share.
        self._next_save = end + (end - begin) / SHARE

    def frame(self, index: int) -> pd.DataFrame:
        """Return the history of one network, up to the epoch before it diverged."""
        # 0 stands for no divergence.
        end = self._diverged[index, 0] or np.inf
        rows = (self._epochs > 0) & (self._epochs < end)
        columns = dict(zip(self._trainer.means, self._means[rows, :, index].T, strict=True))
        return pd.DataFrame(
            {"epoch": self._epochs[rows], **columns, "step_size": self._rates[rows]}
        )

    def divergence(self, index: int) -> tuple[int | None, int | None]:
        """Return epoch and step at which one network diverged, None for both if it did not."""
        epoch, step = self._diverged[index].tolist()
        return (epoch, step) if epoch else (None, None)
