"""A wide residual network as a config's section ``model``."""

from typing import Literal

from pydantic import Field, model_validator

from collapse.config.bases import ModelKind
from collapse.config.costs import Size, convolution, norm
from collapse.config.section import Depth, Extent, fault


class Section(ModelKind):
    """Wide residual network for small images (Zagoruyko & Komodakis 2016)."""

    kind: Literal["wideresnet"] = Field(description="Wide residual network.")
    depth: Depth = Field(description="Convolutions in a row, 6 n + 4: n blocks in each group.")
    width: Extent = Field(description="Factor k of the groups' channels 16 k, 32 k and 64 k.")

    @model_validator(mode="after")
    def _whole_blocks(self) -> "Section":
        if self.depth < 10 or self.depth % 6 != 4:
            raise fault("depth", f"{self.depth} found, allowed are 10, 16, 22, ...: 6 n + 4")
        return self

    @property
    def label(self) -> str:
        """The network in a figure."""
        return f"WRN-{self.depth}-{self.width}"

    @property
    def dim(self) -> int:
        """Feature dimension d."""
        return 64 * self.width

    def size(self, image_shape: tuple[int, int, int]) -> Size:
        """Return what a pass over one image of C x H x W takes."""
        channels, height, width = image_shape
        inputs = 16
        size = convolution(channels, inputs, 3, height * width)
        for group in range(3):
            outputs = 16 * self.width * 2**group
            for block in range((self.depth - 4) // 6):
                before = height * width
                if group and not block:
                    height, width = -(-height // 2), -(-width // 2)
                pixels = height * width
                size += norm(inputs, before) + convolution(inputs, outputs, 3, pixels)
                size += norm(outputs, pixels) + convolution(outputs, outputs, 3, pixels)
                if inputs != outputs or before != pixels:
                    size += convolution(inputs, outputs, 1, pixels)
                inputs = outputs
        return size + norm(inputs, height * width)
