"""Fully connected backbone of Dang et al. 2023 (Sec. 5, MLP on CIFAR10)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn


class MLP(nn.Module):
    """Linear-ReLU layers that end in signed features.

    Parameters
    ----------
    inputs
        Values of an image.
    hidden
        Widths of the hidden layers; the last is the feature dimension d.
    normalisation
        ``batch``: BatchNorm after each ReLU and once more on the features. ``none``: a linear
        layer without activation makes the features instead. Either way they take both signs,
        which features after a ReLU could not: they would miss the simplex ETF.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], normalisation: str) -> None:
        super().__init__()
        self.dim = hidden[-1]
        layers: list[nn.Module] = [nn.Flatten()]
        for width in hidden:
            layers += [nn.Linear(inputs, width), nn.ReLU(inplace=True)]
            if normalisation == "batch":
                layers.append(nn.BatchNorm1d(width))
            inputs = width
        batch = normalisation == "batch"
        layers.append(nn.BatchNorm1d(self.dim) if batch else nn.Linear(self.dim, self.dim))
        self.layers = nn.Sequential(*layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features, N x d, of images, N x C x H x W."""
        return self.layers(images)


def build(config: Mapping[str, Any], image_shape: tuple[int, int, int]) -> MLP:
    """Build the backbone from ``hidden`` and ``normalisation`` for images of C x H x W."""
    return MLP(math.prod(image_shape), config["hidden"], config["normalisation"])
