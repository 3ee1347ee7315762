"""Whether a network's weights are as its average gradient outer products (AGOPs)."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from collapse.config.bases import ProbeKind
from collapse.config.section import Section as Base
from collapse.config.sections.probe.layer_factors import of_chains
from collapse.data.catalogue import DataSet


class Section(ProbeKind):
    """Correlation of W^T W of each hidden layer with the AGOP of the network by its input."""

    of_networks: ClassVar = True

    kind: Literal["nfa"] = Field(description="Probe.")

    def passes(self, samples: int, records: int) -> int:
        """Return a backward pass for each of about ten outputs, which is two passes forward."""
        return 20 * samples * records

    def misfits(self, experiment: Base, data_set: DataSet) -> Iterator[tuple[str, str]]:
        """Yield real targets, and models whose layers have more than a weight."""
        return of_chains(self.kind, experiment, data_set)
