"""Language models of one shape, and what a step of their training does to them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from collapse.training.device import mixed
from collapse.training.ensemble import Ensemble
from collapse.training.history import MEANS
from collapse.training.learner import Learner
from collapse.training.order import batch_sizes, generator


class LanguageLearner(Learner):
    """E models with the windows of a text, their order and their optimiser.

    Parameters
    ----------
    ensemble
        The models, on the windows' device.
    windows
        N x (L + 1) tokens.
    settings
        The config's section ``training``.
    seeds
        Seeds of the order of windows, one for each model.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        windows: Tensor,
        settings: Mapping[str, Any],
        seeds: Sequence[int],
    ) -> None:
        sizes, device = batch_sizes(len(windows), settings["batch_size"]), windows.device
        super().__init__(ensemble, settings, sizes, MEANS, device)
        self._windows, self._seeds = windows, seeds
        # Allocated once: a captured step reads the same memory in every epoch.
        self._order = torch.empty(len(seeds), len(windows), dtype=torch.int64, device=device)

    def begin(self, epoch: int, rate: float) -> None:
        """Begin an epoch, from 1, at a learning rate; its order follows from seeds and epoch."""
        device = self._windows.device
        for row, seed in zip(self._order, self._seeds, strict=True):
            torch.randperm(len(row), generator=generator(seed, epoch, device), out=row)
        super().begin(epoch, rate)

    def advance(self, size: int) -> None:
        """Take the next `size` windows of each model; log and count them."""
        places = self._order.index_select(1, self._ledger.places(size))
        batch = self._windows[places]
        labels = batch[..., 1:].flatten(1)
        with mixed(self.settings["precision"], labels.device):
            outputs = self.ensemble.head(self.ensemble.features(batch[..., :-1]))
        # In float32, also under mixed precision.
        outputs = outputs.float()
        # Behind each other: PyTorch is faster where the classes are on the last axis.
        losses = functional.cross_entropy(outputs.flatten(0, 1), labels.flatten(), reduction="none")
        loss = losses.unflatten(0, labels.shape).mean(1)
        # The models share no parameter: the gradient of the sum is that of each.
        loss.sum().backward()
        self.optimiser.step(self._ledger.rate)
        self.ensemble.drop_gradients()
        error = (outputs.detach().argmax(-1) != labels).float().mean(1)
        self._ledger.enter(torch.stack([loss.detach(), loss.detach(), error]), size)
