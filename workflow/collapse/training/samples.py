"""Samples that stay on a device as stored, and are cut out and normalised batch by batch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from collapse.data.dataset import Dataset, prepare


class Samples:
    """Samples on a device as stored, channels last: images, or rows of a table as single pixels.

    `pixels` are N x C x H x W, uint8, int16 or float32; `mean` and `std` are per channel, in units
    of `maximum`, the pixel value that stands for 1.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        maximum: int,
        device: torch.device,
    ) -> None:
        # The batches cut out below are then channels last in memory, as convolutions want them.
        channels_last = np.ascontiguousarray(np.moveaxis(pixels, 1, -1))
        self.pixels = torch.from_numpy(channels_last).to(device)
        deviation = np.asarray(std, np.float64)
        # (p/maximum - mean)/std as p * scale + shift: two fused passes, constants in double
        # precision.
        scale, shift = 1 / (maximum * deviation), -np.asarray(mean, np.float64) / deviation
        self._scale, self._shift = (
            torch.tensor(value, dtype=torch.float32, device=device) for value in (scale, shift)
        )
        self._rows, self._columns = (
            torch.arange(length, device=device) for length in self.pixels.shape[1:3]
        )

    @classmethod
    def of_features(cls, features: Tensor) -> "Samples":
        """Return features, N x d float32, as samples on their device, taken as they are."""
        count = features.shape[1]
        pixels = features.view(-1, count, 1, 1).cpu().numpy()
        return cls(pixels, (0.0,) * count, (1.0,) * count, 1, features.device)

    def __len__(self) -> int:
        """Return N."""
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, H and W of a sample."""
        height, width, channels = self.pixels.shape[1:]
        return channels, height, width

    def take(self, index: Tensor | slice) -> Tensor:
        """Return ``(pixels / maximum - mean) / std`` of samples, ... x C x H x W."""
        return self._normalised(self.pixels[index])

    def take_moved(self, index: Tensor, shift: Tensor | None, flip: Tensor | None) -> Tensor:
        """Return images, moved over a black ground and mirrored, as `take` does.

        `index`, any shape, are those to take; `shift`, index's shape x 2, the pixels by which each
        window lies below and to the right of the image's own; `flip`, index's shape, whether it is
        mirrored left to right. None for no shift, or flip.
        """
        rows, columns = (
            line.expand(*index.shape, -1).clone() for line in (self._rows, self._columns)
        )
        if flip is not None:
            # Columns backwards, and shifted below: what is mirrored is the window.
            columns = torch.where(flip.unsqueeze(-1), columns.flip(-1), columns)
        if shift is None:
            return self._normalised(self._window(index, rows, columns))
        rows, columns = rows + shift[..., :1], columns + shift[..., 1:]
        height, width = self.pixels.shape[1:3]
        # Pixels beyond the border are taken from it and set to 0 below: an index must exist.
        window = self._window(index, rows.clamp(0, height - 1), columns.clamp(0, width - 1))
        # Black is the pixel 0, before normalisation.
        inside = _within(rows, height).unsqueeze(-1) & _within(columns, width).unsqueeze(-2)
        return self._normalised(window * inside.unsqueeze(-1))

    def _window(self, index: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        return self.pixels[index[..., None, None], rows.unsqueeze(-1), columns.unsqueeze(-2)]

    def _normalised(self, pixels: Tensor) -> Tensor:
        return (
            # A copy even of float32: the stored pixels are not to be written to.
            pixels.to(torch.float32, copy=True).mul_(self._scale).add_(self._shift).movedim(-1, -3)
        )


def training_set(
    dataset: Dataset, choice: Mapping[str, Any], device: torch.device
) -> tuple[Samples, Tensor]:
    """Return the samples and targets that an experiment trains on, on a device.

    `choice` is the experiment's section ``data``, by which `collapse.data.dataset.prepare` chooses.
    The targets of N samples are labels, N, int64, or real numbers, N x n, float32.
    """
    prepared = prepare(dataset, choice)
    return _samples_and_targets(prepared, prepared.inputs, prepared.targets, device)


def held_out(
    dataset: Dataset, choice: Mapping[str, Any], device: torch.device
) -> tuple[Samples, Tensor]:
    """Return the test samples and targets, in the units that the experiment trains in."""
    prepared = prepare(dataset, choice)
    return _samples_and_targets(prepared, prepared.test_inputs, prepared.test_targets, device)


def _samples_and_targets(
    dataset: Dataset, inputs: np.ndarray, targets: np.ndarray, device: torch.device
) -> tuple[Samples, Tensor]:
    if dataset.regression:
        inputs, targets = inputs.astype(np.float32), targets.astype(np.float32)
    samples = Samples(inputs, dataset.mean, dataset.std, dataset.maximum, device)
    return samples, torch.from_numpy(targets).to(device)


def _within(places: Tensor, length: int) -> Tensor:
    return (places >= 0) & (places < length)
