"""A small convolutional backbone, for scales without a GPU; not of any paper."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn


class CNN(nn.Module):
    """Blocks of 3x3 convolution, max-pooling, BatchNorm and ReLU, averaged over the image.

    Pooling comes first in a block because everything after it is then four times cheaper.

    Parameters
    ----------
    inputs, channels
        Channels of an image, and of the blocks, each of which halves the image (one pixel stays
        one pixel); the last is the feature dimension d.
    feature_normalisation
        ``batch``: BatchNorm on the averages, which gives the features both signs. ``none``:
        nothing.
    """

    def __init__(self, inputs: int, channels: Sequence[int], feature_normalisation: str) -> None:
        super().__init__()
        self.dim = channels[-1]
        layers: list[nn.Module] = []
        for width in channels:
            layers += [
                # Without a bias, which BatchNorm would take out again.
                nn.Conv2d(inputs, width, 3, padding=1, bias=False),
                # Rounding up: an image of one pixel stays one.
                nn.MaxPool2d(2, ceil_mode=True),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            inputs = width
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        if feature_normalisation == "batch":
            layers.append(nn.BatchNorm1d(self.dim))
        self.layers = nn.Sequential(*layers)

    @property
    def hidden(self) -> list[nn.Module]:
        """The ReLU of each block."""
        return [layer for layer in self.layers if isinstance(layer, nn.ReLU)]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features, N x d, of images, N x C x H x W."""
        # The layout in which convolutions are fastest.
        return self.layers(images.contiguous(memory_format=torch.channels_last))


def build(config: Mapping[str, Any], image_shape: tuple[int, int, int]) -> CNN:
    """Build it from ``channels`` and ``feature_normalisation`` for images of C x H x W."""
    return CNN(image_shape[0], config["channels"], config["feature_normalisation"])
