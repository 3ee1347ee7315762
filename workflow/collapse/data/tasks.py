"""Control tasks whose demonstrations are data sets: what is recorded, how a policy is found."""

from dataclasses import dataclass


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


@dataclass(frozen=True)
class Task:
    """A control task and what is recorded of its expert.

    Attributes
    ----------
    environment
        Its name in the simulator.
    inputs, outputs
        Numbers in an observation as it is recorded, and in an action.
    train_count, test_count
        Pairs for training and for testing.
    test_stride
        Of held-out episodes every step of this multiple is kept.
    search
        How its policy is found; None where the expert is a controller.
    """

    environment: str
    inputs: int
    outputs: int
    train_count: int
    test_count: int
    test_stride: int = 1
    search: Search | None = None


TASKS = {
    "reacher": Task("Reacher-v5", 11, 2, 1_000, 200),
    "swimmer": Task(
        "Swimmer-v5", 8, 2, 1_000, 200, test_stride=5, search=Search(4, 2, 0.02, 0.03, 40)
    ),
    "hopper": Task(
        "Hopper-v5", 11, 3, 10_000, 2_000, search=Search(8, 4, 0.01, 0.025, 200, shift=1.0)
    ),
}
"""Pairs and episodes are the paper's (Andriopoulos et al. 2024, Table 1); test pairs 20 %."""
