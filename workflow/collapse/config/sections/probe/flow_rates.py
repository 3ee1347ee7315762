"""What the rates along the central-path flow are made of."""

from typing import ClassVar, Literal

from pydantic import Field

from collapse.config.bases import ProbeKind


class Section(ProbeKind):
    """The within-class logits and the growth of the class means at the best classifier."""

    of_problems: ClassVar = True

    kind: Literal["flow_rates"] = Field(description="Probe.")
