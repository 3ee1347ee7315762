"""ResNet18 as a config's section ``model``."""

from typing import Literal

from pydantic import Field

from collapse.config.bases import ModelKind
from collapse.config.costs import Size, convolution, norm


class Section(ModelKind):
    """ResNet18, for small images or as torchvision has it."""

    kind: Literal["resnet18"] = Field(description="ResNet18.")
    stem: Literal["cifar", "imagenet"] = Field(
        "cifar",
        description="First layers: `cifar` a 3x3 convolution of stride 1; `imagenet` torchvision's "
        "7x7 convolution and max-pooling, each of stride 2.",
    )
    feature_normalisation: Literal["batch", "none"] = Field(
        "batch",
        description="`batch` puts BatchNorm on the features; `none` leaves them averages of ReLUs.",
    )

    @property
    def dim(self) -> int:
        """Feature dimension d."""
        return 512

    @property
    def label(self) -> str:
        """The network in a figure."""
        return "ResNet18 (ImageNet stem)" if self.stem == "imagenet" else "ResNet18"

    def size(self, image_shape: tuple[int, int, int]) -> Size:
        """Return what a pass over one image of C x H x W takes."""
        channels, height, width = image_shape
        kernel = 3
        if self.stem == "imagenet":
            kernel, height, width = 7, -(-height // 2), -(-width // 2)
        size = _normed(channels, 64, kernel, height * width)
        if self.stem == "imagenet":
            height, width = -(-height // 2), -(-width // 2)
        inputs = 64
        for group in range(4):
            outputs = 64 * 2**group
            if group:
                height, width = -(-height // 2), -(-width // 2)
                # The shortcut of the first block, where the shape changes.
                size += _normed(inputs, outputs, 1, height * width)
            size += _normed(inputs, outputs, 3, height * width)
            size += _normed(outputs, outputs, 3, height * width).times(3)
            inputs = outputs
        return size + norm(512) if self.feature_normalisation == "batch" else size


def _normed(inputs: int, outputs: int, kernel: int, pixels: int) -> Size:
    return convolution(inputs, outputs, kernel, pixels) + norm(outputs, pixels)
