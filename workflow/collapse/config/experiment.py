"""What every experiment has, whatever its procedure, and what planning asks of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import Field

from collapse.config.section import Count, Section, Seed
from collapse.data.catalogue import DataSet

VERBS = ("solve", "train", "compute")
"""What a job that computes states is called; a procedure chooses one."""


@dataclass(frozen=True)
class Resources:
    """What a job asks for: cores, GPUs, memory in MB, time in minutes; and what is expected of it.

    Attributes
    ----------
    minutes
        The limit, well above what is expected.
    seconds
        Expected, on these cores or this GPU.
    disk
        Expected size of the files that it leaves, in MB.
    """

    cores: int = 1
    gpus: int = 0
    memory: int = 4000
    minutes: int = 240
    seconds: float = 0.0
    disk: float = 0.0


class Experiment(Section):
    """Base of the procedures' sections.

    Attributes
    ----------
    signature
        The key by which a block without ``procedure`` is recognised as one of this procedure.
    verb
        What its jobs that compute are called, one of `VERBS`.
    measured_by_group
        Whether each group is measured by a job of its own and a table joins them; else one job
        measures the whole experiment.
    seeds_in_folder
        Whether the folder of a group says which seeds it holds.
    compute_only
        Keys that say how states are looked for: neither measuring nor theory reads them.
    measure_only
        Keys that only measuring reads: a change to them computes nothing again.
    """

    signature: ClassVar[str | None] = None
    verb: ClassVar[str] = "compute"
    measured_by_group: ClassVar[bool] = True
    seeds_in_folder: ClassVar[bool] = True
    compute_only: ClassVar[frozenset[str]] = frozenset()
    measure_only: ClassVar[frozenset[str]] = frozenset()

    grid: dict[str, list] = Field(
        default_factory=dict, description="Lists of values at dotted paths of this experiment."
    )
    seeds: Count = Field(description="Number of seeds, from `first_seed` on.")
    first_seed: Seed = Field(
        0,
        description="Its first seed, counted from the `first_seed` of all: another than 0 where "
        "settings were chosen on the first ones, which then decide no claim.",
    )

    @property
    def batched(self) -> frozenset[str] | None:
        """Paths whose values may differ inside one job; None if each run is a job of its own."""
        return None

    @property
    def data_set(self) -> str | None:
        """The name of the data set that its jobs read, if they read one."""
        data = getattr(self, "data", None)
        return None if data is None else data.name

    @property
    def clock(self) -> str:
        """What a step of its tables is; a metric of that name is drawn against in its place."""
        return "step"

    def length(self) -> tuple[int, str] | None:
        """Return how many steps a run takes, and their name; None where that says nothing."""
        return None

    @property
    def ways(self) -> dict[str, Any]:
        """What a job that computes is told of how, beside the config."""
        return {}

    def resources(self, runs: Sequence[Self], data_set: DataSet | None) -> Resources:
        """Return what a job that computes these runs asks for, of which this is the first."""
        return Resources()

    def measure_resources(self, runs: Sequence[Self], data_set: DataSet | None) -> Resources:
        """Return what a job that measures these runs asks for, of which this is the first."""
        return Resources(minutes=60)

    def probes_for(self, data_set: DataSet | None) -> list[str]:
        """Return the kinds of probes that measure its states, beside those that it names."""
        return []

    def stages(self) -> list[tuple[int | None, dict[str, Any]]]:
        """Return the steps at which its config changes, with the changes; None for every step."""
        return [(None, {})]

    def facts(self) -> dict[str, Any]:
        """Return what theory may ask of it that its config does not say."""
        return {}

    def labels(self, data_set: DataSet | None) -> dict[str, Any]:
        """Return how figures name its parts."""
        return {}

    def misfits(self, data_set: DataSet) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield what does not fit the data set, known before it is fetched: the key, and why."""
        return iter(())
