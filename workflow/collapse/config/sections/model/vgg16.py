"""VGG16 as a config's section ``model``."""

from typing import Literal

from pydantic import Field

from collapse.config.bases import ModelKind
from collapse.config.costs import Size, convolution, norm

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and convolutions of each; each halves the image."""


class Section(ModelKind):
    """VGG16 with BatchNorm, for small images; the average of the image are its features."""

    kind: Literal["vgg16"] = Field(description="VGG16.")
    feature_normalisation: Literal["batch", "none"] = Field(
        "batch",
        description="`batch` puts BatchNorm on the features; `none` leaves them averages of ReLUs.",
    )

    @property
    def dim(self) -> int:
        """Feature dimension d."""
        return STAGES[-1][0]

    @property
    def label(self) -> str:
        """The network in a figure."""
        return "VGG16"

    def misfit(self, image_shape: tuple[int, int, int]) -> tuple[str, str] | None:
        """Return what is wrong for images of C x H x W: nothing would be left of small ones."""
        _, height, width = image_shape
        least = 2 ** len(STAGES)
        if min(height, width) < least:
            found = f"images of {height}x{width} found"
            return "kind", f"{found}, needed are {least}x{least}: data.size pads or scales them"
        return None

    def size(self, image_shape: tuple[int, int, int]) -> Size:
        """Return what a pass over one image of C x H x W takes."""
        inputs, height, width = image_shape
        size = Size()
        for channels, convolutions in STAGES:
            for _ in range(convolutions):
                # With a bias, which BatchNorm then takes away.
                size += convolution(inputs, channels, 3, height * width) + Size(channels)
                size += norm(channels, height * width)
                inputs = channels
            height, width = height // 2, width // 2
        return size + norm(inputs) if self.feature_normalisation == "batch" else size
