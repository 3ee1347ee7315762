"""VGG16 with BatchNorm (Simonyan & Zisserman 2015, configuration D), for small images."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torchvision.models.vgg import cfgs, make_layers


class VGG16(nn.Module):
    """The 13 convolutions of VGG16, BatchNorm and ReLU after each, and the average of the image.

    Its five stages end in max-pooling, which halves the image: that needs 32 pixels a side. The
    last stage has 512 channels, the features. Everything starts as PyTorch starts it.

    Parameters
    ----------
    channels
        Of an image.
    feature_normalisation
        ``batch``: BatchNorm on the features, as Dang et al. 2023, which gives them both signs.
        ``none``: nothing.
    """

    dim = 512

    def __init__(self, channels: int, feature_normalisation: str) -> None:
        super().__init__()
        layers = make_layers(cfgs["D"], batch_norm=True)
        # torchvision's is for 3 channels.
        layers[0] = nn.Conv2d(channels, 64, 3, padding=1)
        ends = [n for n, layer in enumerate(layers, 1) if isinstance(layer, nn.MaxPool2d)]
        starts = [0, *ends[:-1]]
        self.stages = nn.Sequential(*(layers[a:b] for a, b in zip(starts, ends, strict=True)))
        batch = feature_normalisation == "batch"
        self.norm = nn.BatchNorm1d(self.dim) if batch else nn.Identity()

    @property
    def hidden(self) -> list[nn.Module]:
        """The five stages."""
        return list(self.stages)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features, N x 512, of images, N x C x H x W."""
        # The layout in which convolutions are fastest.
        images = images.contiguous(memory_format=torch.channels_last)
        return self.norm(self.stages(images).mean((2, 3)))


def build(config: Mapping[str, Any], image_shape: tuple[int, int, int]) -> VGG16:
    """Build it from ``feature_normalisation`` for images of C x H x W."""
    return VGG16(image_shape[0], config["feature_normalisation"])
