"""A problem's features beside those of a network's layers."""

from typing import Literal

from pydantic import Field

from collapse.config.reference import FeaturesReference
from collapse.config.section import Section as Base


class Section(Base):
    """How near the features of a problem are to those of each layer of a trained network."""

    kind: Literal["layer_similarity"] = Field(description="Probe.")
    of: FeaturesReference = Field(description="The network's run.")
