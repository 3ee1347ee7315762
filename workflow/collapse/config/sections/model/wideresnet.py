"""A wide residual network as a config's section ``model``."""

from typing import Literal

from pydantic import Field, model_validator

from collapse.config.bases import ModelKind
from collapse.config.section import Count, fault


class Section(ModelKind):
    """Wide residual network for small images (Zagoruyko & Komodakis 2016)."""

    kind: Literal["wideresnet"] = Field(description="Wide residual network.")
    depth: Count = Field(description="Convolutions in a row, 6 n + 4: n blocks in each group.")
    width: Count = Field(description="Factor k of the groups' channels 16 k, 32 k and 64 k.")

    @model_validator(mode="after")
    def _whole_blocks(self) -> "Section":
        if self.depth < 10 or self.depth % 6 != 4:
            raise fault("depth", f"{self.depth} found, allowed are 10, 16, 22, ...: 6 n + 4")
        return self

    @property
    def label(self) -> str:
        """The network in a figure."""
        return f"WRN-{self.depth}-{self.width}"

    @property
    def dim(self) -> int:
        """Feature dimension d."""
        return 64 * self.width
