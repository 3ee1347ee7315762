"""A fully connected network as a config's section ``model``."""

import math
from itertools import pairwise
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from collapse.config.bases import ModelKind
from collapse.config.costs import Size, dense, norm
from collapse.config.section import Extent, fault


class Section(ModelKind):
    """Fully connected network with ReLU."""

    ensemble: ClassVar = True

    kind: Literal["mlp"] = Field(description="Fully connected network.")
    hidden: list[Extent] = Field(min_length=1, description="Widths of the hidden layers.")
    normalisation: Literal["batch", "batch_before", "none"] = Field(
        "batch",
        description="`batch` puts BatchNorm after each ReLU and on the features, `batch_before` "
        "before each ReLU.",
    )
    ending: Literal["signed", "relu", "linear"] = Field(
        "signed",
        description="`signed` gives the features both signs by BatchNorm, or where that does not "
        "follow the ReLUs by one more linear layer; `relu` takes the last ReLU's values as "
        "features, `linear` the last linear layer's (neither with BatchNorm after ReLUs).",
    )

    init: Literal["uniform", "kaiming"] = Field(
        "uniform",
        description="Start of the layers: PyTorch's `uniform`, or `kaiming`, normal of variance "
        "2/inputs without biases, for many layers without normalisation.",
    )

    @property
    def label(self) -> str:
        """The network in a figure."""
        layers = "-".join(map(str, self.hidden))
        if len(set(self.hidden)) == 1:
            layers = f"{len(self.hidden)}x{self.hidden[0]}"
        order = ", BatchNorm before ReLU" if self.normalisation == "batch_before" else ""
        return f"MLP {layers}{order}"

    @property
    def dim(self) -> int:
        """Feature dimension d."""
        return self.hidden[-1]

    def size(self, image_shape: tuple[int, int, int]) -> Size:
        """Return what a pass over one image of C x H x W takes."""
        widths = [math.prod(image_shape), *self.hidden]
        layers = [dense(*pair) for pair in pairwise(widths)]
        if self.normalisation != "none":
            layers += [norm(width) for width in self.hidden]
        if self.ending == "signed":
            last = self.hidden[-1]
            layers.append(norm(last) if self.normalisation == "batch" else dense(last, last))
        return sum(layers, Size())

    @property
    def layerwise(self) -> bool:
        """Whether the features of each hidden layer are what the next one gets."""
        return self.ending == "relu"

    @model_validator(mode="after")
    def _consistent(self) -> "Section":
        if self.normalisation == "batch" and self.ending != "signed":
            raise fault("ending", f"{self.ending} found, with BatchNorm allowed is signed")
        if (
            self.normalisation == "batch_before"
            and self.ending == "linear"
            and len(self.hidden) < 2
        ):
            raise fault("hidden", f"{self.hidden} found: no ReLU that BatchNorm could precede")
        return self
