"""Mixed samples of three classes of a network as points in a plane."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from collapse.config.bases import MixedProbe
from collapse.config.section import Extent, Seed
from collapse.config.section import Section as Base
from collapse.data.catalogue import DataSet


def _distinct(labels: list[int]) -> list[int]:
    if len(set(labels)) < len(labels):
        raise ValueError("allowed are three different classes")
    return labels


class Section(MixedProbe):
    """Features of mixed samples of three classes in the plane of their classifier.

    Of the last state in every view and layer, of those before in the first view of the last layer.
    """

    kind: Literal["mixed_points"] = Field(description="Probe.")
    classes: (
        Annotated[list[Seed], Field(min_length=3, max_length=3), AfterValidator(_distinct)] | None
    ) = Field(None, description="Labels of the three classes, from 0; null takes three at random.")
    batches: Extent = Field(
        48, description="Batches, each of one lambda, evenly spread over [0, 1]."
    )
    batch_size: Annotated[Extent, Field(ge=3)] = Field(128, description="Pairs in a batch.")

    def passes(self, samples: int, records: int) -> int:
        """Return those of the first view at every state, and of the others at the last."""
        return self.batches * self.batch_size * (records + len(self.views) - 1)

    def misfits(self, experiment: Base, data_set: DataSet) -> Iterator[tuple[str, str]]:
        """Yield what does not fit, a class that the data set does not have among it."""
        yield from super().misfits(experiment, data_set)
        names = data_set.classes
        for label in self.classes or ():
            if names and label >= len(names):
                last = len(names) - 1
                allowed = f"allowed are 0 ({names[0]}) to {last} ({names[-1]})"
                yield "classes", f"no class {label} in {data_set.title}, {allowed}"
