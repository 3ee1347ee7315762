"""What is random in an epoch: the order of the samples and how they are moved."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from collapse.training.samples import Samples

# Width of the black border that a moved window may show (He et al. 2016, Sec. 4.2).
BORDER = 4


def batch_sizes(samples: int, size: int) -> list[int]:
    """Split N samples into batches; return their sizes.

    A last batch may be smaller. One sample alone has no batch statistics, so it joins the batch
    before it.
    """
    sizes = [size] * (samples // size) + ([samples % size] if samples % size else [])
    # Batches of one sample that were asked for stay as they are.
    if size > 1 and len(sizes) > 1 and sizes[-1] == 1:
        sizes[-2:] = [size + 1]
    return sizes


def seed_sequence(seed: int, epoch: int, *stream: int) -> np.random.SeedSequence:
    """Return what all random numbers of one epoch of one network are drawn from.

    Neighbouring seeds and epochs share no numbers. `stream` names a stream besides that of the
    order, which has none: numbers of the caller's choice.
    """
    # Hashed, as a sum of seed and epoch would repeat itself.
    return np.random.SeedSequence([seed, epoch], spawn_key=stream)


def generator(seed: int, epoch: int, device: torch.device, *stream: int) -> torch.Generator:
    """Return a source of random numbers on a device, of the stream that `seed_sequence` names."""
    number = seed_sequence(seed, epoch, *stream).generate_state(1, np.uint64)[0]
    # One bit fewer, so that the seed fits a signed 64-bit integer.
    return torch.Generator(device).manual_seed(int(number >> 1))


class Order:
    """The order in which each of E networks sees the samples, redrawn for every epoch.

    All that is random in an epoch is drawn on the device, before the epoch, from a generator that
    follows from the network's seed and the epoch alone: not from the other networks, nor from
    epochs before.

    `augmentation` is what is done to images: ``crop`` moves each by up to 4 pixels in both
    directions, ``flip`` mirrors half of them.

    Attributes
    ----------
    seeds
        One per network.
    sizes
        Of the batches, one after the other, that an epoch is cut into.
    indices
        E x N: the sample at each place of the epoch that was drawn last.
    """

    def __init__(
        self,
        samples: Samples,
        seeds: Sequence[int],
        augmentation: Sequence[str],
        sizes: Sequence[int],
    ) -> None:
        self._samples, self.seeds, self.sizes = samples, tuple(seeds), tuple(sizes)
        shape, device = (len(seeds), len(samples)), samples.pixels.device
        # Allocated once: a captured step reads the same memory in every epoch.
        self.indices = torch.empty(shape, dtype=torch.int64, device=device)
        self._shift = self._flip = None
        if "crop" in augmentation:
            self._shift = torch.empty((*shape, 2), dtype=torch.int64, device=device)
        if "flip" in augmentation:
            self._flip = torch.empty(shape, dtype=torch.bool, device=device)

    def draw(self, epoch: int) -> None:
        """Draw an epoch's numbers into the same memory as those of the epoch before."""
        count, device = self.indices.shape[1], self.indices.device
        for row, seed in enumerate(self.seeds):
            options = {"generator": generator(seed, epoch, device), "device": device}
            # The order first: it is the same with and without augmentation.
            self.indices[row] = torch.randperm(count, **options)
            if self._shift is not None:
                self._shift[row] = torch.randint(-BORDER, BORDER + 1, (count, 2), **options)
            if self._flip is not None:
                self._flip[row] = torch.rand(count, **options) < 0.5

    def take(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs, E x B x C x H x W, and indices, E x B, at B places of the order."""
        index = self.indices.index_select(1, places)
        if self._shift is None and self._flip is None:
            return self._samples.take(index), index
        moves = (
            None if move is None else move.index_select(1, places)
            for move in (self._shift, self._flip)
        )
        return self._samples.take_moved(index, *moves), index
