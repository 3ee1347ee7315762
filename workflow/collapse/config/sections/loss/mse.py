"""The squared error as a config's section ``loss``."""

from typing import ClassVar, Literal

from pydantic import Field

from collapse.config.bases import LossKind


class Section(LossKind):
    """Squared error 1/(2N) ||Z - Y||^2, summed over outputs; of labels against one-hot targets."""

    real_targets: ClassVar = True

    kind: Literal["mse"] = Field(description="Squared error.")
