"""Features of a regression and the rows of its W as points in space."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from collapse.config.bases import ProbeKind
from collapse.config.section import Section as Base
from collapse.data.catalogue import DataSet


class Section(ProbeKind):
    """Points: up to 250 features and the rows of W in three directions, first and last step."""

    kind: Literal["feature_space"] = Field(description="Probe.")

    def misfits(self, experiment: Base, data_set: DataSet) -> Iterator[tuple[str, str]]:
        """Yield that the data have labels, if that is so."""
        if not data_set.regression:
            yield "kind", f"feature_space found, {data_set.title} has labels, no real targets"
