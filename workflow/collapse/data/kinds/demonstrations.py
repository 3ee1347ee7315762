"""Demonstrations of a control task: what is recorded of its expert, and how a policy is found."""

from dataclasses import dataclass
from typing import ClassVar

from collapse.data.catalogue import DataSet


@dataclass(frozen=True)
class Search:
    """Settings of augmented random search.

    Attributes
    ----------
    directions
        N, perturbations tried in an iteration, each in both signs.
    best
        b, of these the ones that the step is made of.
    step
        Step size alpha.
    noise
        Standard deviation nu of the perturbations.
    iterations
        Iterations of 2 N episodes.
    shift
        What is taken off the reward of every step, for staying alive.
    """

    directions: int
    best: int
    step: float
    noise: float
    iterations: int
    shift: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Task(DataSet):
    """A control task and what is recorded of its expert.

    Attributes
    ----------
    environment
        Its name in the simulator.
    inputs, outputs
        Numbers in an observation as it is recorded, and in an action.
    test_stride
        Of held-out episodes every step of this multiple is kept.
    search
        How its policy is found; None where the expert is a controller.
    expert
        The data set whose expert acts; None for its own.
    action_noise
        Standard deviation of the noise in the expert's actions, unless the config says another.
    """

    source: ClassVar[str] = "demonstrations"

    environment: str
    inputs: int
    outputs: int
    train_count: int
    test_count: int
    test_stride: int = 1
    search: Search | None = None
    expert: str | None = None
    action_noise: float = 0.0

    @property
    def searched(self) -> bool:
        """Whether a policy is searched for it, instead of none or another data set's."""
        return self.search is not None and self.expert is None
