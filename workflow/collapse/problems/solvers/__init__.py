"""Solvers of problems over free features: a module for each kind, found by its name.

Each offers ``solve(problem, start, settings, report, threads)``; one that can follow a path of
decays also ``follow``.
"""

from typing import Protocol


class Report(Protocol):
    """What a solver tells how far it is.

    `done` of `total` are done, `unit` says of what: steps, problems; `values` are numbers by name,
    such as the ``loss``, the mean objective.
    """

    def __call__(self, done: int, total: int, unit: str, **values: float) -> None:
        """Report it."""


def silent(done: int, total: int, unit: str, **values: float) -> None:
    """Report nothing."""
