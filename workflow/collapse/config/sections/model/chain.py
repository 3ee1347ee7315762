"""A fully connected network with a scale of its start as a config's section ``model``."""

import math
from itertools import pairwise
from typing import ClassVar, Literal

from pydantic import Field

from collapse.config.bases import ModelKind
from collapse.config.costs import Size
from collapse.config.section import Extent, Positive


class Section(ModelKind):
    """Fully connected network with ReLU, without biases; the last ReLU's values are features."""

    ensemble: ClassVar = True
    # Its layers are a weight and a ReLU each.
    bare: ClassVar = True

    kind: Literal["chain"] = Field(
        description="Chain of weights and ReLUs without biases, started at a scale of choice."
    )
    hidden: list[Extent] = Field(
        min_length=1, description="Widths of the hidden layers, each a weight and a ReLU."
    )
    gain: Positive = Field(
        description="Scale of the start: weights are uniform in +-gain sqrt(6/(inputs + outputs)), "
        "as Xavier's with gain 1."
    )

    @property
    def label(self) -> str:
        """The network in a figure."""
        layers = "-".join(map(str, self.hidden))
        if len(set(self.hidden)) == 1:
            layers = f"{len(self.hidden)}x{self.hidden[0]}"
        return f"MLP {layers} without biases"

    @property
    def dim(self) -> int:
        """Feature dimension d."""
        return self.hidden[-1]

    def size(self, image_shape: tuple[int, int, int]) -> Size:
        """Return what a pass over one image of C x H x W takes."""
        pairs = pairwise([math.prod(image_shape), *self.hidden])
        weights = [(inputs * outputs, outputs) for inputs, outputs in pairs]
        return sum((Size(each, each, outputs) for each, outputs in weights), Size())
