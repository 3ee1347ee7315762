"""A backbone and a linear head as one network."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from torch import nn

from collapse.models import head
from collapse.models.head import LinearHead


class Network(nn.Module):
    """A network that also returns the features its head works on.

    The backbone maps normalised images, N x C x H x W, to features, N x d; the head maps features
    to outputs, N x K: logits, or the values of a regression.
    """

    def __init__(self, backbone: nn.Module, head: LinearHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the outputs Z, N x K, and the features H_1, N x d."""
        features = self.backbone(images)
        return self.head(features), features


def build(
    config: Mapping[str, Any], image_shape: tuple[int, int, int], outputs: int, seed: int
) -> Network:
    """Build a network on the CPU, initialised from `seed` alone.

    From the sections ``model`` and ``head`` of an experiment, for images C x H x W and K classes or
    n targets. The global random state is left as it was. Networks of one seed that differ only in
    their head start from the same backbone.
    """
    model = import_module(f"collapse.models.{config['model']['kind']}")
    with torch.random.fork_rng(devices=[]):
        # `torch.manual_seed` would seed the GPUs too.
        torch.default_generator.manual_seed(seed)
        # The backbone first: its numbers do not depend on the head's.
        backbone = model.build(config["model"], image_shape)
        network = Network(backbone, head.build(backbone.dim, outputs, **config["head"]))
    # Convolution weights in the layout of their inputs.
    return network.to(memory_format=torch.channels_last)
