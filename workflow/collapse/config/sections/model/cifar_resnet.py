"""The residual networks of CIFAR as a config's section ``model``."""

from typing import Literal

from pydantic import Field, model_validator

from collapse.config.bases import ModelKind
from collapse.config.costs import Size, convolution, norm
from collapse.config.section import Depth, fault


class Section(ModelKind):
    """Residual network for small images (He et al. 2016, Sec. 4.2), such as ResNet20."""

    kind: Literal["cifar_resnet"] = Field(description="Residual network of CIFAR.")
    depth: Depth = Field(20, description="Layers with weights, 6 n + 2: n blocks in each group.")

    @model_validator(mode="after")
    def _whole_blocks(self) -> "Section":
        if self.depth < 8 or self.depth % 6 != 2:
            raise fault("depth", f"{self.depth} found, allowed are 8, 14, 20, ...: 6 n + 2")
        return self

    @property
    def label(self) -> str:
        """The network in a figure."""
        return f"ResNet{self.depth}"

    @property
    def dim(self) -> int:
        """Feature dimension d."""
        return 64

    def size(self, image_shape: tuple[int, int, int]) -> Size:
        """Return what a pass over one image of C x H x W takes."""
        inputs, height, width = image_shape
        size = convolution(inputs, 16, 3, height * width) + norm(16, height * width)
        inputs = 16
        for group in range(3):
            outputs = 16 * 2**group
            if group:
                height, width = -(-height // 2), -(-width // 2)
            pixels = height * width
            for _ in range((self.depth - 2) // 6):
                size += convolution(inputs, outputs, 3, pixels) + norm(outputs, pixels)
                size += convolution(outputs, outputs, 3, pixels) + norm(outputs, pixels)
                inputs = outputs
        return size
