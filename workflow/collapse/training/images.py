"""Images that stay on a device as bytes and are normalised batch by batch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from collapse.data.dataset import Dataset, subset


class Images:
    """Images of a data set on a device, uint8.

    Parameters
    ----------
    pixels
        N x C x H x W, uint8.
    mean, std
        Per channel, in units of `maximum`.
    maximum
        The pixel value that stands for 1.
    device
        Where the images stay.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        maximum: int,
        device: torch.device,
    ) -> None:
        self.pixels = torch.from_numpy(np.ascontiguousarray(pixels)).to(device)
        deviation = np.asarray(std, np.float64)
        scale, shift = 1 / (maximum * deviation), -np.asarray(mean, np.float64) / deviation
        self._scale, self._shift = (
            torch.tensor(value, dtype=torch.float32, device=device).view(1, -1, 1, 1)
            for value in (scale, shift)
        )

    def __len__(self) -> int:
        """Return N."""
        return len(self.pixels)

    def take(self, index: torch.Tensor | slice) -> torch.Tensor:
        """Return ``(pixels / maximum - mean) / std`` of the chosen images, float32."""
        return self.pixels[index].float().mul_(self._scale).add_(self._shift)


def training_set(
    dataset: Dataset, choice: Mapping[str, Any], device: torch.device
) -> tuple[Images, torch.Tensor]:
    """Return the images and labels that an experiment trains on.

    Parameters
    ----------
    dataset
        The data set.
    choice
        The experiment's section ``data``: its name, and what `collapse.data.dataset.subset`
        chooses by.
    device
        Where both stay.
    """
    limits = {key: value for key, value in choice.items() if key != "name"}
    chosen = subset(dataset.labels, classes=dataset.classes, **limits)
    images = Images(dataset.images[chosen], dataset.mean, dataset.std, dataset.maximum, device)
    return images, torch.from_numpy(dataset.labels[chosen]).to(device)
