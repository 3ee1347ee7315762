"""Mixed samples of a network from one class to the other."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from collapse.config.bases import MixedProbe
from collapse.config.section import Extent, fault


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("allowed is an odd number, of which 1/2 is in the middle")
    return value


class Section(MixedProbe):
    """Logits of mixed samples against lambda, by pairs of classes: amplification and convexity."""

    kind: Literal["mixed_curves"] = Field(description="Probe.")
    pairs: Extent = Field(45, description="Pairs of classes, at random where there are more.")
    samples: Extent = Field(20, description="Pairs of samples of each pair of classes.")
    # R^2 is about how features vary between the ends: one lambda there says nothing of it.
    mixes: Annotated[Extent, Field(ge=5), AfterValidator(_odd)] = Field(
        11, description="Values of lambda, evenly spaced from 0 to 1; odd, at least 5."
    )

    def passes(self, samples: int, records: int) -> int:
        """Return those of the first view at every state, and of the others at the last."""
        return self.pairs * self.samples * self.mixes * (records + len(self.views) - 1)

    @model_validator(mode="after")
    def _other_classes(self) -> "Section":
        # The logits of a hidden layer are those of the classes that its pairs are of.
        if self.layers == "all" and self.pairs < 2:
            message = "1 found, allowed with all layers are 2 or more: one has no other class"
            raise fault("pairs", message)
        return self
