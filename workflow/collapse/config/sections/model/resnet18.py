"""ResNet18 as a config's section ``model``."""

from typing import Literal

from pydantic import Field

from collapse.config.bases import ModelKind


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
