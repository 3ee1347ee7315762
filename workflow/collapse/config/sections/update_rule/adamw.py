"""AdamW as a config's section ``training.optimiser``."""

from typing import ClassVar, Literal

from pydantic import Field

from collapse.config.bases import UpdateRuleKind
from collapse.config.section import NonNegative


class Section(UpdateRuleKind):
    """Adam with decoupled decay, betas 0.9 and 0.999 and epsilon 1e-8; no ``training.momentum``."""

    label: ClassVar = "AdamW"

    kind: Literal["adamw"] = Field(description="AdamW.")
    decay: NonNegative = Field(
        0.01,
        description="By decay times the learning rate each step shrinks all parameters, beside "
        "what the gradient does to them.",
    )
