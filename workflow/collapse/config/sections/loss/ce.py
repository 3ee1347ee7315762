"""Cross-entropy as a config's section ``loss``."""

from typing import ClassVar, Literal

from pydantic import Field

from collapse.config.section import Section as Base


class Section(Base):
    """Mean cross-entropy of labels, or of soft ones, under the softmax of the outputs."""

    label: ClassVar[str] = "CE"
    real_targets: ClassVar[bool] = False

    kind: Literal["ce"] = Field(description="Cross-entropy.")
