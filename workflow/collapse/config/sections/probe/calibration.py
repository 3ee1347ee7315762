"""The calibration of a classifier on held-out samples."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from collapse.config.bases import ProbeKind
from collapse.config.section import Extent
from collapse.config.section import Section as Base
from collapse.data.catalogue import DataSet


class Section(ProbeKind):
    """Expected calibration error and confidence at the last step; points: reliability by bin."""

    of_networks: ClassVar = True

    kind: Literal["calibration"] = Field(description="Probe.")
    bins: Extent = Field(15, description="Bins of confidence, of equal width from 0 to 1.")

    def misfits(self, experiment: Base, data_set: DataSet) -> Iterator[tuple[str, str]]:
        """Yield real targets, of which there is no confidence."""
        if data_set.regression:
            yield "kind", f"calibration found, {data_set.title} has no labels"
