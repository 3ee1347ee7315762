"""Numbers in the sentences of captions."""

from collections.abc import Sequence

import pandas as pd

UNFINISHED = "No run reached its end."
"""What there is to say of no rows."""


def number(value: float) -> str:
    """Spell a number with three digits, ``0.0123`` or ``1.2e-05``; just below 1 with more."""
    # As many as it takes: 0.99993 is not 1.
    texts = (f"{value:.{digits}g}" for digits in range(3, 10))
    return next((text for text in texts if text != "1"), "1") if value < 1 else f"{value:.3g}"


def listed(parts: Sequence[str]) -> str:
    """Join parts as a sentence does: ``a, b and c``."""
    parts = list(parts)
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def span(values: pd.Series) -> str:
    """Spell the range of numbers, ``0.1 to 0.3``, or the one number that they all spell."""
    low, high = number(values.min()), number(values.max())
    return low if low == high else f"{low} to {high}"


def diverged_runs(count: int) -> str:
    """Spell how many runs diverged: ``1 diverged run``."""
    return f"{count} diverged run{'' if count == 1 else 's'}"
