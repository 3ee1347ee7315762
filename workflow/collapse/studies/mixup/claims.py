"""Claims of the mixup paper, decided from the tables."""

from collections.abc import Iterator, Mapping

from collapse.studies import Results
from collapse.studies.mixup import model_claims, network_claims
from collapse.studies.verdicts import Decision


def decide(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    """Yield one row per claim."""
    yield from model_claims.decide(experiments)
    yield from network_claims.decide(experiments)
