"""Training of a network on images that fit on the device."""

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from collapse.errors import InputError
from collapse.models.network import Network
from collapse.models.states import get_arrays, set_arrays
from collapse.schedule import log_spaced
from collapse.training import optimisers
from collapse.training.checkpoints import Arrays, Checkpoints
from collapse.training.device import precision
from collapse.training.images import Images
from collapse.training.objective import Objective
from collapse.training.progress import Progress

_HISTORY = ("epoch", "loss", "data_loss", "error", "learning_rate")
_SECONDS_BETWEEN_CHECKPOINTS = 30.0


@dataclass(frozen=True)
class TrainingResult:
    """What a training leaves behind.

    Attributes
    ----------
    states
        Parameters and buffers by recorded epoch.
    history
        One row per finished epoch: ``epoch``; ``loss``, the objective, and ``data_loss``, its
        data term, as means over the epoch's batches weighted by their size; ``error``, the
        fraction of samples misclassified on the way; ``learning_rate``.
    diverged_epoch, diverged_step
        Epoch, and step counted over the whole training, at which the objective stopped being
        finite (both from 1); None when it never did.
    """

    states: dict[int, Arrays]
    history: pd.DataFrame
    diverged_epoch: int | None = None
    diverged_step: int | None = None

    @property
    def status(self) -> str:
        """``completed`` or ``diverged``."""
        return "completed" if self.diverged_epoch is None else "diverged"


class _Diverged(Exception):
    """The objective is not finite; holds the step within the epoch, from 1."""


def learning_rate(settings: Mapping[str, Any], epoch: int) -> float:
    """Return the learning rate in an epoch (from 1): step decay, or constant."""
    schedule = settings["schedule"]
    steps = (epoch - 1) // schedule["step"] if schedule else 0
    return settings["learning_rate"] * (schedule["factor"] ** steps if steps else 1.0)


def batches(
    samples: int, size: int, seed: int, epoch: int, device: torch.device | str = "cpu"
) -> list[torch.Tensor]:
    """Split the samples into batches, in an order that follows from seed and epoch alone.

    A last batch may be smaller. One sample alone has no batch statistics, so it joins the batch
    before it.
    """
    order = np.random.default_rng([seed, epoch]).permutation(samples)
    parts = list(torch.from_numpy(order).to(device).split(size))
    if size > 1 and len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def train(
    network: Network,
    images: Images,
    labels: torch.Tensor,
    objective: Objective,
    settings: Mapping[str, Any],
    seed: int,
    checkpoints: Checkpoints | None = None,
) -> TrainingResult:
    """Train a network in place and keep its state at log-spaced epochs.

    Parameters
    ----------
    network
        The network, on the device of the images and labels.
    images, labels
        The N training images and their labels from 0 to K - 1.
    objective
        What is minimised.
    settings
        The config's section ``training``.
    seed
        Seed of the order of samples.
    checkpoints
        An open folder of checkpoints to continue from and to write to. The result has the same
        bytes whether or not the training was interrupted, on the same class of device.

    Raises
    ------
    InputError
        If the network has BatchNorm and batches hold one sample.
    """
    size, epochs = settings["batch_size"], settings["epochs"]
    _check_batches(network, len(images), size)
    # Before the first epoch BatchNorm has seen no data: epoch 0 has no features to speak of.
    recorded = frozenset(log_spaced(epochs, settings["record"])) - {0}
    run = _Run(network, optimisers.make(settings, network), recorded, checkpoints)
    divergence: dict[str, int] = {}
    with closing(Progress(epochs, run.done)) as progress:
        for epoch in range(run.done + 1, epochs + 1):
            parts = batches(len(images), size, seed, epoch, labels.device)
            rate = learning_rate(settings, epoch)
            try:
                means = run.epoch(objective, images, labels, parts, rate)
            except _Diverged as error:
                step = (epoch - 1) * len(parts) + error.args[0]
                divergence = {"diverged_epoch": epoch, "diverged_step": step}
                break
            run.keep(epoch, (epoch, *means, rate))
            progress.update(epoch, loss=means[0], error=means[2])
    return TrainingResult(run.states, pd.DataFrame(run.columns()), **divergence)


class _Run:
    """A training in progress: all that changes from epoch to epoch, and its checkpoints."""

    def __init__(
        self,
        network: Network,
        optimiser: optimisers.Adam | optimisers.SGD,
        recorded: frozenset[int],
        checkpoints: Checkpoints | None,
    ) -> None:
        self.network, self.optimiser = network, optimiser
        self.recorded, self.checkpoints = recorded, checkpoints
        self.done = 0
        self.states: dict[int, Arrays] = {}
        self.history: dict[str, list] = {name: [] for name in _HISTORY}
        self._saved = time.monotonic()
        snapshot = checkpoints.restore(recorded) if checkpoints else None
        if snapshot:
            set_arrays(network.state_dict(), snapshot.parts["network"])
            set_arrays(optimiser.state, snapshot.parts["optimiser"])
            self.history = {name: snapshot.parts["history"][name].tolist() for name in _HISTORY}
            self.done, self.states = snapshot.epoch, snapshot.states

    def epoch(
        self,
        objective: Objective,
        images: Images,
        labels: torch.Tensor,
        parts: list[torch.Tensor],
        rate: float,
    ) -> tuple[float, ...]:
        """Take one pass; return the means of objective, data term and error over the samples."""
        self.network.train()
        with precision(tf32=True):
            rows = [self._step(objective, images, labels, part, rate) for part in parts]
        # The one transfer of the epoch: until here a GPU never waits for the host.
        values = torch.stack(rows).double().cpu().numpy()
        bad = np.flatnonzero(~np.isfinite(values[:, 0]))
        if len(bad):
            raise _Diverged(int(bad[0]) + 1)
        if not all(torch.isfinite(parameter).all() for parameter in self.network.parameters()):
            raise _Diverged(len(parts))
        sizes = np.array([len(part) for part in parts])
        return tuple((sizes @ values / len(images)).tolist())

    def _step(
        self,
        objective: Objective,
        images: Images,
        labels: torch.Tensor,
        index: torch.Tensor,
        rate: float,
    ) -> torch.Tensor:
        target = labels[index]
        logits, features = self.network(images.take(index))
        loss, data = objective(self.network, logits, features, target)
        loss.backward()
        self.optimiser.step(rate)
        wrong = (logits.detach().argmax(1) != target).float().mean()
        return torch.stack((loss.detach(), data.detach(), wrong))

    def keep(self, epoch: int, row: tuple[float, ...]) -> None:
        """Append to the history; record the state where it is due, and save a checkpoint."""
        for name, value in zip(_HISTORY, row, strict=True):
            self.history[name].append(value)
        due = epoch in self.recorded
        if due:
            self.states[epoch] = get_arrays(self.network.state_dict())
        late = time.monotonic() - self._saved > _SECONDS_BETWEEN_CHECKPOINTS
        if self.checkpoints is None or not (due or late):
            return
        if due:
            self.checkpoints.record(epoch, self.states[epoch])
        self.checkpoints.save(epoch, self._parts())
        self._saved = time.monotonic()

    def _parts(self) -> dict[str, Arrays]:
        return {
            "network": get_arrays(self.network.state_dict()),
            "optimiser": get_arrays(self.optimiser.state),
            "history": self.columns(),
        }

    def columns(self) -> Arrays:
        """Return the history's columns, typed even when they are empty."""
        kinds = {name: np.int64 if name == "epoch" else np.float64 for name in _HISTORY}
        return {name: np.array(self.history[name], kind) for name, kind in kinds.items()}


def _check_batches(network: Network, samples: int, size: int) -> None:
    normalised = any(isinstance(module, nn.BatchNorm1d) for module in network.modules())
    if normalised and min(samples, size) == 1:
        raise InputError(
            f"training.batch_size: batches of {min(samples, size)} sample found, "
            "a network with BatchNorm needs at least 2"
        )
