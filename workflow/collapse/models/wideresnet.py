"""Wide residual network (Zagoruyko & Komodakis 2016, arXiv 1605.07146), for small images."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

STEM = 16
"""Channels before the first group, and of the first group at width 1."""


class Block(nn.Module):
    """Two 3x3 convolutions, each after BatchNorm and ReLU, beside a shortcut.

    Where the shape changes the shortcut is a 1x1 convolution of what the first ReLU gives.
    """

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        same = inputs == channels and stride == 1
        self.shortcut = None if same else nn.Conv2d(inputs, channels, 1, stride=stride, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return images of the block's channels, halved where its stride is 2."""
        active = functional.relu(self.norm1(images))
        beside = images if self.shortcut is None else self.shortcut(active)
        return beside + self.conv2(functional.relu(self.norm2(self.conv1(active))))


class WideResNet(nn.Module):
    """A stem of 16 channels, three groups of blocks, BatchNorm, ReLU and the average of the image.

    No dropout. Convolutions start normal with variance 2/(fan out), BatchNorm at 1 and 0.

    Parameters
    ----------
    channels
        Of an image.
    depth
        Number of convolutions in a row, 6 n + 4 with n blocks in a group.
    width
        Factor k of the groups' channels, 16 k, 32 k and 64 k; the features are the last, d = 64 k.
    """

    def __init__(self, channels: int, depth: int, width: int) -> None:
        super().__init__()
        self.dim = 4 * STEM * width
        self.stem = nn.Conv2d(channels, STEM, 3, padding=1, bias=False)
        groups, inputs = [], STEM
        for group in range(3):
            outputs = STEM * width * 2**group
            blocks = []
            for block in range((depth - 4) // 6):
                # The second and the third group halve the image at their beginning.
                stride = 2 if group and not block else 1
                blocks.append(Block(inputs, outputs, stride))
                inputs = outputs
            groups.append(nn.Sequential(*blocks))
        self.groups = nn.Sequential(*groups)
        self.norm = nn.BatchNorm2d(self.dim)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def hidden(self) -> list[nn.Module]:
        """The three groups."""
        return list(self.groups)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features, N x d, of images, N x C x H x W."""
        # The layout in which convolutions are fastest.
        images = images.contiguous(memory_format=torch.channels_last)
        active = functional.relu(self.norm(self.groups(self.stem(images))))
        return active.mean((2, 3))


def build(config: Mapping[str, Any], image_shape: tuple[int, int, int]) -> WideResNet:
    """Build it from ``depth`` and ``width`` for images of C x H x W."""
    return WideResNet(image_shape[0], config["depth"], config["width"])
