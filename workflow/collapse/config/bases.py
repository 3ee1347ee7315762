"""What planning asks of a kind: the bases of problems' and solvers' sections."""

from typing import ClassVar

from collapse.config.section import Section


class ProblemKind(Section):
    """Base of the sections of problems over free features.

    Attributes
    ----------
    penalties
        Which decays of the experiment the objective has: these are required, others refused.
    batched
        Keys of the section that may differ inside one job: they change no tensor's shape.
    sweeps
        Whether all its decays can be scaled together, as a `sweep` does.
    probes
        Kinds of probes that measure its states.
    """

    penalties: ClassVar[frozenset[str]] = frozenset()
    batched: ClassVar[frozenset[str]] = frozenset()
    sweeps: ClassVar[bool] = False
    probes: ClassVar[tuple[str, ...]] = ()

    @property
    def layers(self) -> int:
        """The number of weight decays that a list of them has."""
        return 1

    @property
    def entries(self) -> int:
        """Numbers in one problem's variables, in the columns that the solver works on."""
        raise NotImplementedError


class SolverKind(Section):
    """Base of the sections of solvers.

    Attributes
    ----------
    batched
        Keys of the section that may differ inside one job.
    sweeps
        Whether the solver can follow a path of decays.
    """

    batched: ClassVar[frozenset[str]] = frozenset()
    sweeps: ClassVar[bool] = False

    def cores(self, runs: int, entries: int) -> int:
        """Return how many cores a job can use for so many problems of so many numbers each."""
        return 1
