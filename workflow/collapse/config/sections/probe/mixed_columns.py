"""The free features of mixed samples."""

from typing import ClassVar, Literal

from pydantic import Field

from collapse.config.bases import ProbeKind


class Section(ProbeKind):
    """The classifier's distance from a simplex ETF, and points: logits of every mixed feature."""

    of_problems: ClassVar = True

    kind: Literal["mixed_columns"] = Field(description="Probe.")
