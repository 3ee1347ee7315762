"""How a claim becomes a verdict: a statistic over seeds, held against a tolerance."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

REPLICATED = "replicated"
NOT_REPLICATED = "not replicated"
INCONCLUSIVE = "inconclusive"
VERDICTS = (NOT_REPLICATED, INCONCLUSIVE, REPLICATED)
"""What wants looking at first."""

RULE = (
    "inconclusive: too few seeds, an arm that this scale leaves out, or seeds that disagree. "
    "Where a scale trains shorter than the paper a claim may replicate, but that it fails refutes "
    "nothing."
)
"""How to read a verdict."""

COLUMNS = [
    "study", "claim", "source", "statement", "expected", "tolerance", "bound", "measured", "seeds",
    "scale", "verdict",
]  # fmt: skip
"""Of a table of decided claims."""

BOUNDS = ("paper", "theory", "project")
"""Who may set a tolerance."""

Decision = dict[str, object]
"""A decided claim: its row of the study's claims, less the study and the scale."""


@dataclass(frozen=True)
class Claim:
    """A checkable statement of a paper.

    Attributes
    ----------
    source
        Where the paper makes it, or what else it rests on.
    expected
        The statistic and the value it should have.
    tolerance
        Largest value of the statistic that still agrees with `expected`.
    seeds
        Number of seeds that a verdict needs.
    bound
        Who set the tolerance: ``paper``, where the paper or its released code states the number;
        ``theory``, where it follows from a closed form or a definition without a choice, such as
        an order; ``project``, where it is this project's choice.

    Raises
    ------
    ValueError
        If `bound` is none of these.
    """

    name: str
    source: str
    statement: str
    expected: str
    tolerance: float
    seeds: int
    bound: str = "project"

    def __post_init__(self) -> None:
        """Refuse a bound that nobody sets."""
        if self.bound not in BOUNDS:
            raise ValueError(f"{self.name}: bound '{self.bound}', allowed: {', '.join(BOUNDS)}")

    def row(self, measured: str, seeds: int, verdict: str) -> Decision:
        """Return the claim's row of its study's claims."""
        return {
            "claim": self.name,
            "source": self.source,
            "statement": self.statement,
            "expected": self.expected,
            "tolerance": self.tolerance,
            "bound": self.bound,
            "measured": measured,
            "seeds": seeds,
            "verdict": verdict,
        }

    def decide(
        self,
        values: Sequence[float],
        seeds: int,
        obstacles: Iterable[str] = (),
        excuses: Iterable[str] = (),
    ) -> Decision:
        """Decide the claim from one value per run; smaller is better.

        Replicated when the worst run is within the tolerance, not replicated when the median is
        outside it, inconclusive in between, with too few seeds, without any run, or when
        something that the claim needs is missing at this scale.

        Parameters
        ----------
        values
            The statistic of every run that did not diverge.
        seeds
            Number of seeds per arm behind them.
        obstacles
            What this scale does not offer, in words: with one there is no verdict.
        excuses
            Why this scale may fail where the paper's would not, in words: with one the claim
            may be replicated but not refuted.
        """
        values = np.asarray(values, dtype=float)
        reasons = list(obstacles)
        if seeds < self.seeds:
            reasons.append(f"{seeds} of {self.seeds} seeds")
        if not len(values):
            return self.row("; ".join(["no run", *reasons]), seeds, INCONCLUSIVE)
        measured = f"median {np.median(values):.3g}, worst {values.max():.3g}"
        if reasons:
            return self.row(f"{measured} ({'; '.join(reasons)})", seeds, INCONCLUSIVE)
        # Before the excuses: what agrees in spite of them is replicated. NaN agrees with nothing.
        if values.max() <= self.tolerance:
            return self.row(measured, seeds, REPLICATED)
        if excuses := list(excuses):
            return self.row(f"{measured} ({'; '.join(excuses)})", seeds, INCONCLUSIVE)
        outside = np.median(values) > self.tolerance
        return self.row(measured, seeds, NOT_REPLICATED if outside else INCONCLUSIVE)


def counts(claims: pd.DataFrame) -> pd.DataFrame:
    """Return how many claims have which verdict: studies, then ``all``, by source and verdict.

    The sources are ``this run`` and, where there is a column ``reference``, ``reference``.
    """
    sources = {"this run": "verdict", "reference": "reference"}
    # In the order of the claims, not of the alphabet.
    order = claims["study"].unique()
    tables = {
        source: pd.crosstab(claims["study"], claims[column]).reindex(order, columns=VERDICTS)
        for source, column in sources.items()
        if column in claims
    }
    table = pd.concat(tables, axis=1).fillna(0).astype(int)
    table.loc["all"] = table.sum()
    return table.rename_axis(index=None, columns=[None, None])


def as_word(verdict: str) -> str:
    """Return a verdict as one word: of a command line, or a class of a page."""
    return verdict.replace(" ", "-")


def lost(diverged: int) -> list[str]:
    """Return, in words, that runs diverged: a claim that misses a run says so."""
    return [f"{diverged} diverged"] if diverged else []


def missing(wanted: Iterable, found: Iterable, name: str) -> list[str]:
    """Return, in words, which of the `wanted` arms of a grid this scale leaves out."""
    absent = sorted(set(wanted) - set(found))
    return [f"no {name} {', '.join(map(str, absent))} at this scale"] if absent else []


def short_of(found: int, wanted: int, unit: str) -> list[str]:
    """Return, in words, that a run is shorter than what a verdict needs, if it is."""
    return [] if found >= wanted else [f"{found} of {wanted} {unit}"]
