"""Where in an epoch a step is, and what is kept of each batch: on the device, in place."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Ledger:
    """The clock and the log of the steps of E networks.

    Everything is a tensor, allocated once: a step takes no arguments, and one that is captured
    reads and writes the same memory in every epoch.

    Parameters
    ----------
    sizes
        Of the batches of an epoch, in samples.
    means
        How many numbers are kept of each batch and network.
    networks
        E.

    Attributes
    ----------
    rate
        The learning rate, a tensor without axes.
    """

    def __init__(
        self, sizes: Sequence[int], means: int, networks: int, device: torch.device
    ) -> None:
        # In samples and in batches.
        self._place = torch.zeros(1, dtype=torch.int64, device=device)
        self._batch = torch.zeros(1, dtype=torch.int64, device=device)
        self._range = torch.arange(max(sizes), device=device)
        # It stays on the device until the epoch ends.
        self._log = torch.zeros(len(sizes), means, networks, device=device)
        self.rate = torch.zeros((), device=device)

    @property
    def state(self) -> list[Tensor]:
        """All that a step changes, but for the log, which is written anew."""
        return [self._place, self._batch]

    def begin(self, rate: float) -> None:
        """Begin an epoch at a learning rate."""
        self._place.zero_()
        self._batch.zero_()
        self.rate.fill_(rate)

    def places(self, size: int) -> Tensor:
        """Return the places in the epoch's order of the next `size` samples."""
        return self._place + self._range[:size]

    def enter(self, row: Tensor, size: int) -> None:
        """Log what is kept of a batch of `size` samples, (means, E), and count it."""
        # By a tensor, not a Python index: the graph is the same for every batch.
        self._log.index_copy_(0, self._batch, row.unsqueeze(0))
        self._place += size
        self._batch += 1

    def rows(self, finite: Tensor) -> np.ndarray:
        """Return what was kept of every batch of the epoch that ends here, (batches, means, E).

        It is NaN where the first number, the objective, is not finite, and in the last batch of the
        networks whose parameters are not, (E,) bool.
        """
        rows = self._log.double().cpu().numpy()
        # Parameters may become infinite in the last step, after its objective was logged.
        rows[-1, :][:, ~finite.cpu().numpy()] = np.nan
        # Where the objective is not finite, neither are its terms worth a number.
        return np.where(np.isfinite(rows[:, :1]), rows, np.nan)
