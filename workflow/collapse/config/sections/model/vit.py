"""A vision transformer as a config's section ``model``."""

from typing import Literal

from pydantic import Field, model_validator

from collapse.config.bases import ModelKind
from collapse.config.costs import Size, dense, norm
from collapse.config.section import Count, Depth, Extent, fault


class Section(ModelKind):
    """Vision transformer on patches of small images (Dosovitskiy et al. 2021)."""

    kind: Literal["vit"] = Field(description="Vision transformer.")
    patch: Count = Field(4, description="Side of a patch in pixels; divides that of the images.")
    layers: Depth = Field(12, description="Layers of the encoder.")
    heads: Extent = Field(12, description="Attention heads; divide the width.")
    width: Extent = Field(768, description="Numbers in a token, the feature dimension d.")
    mlp_width: Extent = Field(3072, description="Width of each layer's MLP.")

    @model_validator(mode="after")
    def _whole_heads(self) -> "Section":
        if self.width % self.heads:
            message = f"{self.heads} found, allowed are divisors of width, {self.width}"
            raise fault("heads", message)
        return self

    @property
    def label(self) -> str:
        """The network in a figure."""
        return f"ViT {self.layers}x{self.width}"

    @property
    def dim(self) -> int:
        """Feature dimension d."""
        return self.width

    def misfit(self, image_shape: tuple[int, int, int]) -> tuple[str, str] | None:
        """Return what is wrong for images of C x H x W: patches tile squares."""
        _, height, width = image_shape
        if height != width or height % self.patch:
            size = f"{height}x{width}"
            return "patch", f"{self.patch} found, allowed are divisors of the images' side: {size}"
        return None

    def size(self, image_shape: tuple[int, int, int]) -> Size:
        """Return what a pass over one image of C x H x W takes."""
        channels, side, _ = image_shape
        patches = (side // self.patch) ** 2
        # With the class token.
        tokens, width = patches + 1, self.width
        size = dense(channels * self.patch**2, width, patches)
        # The class token and what marks places.
        size += Size(width + tokens * width) + norm(width, tokens)
        layer = norm(width, tokens).times(2)
        layer += dense(width, 3 * width, tokens) + dense(width, width, tokens)
        layer += dense(width, self.mlp_width, tokens) + dense(self.mlp_width, width, tokens)
        # Queries by keys, and what they weigh; each head keeps its table.
        layer += Size(0, 2 * tokens**2 * width, 2 * self.heads * tokens**2)
        return size + layer.times(self.layers)
