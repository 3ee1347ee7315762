"""The squared error as a config's section ``loss``."""

from typing import ClassVar, Literal

from pydantic import Field

from collapse.config.section import Section as Base


class Section(Base):
    """Squared error 1/(2N) ||Z - Y||^2, summed over outputs; of labels against one-hot targets."""

    label: ClassVar[str] = "MSE"
    real_targets: ClassVar[bool] = True

    kind: Literal["mse"] = Field(description="Squared error.")
