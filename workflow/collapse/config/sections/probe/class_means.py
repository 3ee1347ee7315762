"""Free features by class, without a classifier."""

from typing import Literal

from pydantic import Field

from collapse.config.bases import LabelProbe


class Section(LabelProbe):
    """Collapse of the features, and the traces of their covariances."""

    kind: Literal["class_means"] = Field(description="Probe.")
