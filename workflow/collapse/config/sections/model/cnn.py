"""A small convolutional network as a config's section ``model``."""

from typing import Literal

from pydantic import Field

from collapse.config.bases import ModelKind
from collapse.config.costs import Size, convolution, norm
from collapse.config.section import Extent


class Section(ModelKind):
    """A small convolutional network, for scales without a GPU."""

    kind: Literal["cnn"] = Field(description="Small convolutional network.")
    channels: list[Extent] = Field(
        min_length=1, description="Channels of the 3x3 convolutions; each halves the image."
    )
    feature_normalisation: Literal["batch", "none"] = Field(
        "batch",
        description="`batch` puts BatchNorm on the features; `none` leaves them averages of ReLUs.",
    )

    @property
    def label(self) -> str:
        """The network in a figure."""
        return "CNN " + "-".join(map(str, self.channels))

    @property
    def dim(self) -> int:
        """Feature dimension d."""
        return self.channels[-1]

    def size(self, image_shape: tuple[int, int, int]) -> Size:
        """Return what a pass over one image of C x H x W takes."""
        inputs, height, width = image_shape
        size = Size()
        for outputs in self.channels:
            size += convolution(inputs, outputs, 3, height * width)
            # Rounded up: an image of one pixel stays one.
            height, width = -(-height // 2), -(-width // 2)
            size += norm(outputs, height * width)
            inputs = outputs
        return size + norm(inputs) if self.feature_normalisation == "batch" else size
