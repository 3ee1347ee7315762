"""Residual networks for small images (He et al. 2016, arXiv 1512.03385, Sec. 4.2), as ResNet20."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

STEM = 16
"""Channels of the first group; each further one has twice as many."""


class Block(nn.Module):
    """Two 3x3 convolutions with BatchNorm beside a shortcut without parameters (option A).

    Where the shape changes the shortcut takes every second pixel, and zeros for new channels.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.stride, self.added = (2 if channels > inputs else 1), channels - inputs
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride=self.stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return images of the block's channels, halved where these are more than before."""
        active = functional.relu(self.norm1(self.conv1(images)))
        beside = images[:, :, :: self.stride, :: self.stride]
        beside = functional.pad(beside, (0, 0, 0, 0, 0, self.added))
        return functional.relu(beside + self.norm2(self.conv2(active)))


class CIFARResNet(nn.Module):
    """A stem of 16 channels, three groups of blocks with 16, 32 and 64, and the image's average.

    Features are averages of ReLUs, d = 64. Convolutions start normal with variance 2/(fan out),
    BatchNorm at 1 and 0.

    Parameters
    ----------
    channels
        Of an image.
    depth
        Layers with weights, 6 n + 2 with n blocks in a group; the last is the head.
    """

    dim = 4 * STEM

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, STEM, 3, padding=1, bias=False), nn.BatchNorm2d(STEM), nn.ReLU()
        )
        groups, inputs = [], STEM
        for group in range(3):
            outputs, blocks = STEM * 2**group, []
            for _ in range((depth - 2) // 6):
                blocks.append(Block(inputs, outputs))
                inputs = outputs
            groups.append(nn.Sequential(*blocks))
        self.groups = nn.Sequential(*groups)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def hidden(self) -> list[nn.Module]:
        """The three groups."""
        return list(self.groups)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features, N x 64, of images, N x C x H x W."""
        # The layout in which convolutions are fastest.
        images = images.contiguous(memory_format=torch.channels_last)
        return self.groups(self.stem(images)).mean((2, 3))


def build(config: Mapping[str, Any], image_shape: tuple[int, int, int]) -> CIFARResNet:
    """Build it from ``depth`` for images of C x H x W."""
    return CIFARResNet(image_shape[0], config["depth"])
