"""How sparse the features are."""

from typing import Literal

from collapse.config.section import Section as Base


class Section(Base):
    """Share of zeros, and the first two features of every sample."""

    kind: Literal["relu_toy"]
