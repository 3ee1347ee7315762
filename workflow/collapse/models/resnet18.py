"""ResNet18 (He et al. 2016), for small images or as torchvision has it."""

from collections.abc import Mapping
from typing import Any

import torch
import torchvision
from torch import nn


class ResNet18(nn.Module):
    """ResNet18 whose features are the averages over the image of its last ReLU, 512 of them.

    It starts as torchvision's does: convolutions normal with variance 2/(fan out), BatchNorm at 1
    and 0; the stem ``cifar`` as PyTorch starts any convolution.

    Parameters
    ----------
    channels
        Of an image.
    stem
        ``cifar``: a 3x3 convolution of stride 1 and no pooling after it, as Dang et al. 2023.
        ``imagenet``: torchvision's 7x7 convolution of stride 2 and 3x3 max-pooling of stride 2, as
        the code of Zhu et al. 2021.
    feature_normalisation
        ``batch``: BatchNorm on the features, as Dang et al. 2023, which gives them both signs.
        ``none``: nothing.
    """

    dim = 512

    def __init__(self, channels: int, stem: str, feature_normalisation: str) -> None:
        super().__init__()
        self.layers = torchvision.models.resnet18(weights=None)
        if stem == "cifar":
            self.layers.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
            self.layers.maxpool = nn.Identity()
        else:
            # As torchvision makes its own, of 3 channels.
            self.layers.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(self.layers.conv1.weight, mode="fan_out", nonlinearity="relu")
        # In the classifier's place: the head is a module of its own.
        batch = feature_normalisation == "batch"
        self.layers.fc = nn.BatchNorm1d(self.dim) if batch else nn.Identity()

    @property
    def hidden(self) -> list[nn.Module]:
        """The four groups of blocks."""
        return [getattr(self.layers, f"layer{number}") for number in range(1, 5)]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features, N x 512, of images, N x C x H x W."""
        # The layout in which convolutions are fastest.
        return self.layers(images.contiguous(memory_format=torch.channels_last))


def build(config: Mapping[str, Any], image_shape: tuple[int, int, int]) -> ResNet18:
    """Build it from ``stem`` and ``feature_normalisation`` for images of C x H x W."""
    return ResNet18(image_shape[0], config["stem"], config["feature_normalisation"])
