"""Samples as they are: the inputs of the data set, moved as the order says, and their targets."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from collapse.training.order import Order


class Plain:
    """Batches of the N samples in an order, and their labels, N, or real targets, N x n."""

    soft = False

    def __init__(self, order: Order, targets: Tensor) -> None:
        self._order, self._targets = order, targets

    def draw(self, epoch: int) -> None:
        """Draw the order of an epoch."""
        self._order.draw(epoch)

    def take(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return the inputs, E x B x C x H x W, and targets, E x B [x n], at B places."""
        inputs, indices = self._order.take(places)
        return inputs, self._targets[indices]


def build(order: Order, targets: Tensor, outputs: int, settings: Mapping[str, Any]) -> Plain:
    """Return the batches of a training; its section has no further keys."""
    return Plain(order, targets)
