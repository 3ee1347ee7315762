"""Fully connected backbone of Beaglehole et al. 2024, whose start has a scale of choice."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn


class Chain(nn.Module):
    """Linear-ReLU layers without biases; the last ReLU's values are the features.

    Parameters
    ----------
    inputs, hidden
        Values of an image, and widths of the hidden layers; the last is the feature dimension d.
    gain
        Weights start uniform in ``+-gain sqrt(6/(inputs + outputs))`` (Glorot & Bengio 2010).
    """

    def __init__(self, inputs: int, hidden: Sequence[int], gain: float) -> None:
        super().__init__()
        self.dim = hidden[-1]
        layers: list[nn.Module] = [nn.Flatten()]
        for width in hidden:
            layers += [nn.Linear(inputs, width, bias=False), nn.ReLU()]
            inputs = width
        self.layers = nn.Sequential(*layers)
        for linear in self.linear:
            nn.init.xavier_uniform_(linear.weight, gain)

    @property
    def linear(self) -> list[nn.Linear]:
        """The linear layers W_1 to W_L, each behind the ReLU of the one before."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    @property
    def hidden(self) -> list[nn.Module]:
        """The modules whose values the next hidden layer gets."""
        return [layer for layer in self.layers if isinstance(layer, nn.ReLU)]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features, N x d, of images, N x C x H x W."""
        return self.layers(images)


def build(config: Mapping[str, Any], image_shape: tuple[int, int, int]) -> Chain:
    """Build the backbone from its section's keys for C x H x W images."""
    return Chain(math.prod(image_shape), config["hidden"], config["gain"])
