"""The squared error against signs as a config's section ``loss``."""

from typing import ClassVar, Literal

from pydantic import Field

from collapse.config.bases import LossKind


class Section(LossKind):
    """Squared error 1/(2N) ||Z - (2Y - 1)||^2 of labels: targets 1 and -1 in place of 1 and 0."""

    label: ClassVar = "MSE on signs"

    kind: Literal["mse_signs"] = Field(description="Squared error, targets 1 and -1.")
