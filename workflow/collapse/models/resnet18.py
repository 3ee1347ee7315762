"""ResNet18 with the CIFAR stem (He et al. 2016; stem and last BatchNorm as Dang et al. 2023)."""

from collections.abc import Mapping
from typing import Any

import torch
import torchvision
from torch import nn


class ResNet18(nn.Module):
    """ResNet18 with a 3x3 stem of stride 1, no pooling after it, and BatchNorm on the features.

    For images of `channels` channels.
    """

    dim = 512

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = torchvision.models.resnet18(weights=None)
        self.layers.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        self.layers.maxpool = nn.Identity()
        # In the classifier's place: the head is a module of its own.
        self.layers.fc = nn.BatchNorm1d(self.dim)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features, N x 512, of images, N x C x H x W."""
        # The layout in which convolutions are fastest.
        return self.layers(images.contiguous(memory_format=torch.channels_last))


def build(config: Mapping[str, Any], image_shape: tuple[int, int, int]) -> ResNet18:
    """Build the backbone for images of C x H x W; its config has no further keys."""
    return ResNet18(image_shape[0])
