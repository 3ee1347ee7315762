"""Gradient descent as a config's section ``training.optimiser``."""

from typing import ClassVar, Literal

from pydantic import Field

from collapse.config.bases import UpdateRuleKind


class Section(UpdateRuleKind):
    """Gradient descent with the heavy-ball momentum ``training.momentum``."""

    label: ClassVar = "SGD"

    kind: Literal["sgd"] = Field(description="Gradient descent with momentum.")
