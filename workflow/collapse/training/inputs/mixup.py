"""Mixup (Zhang et al. 2018, arXiv 1710.09412): convex combinations of pairs of samples."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from collapse.training.order import Order, generator, seed_sequence

# Streams of random numbers besides that of the order.
PARTNERS, SHARES = 1, 2


class Mixup:
    """Batches of x = lambda x_i + (1 - lambda) x_j under soft labels of the same weights.

    The partner of each sample of a batch is its counterpart in a random permutation of the batch,
    itself at times. lambda is drawn from Beta(alpha, alpha), one for each batch, or one for each
    sample.

    Parameters
    ----------
    order
        The order of the N samples; both of a pair are moved as it says, and then mixed.
    labels
        N, from 0 to K - 1.
    outputs
        K.
    alpha
        Parameter of the distribution, above 0.
    per_sample
        Whether each sample has a lambda of its own.
    """

    soft = True

    def __init__(
        self, order: Order, labels: Tensor, outputs: int, alpha: float, per_sample: bool
    ) -> None:
        self._order, self._labels, self._outputs = order, labels, outputs
        self._alpha, self._per_sample = alpha, per_sample
        sizes = torch.tensor(order.sizes)
        # The number of the batch at each place of the epoch, and the place where it begins.
        self._batches = torch.arange(len(sizes)).repeat_interleave(sizes).to(labels.device)
        self._begins = (sizes.cumsum(0) - sizes).to(labels.device)[self._batches]
        # Allocated once: a captured step reads the same memory in every epoch.
        self._partners = torch.empty_like(order.indices)
        self._shares = torch.empty(order.indices.shape, device=labels.device)
        self._rows = torch.arange(len(order.indices), device=labels.device).unsqueeze(1)

    def draw(self, epoch: int) -> None:
        """Draw the order of an epoch, partners and lambdas."""
        self._order.draw(epoch)
        device, count = self._labels.device, self._partners.shape[1]
        for row, seed in enumerate(self._order.seeds):
            source = generator(seed, epoch, device, PARTNERS)
            keys = torch.rand(count, generator=source, device=device, dtype=torch.float64)
            # Sorted by batch first: a permutation of the places of each batch.
            self._partners[row] = (self._batches + keys).argsort() - self._begins
            # On the CPU, where the numbers are the same for every device.
            shares = np.random.default_rng(seed_sequence(seed, epoch, SHARES)).beta(
                self._alpha, self._alpha, count if self._per_sample else len(self._order.sizes)
            )
            drawn = torch.from_numpy(shares).to(self._shares)
            self._shares[row] = drawn if self._per_sample else drawn[self._batches]

    def take(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return mixed inputs, E x B x C x H x W, and soft labels, E x B x K, of a batch."""
        inputs, indices = self._order.take(places)
        partners = self._partners.index_select(1, places)
        shares = self._shares.index_select(1, places).unsqueeze(-1)
        labels = functional.one_hot(self._labels[indices], self._outputs).to(shares)
        # Mixed before the network, not its outputs after.
        images = inputs.flatten(2)
        mixed = shares * images + (1 - shares) * images[self._rows, partners]
        soft = shares * labels + (1 - shares) * labels[self._rows, partners]
        return mixed.view(inputs.shape), soft


def build(order: Order, targets: Tensor, outputs: int, settings: Mapping[str, Any]) -> Mixup:
    """Return the batches of a training; its section has ``alpha`` and ``per_sample``."""
    return Mixup(order, targets, outputs, settings["alpha"], settings["per_sample"])
