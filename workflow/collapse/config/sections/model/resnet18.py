"""ResNet18 as a config's section ``model``."""

from typing import ClassVar, Literal

from pydantic import Field

from collapse.config.bases import ModelKind


class Section(ModelKind):
    """ResNet18 with the CIFAR stem (3x3, stride 1, no pooling) and BatchNorm on the features."""

    label: ClassVar = "ResNet18"

    kind: Literal["resnet18"] = Field(description="ResNet18.")
