"""ResNet18 as a config's section ``model``."""

from typing import ClassVar, Literal

from pydantic import Field

from collapse.config.section import Section as Base


class Section(Base):
    """ResNet18 with the CIFAR stem (3x3, stride 1, no pooling) and BatchNorm on the features."""

    ensemble: ClassVar[bool] = False
    label: ClassVar[str] = "ResNet18"
    # The section does not say it: closed forms take no width of such a run.
    width: ClassVar[int | None] = None

    kind: Literal["resnet18"] = Field(description="ResNet18.")
