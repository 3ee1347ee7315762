"""Cross-entropy as a config's section ``loss``."""

from typing import Literal

from pydantic import Field

from collapse.config.bases import LossKind


class Section(LossKind):
    """Mean cross-entropy of labels, or of soft ones, under the softmax of the outputs."""

    kind: Literal["ce"] = Field(description="Cross-entropy.")
