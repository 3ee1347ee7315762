"""What a learner of any kind of network is to the trainer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from collapse.training import kinds
from collapse.training.ensemble import Ensemble
from collapse.training.ledger import Ledger


class Learner:
    """E networks of one shape with their optimiser, the clock and the log of their steps.

    A kind of learner adds ``advance(size)``, which takes a batch of each network and logs it. What
    a step needs lies on the device, and a step works in place: it can be captured and replayed.

    Parameters
    ----------
    ensemble
        The networks, on the device.
    settings
        The config's section ``training``.
    sizes
        Of the batches of an epoch, in samples.
    means
        What is kept of each epoch, by the history's names; the objective first.

    Attributes
    ----------
    compiled
        Whether forward and backward pass are compiled.
    """

    compiled = False

    def __init__(
        self,
        ensemble: Ensemble,
        settings: Mapping[str, Any],
        sizes: Sequence[int],
        means: Sequence[str],
        device: torch.device,
    ) -> None:
        self.ensemble, self.settings, self.sizes, self.means = ensemble, settings, sizes, means
        rule = kinds.load("update_rules", settings["optimiser"])
        self.optimiser = rule.make(ensemble.parameters, settings)
        self._ledger = Ledger(sizes, len(means), len(ensemble), device)

    @property
    def state(self) -> list[Tensor]:
        """All that a step changes, but for the log, which is written anew."""
        tensors = [*self.ensemble.state.values(), *self.optimiser.state.values()]
        return [*tensors, *self._ledger.state]

    def begin(self, epoch: int, rate: float) -> None:
        """Begin an epoch, from 1, at a learning rate."""
        self._ledger.begin(rate)

    def rows(self) -> np.ndarray:
        """Return `means` of every batch of the epoch that ends here, (batches, means, E)."""
        return self._ledger.rows(self.ensemble.finite())
