"""Vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929), with torchvision's encoder."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torchvision.models.vision_transformer import VisionTransformer


class ViT(nn.Module):
    """Patches of an image and a class token through torchvision's encoder; no dropout.

    The features are the class token after the last LayerNorm. It starts as torchvision's does.

    Parameters
    ----------
    image_shape
        C, H and W of an image, H = W a multiple of `patch`.
    patch
        Side of a patch, in pixels.
    layers, heads
        Of the encoder.
    dim
        Numbers in a token, a multiple of `heads`: the feature dimension d.
    mlp_width
        Of the hidden layer of each block's MLP.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        patch: int,
        layers: int,
        heads: int,
        dim: int,
        mlp_width: int,
    ) -> None:
        super().__init__()
        self.dim = dim
        channels, side, _ = image_shape
        self.layers = VisionTransformer(side, patch, layers, heads, dim, mlp_width)
        # In the classifier's place: the head is a module of its own.
        self.layers.heads = nn.Identity()
        if channels != 3:
            inputs = channels * patch**2
            self.layers.conv_proj = nn.Conv2d(channels, dim, patch, stride=patch)
            # As torchvision starts its own, of 3 channels.
            nn.init.trunc_normal_(self.layers.conv_proj.weight, std=inputs**-0.5)
            nn.init.zeros_(self.layers.conv_proj.bias)

    @property
    def hidden(self) -> list[nn.Module]:
        """The layers of the encoder."""
        return list(self.layers.encoder.layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features, N x d, of images, N x C x H x W."""
        # The faster kernels add the gradients of a GPU in another order each time.
        with sdpa_kernel(SDPBackend.MATH):
            return self.layers(images)


def build(config: Mapping[str, Any], image_shape: tuple[int, int, int]) -> ViT:
    """Build it from its section's keys for images of C x H x W."""
    keys = ("patch", "layers", "heads", "width", "mlp_width")
    return ViT(image_shape, *(config[key] for key in keys))
