"""Fully connected backbone of Dang et al. 2023 (Sec. 5) and of Andriopoulos et al. 2024."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn


class MLP(nn.Module):
    """Linear-ReLU layers whose last makes the features.

    Parameters
    ----------
    inputs, hidden
        Values of an image, and widths of the hidden layers; the last is the feature dimension d.
    normalisation
        ``batch``: BatchNorm after each ReLU. ``none``: nothing.
    ending
        ``signed``: after the last ReLU, BatchNorm, or without normalisation one more linear layer,
        gives the features both signs; after a ReLU they would miss the simplex ETF. ``relu``: the
        features are the last ReLU's values. ``linear``: they are what enters it. The last two
        without normalisation only.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], normalisation: str, ending: str) -> None:
        super().__init__()
        self.dim = hidden[-1]
        layers: list[nn.Module] = [nn.Flatten()]
        for width in hidden:
            layers += [nn.Linear(inputs, width), nn.ReLU(inplace=True)]
            if normalisation == "batch":
                layers.append(nn.BatchNorm1d(width))
            inputs = width
        if ending == "linear":
            # Without normalisation the last layer is the ReLU: its input remains.
            layers.pop()
        if ending == "signed":
            batch = normalisation == "batch"
            layers.append(nn.BatchNorm1d(self.dim) if batch else nn.Linear(self.dim, self.dim))
        self.layers = nn.Sequential(*layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features, N x d, of images, N x C x H x W."""
        return self.layers(images)


def build(config: Mapping[str, Any], image_shape: tuple[int, int, int]) -> MLP:
    """Build the backbone from ``hidden``, ``normalisation`` and ``ending`` for C x H x W images."""
    return MLP(math.prod(image_shape), config["hidden"], config["normalisation"], config["ending"])
