"""Adam as a config's section ``training.optimiser``."""

from typing import ClassVar, Literal

from pydantic import Field

from collapse.config.bases import UpdateRuleKind


class Section(UpdateRuleKind):
    """Adam with betas 0.9 and 0.999 and epsilon 1e-8; it knows no ``training.momentum``."""

    label: ClassVar = "Adam"

    kind: Literal["adam"] = Field(description="Adam.")
