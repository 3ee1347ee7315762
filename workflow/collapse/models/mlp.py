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
        ``batch``: BatchNorm after each ReLU. ``batch_before``: before each. ``none``: nothing.
    ending
        ``signed``: after the last ReLU, BatchNorm, or without normalisation one more linear layer,
        gives the features both signs; after a ReLU they would miss the simplex ETF. ``relu``: the
        features are the last ReLU's values. ``linear``: they are the last linear layer's. The last
        two without BatchNorm after ReLUs only.
    init
        ``uniform``: PyTorch's default. ``kaiming``: weights N(0, 2/inputs) of each layer and no
        biases (He et al. 2015), with which signals keep their size through many ReLUs.
    """

    def __init__(
        self, inputs: int, hidden: Sequence[int], normalisation: str, ending: str, init: str
    ) -> None:
        super().__init__()
        self.dim = hidden[-1]
        layers: list[nn.Module] = [nn.Flatten()]
        for width in hidden:
            layers.append(nn.Linear(inputs, width))
            if normalisation == "batch_before":
                layers.append(nn.BatchNorm1d(width))
            layers.append(nn.ReLU(inplace=True))
            if normalisation == "batch":
                layers.append(nn.BatchNorm1d(width))
            inputs = width
        if ending == "linear":
            # What comes behind the last linear layer belongs to the ReLU that is left out.
            del layers[-2 if normalisation == "batch_before" else -1 :]
        if ending == "signed":
            batch = normalisation == "batch"
            layers.append(nn.BatchNorm1d(self.dim) if batch else nn.Linear(self.dim, self.dim))
        self.layers = nn.Sequential(*layers)
        if init == "kaiming":
            for layer in self.layers:
                if isinstance(layer, nn.Linear):
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                    nn.init.zeros_(layer.bias)

    @property
    def hidden(self) -> list[nn.Module]:
        """The modules whose values the next hidden layer gets: each ReLU, or its BatchNorm."""
        pairs = zip(self.layers, [*self.layers[1:], None], strict=True)
        return [
            after if isinstance(after, nn.BatchNorm1d) else layer
            for layer, after in pairs
            if isinstance(layer, nn.ReLU)
        ]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features, N x d, of images, N x C x H x W."""
        return self.layers(images)


def build(config: Mapping[str, Any], image_shape: tuple[int, int, int]) -> MLP:
    """Build the backbone from its section's keys for C x H x W images."""
    keys = ("hidden", "normalisation", "ending", "init")
    return MLP(math.prod(image_shape), *(config[key] for key in keys))


def layers(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the sections of backbones of one hidden layer each, in their order."""
    return [{**config, "hidden": [width]} for width in config["hidden"]]
