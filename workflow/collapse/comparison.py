"""Two folders of results side by side: verdicts of claims, and numbers beside the seeds' spread."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from collapse.artifacts import read_csv, read_table
from collapse.studies.verdicts import COLUMNS

RANGE = ["median", "low", "high"]
"""Of a number over seeds, as figures' csv files have it."""

# Of a single seed, which has no spread, what another machine's rounding may change; and what of a
# metric is nothing but rounding.
_ROUNDING, _FLOOR = 1e-6, 1e-12
_NO_KEYS = {*RANGE, "seeds"}


@dataclass(frozen=True)
class Numbers:
    """The numbers of a file in two folders.

    Attributes
    ----------
    name
        Its path in both.
    common
        How many numbers both have, by the same keys.
    differing
        Those whose ranges over seeds lie further apart than either is wide, furthest first: keys,
        and `RANGE` with the suffixes ``_a`` and ``_b``.
    """

    name: str
    common: int
    differing: pd.DataFrame


def verdicts(a: Path, b: Path) -> pd.DataFrame:
    """Return the claims of both folders by study and claim, columns ending in ``_a`` and ``_b``.

    Those of one folder alone have no verdict in the other.

    Raises
    ------
    InputError
        If a file is damaged.
    """
    keys, told = ["study", "claim"], ["verdict", "measured", "scale"]
    found = [claims(folder)[keys + told] for folder in (a, b)]
    return found[0].merge(found[1], on=keys, how="outer", suffixes=("_a", "_b"))


def claims(folder: Path) -> pd.DataFrame:
    """Return the claims decided in a folder of results, study by study, with `COLUMNS`.

    Raises
    ------
    InputError
        If a file is damaged.
    """
    files = sorted(folder.glob("claims/*.csv"))
    return pd.concat([pd.DataFrame(columns=COLUMNS), *map(read_csv, files)], ignore_index=True)


def numbers(a: Path, b: Path) -> Iterator[Numbers]:
    """Yield what figures show and tables hold of the same name in both folders.

    Raises
    ------
    InputError
        If a file is damaged.
    """
    for pattern, read in (("figures/*/*.csv", read_csv), ("*/*/metrics.parquet", _measured)):
        for path in sorted(a.glob(pattern)):
            name = str(path.relative_to(a))
            if (b / name).is_file() and (compared := _compared(read(path), read(b / name))):
                yield Numbers(name, *compared)


def _measured(path: Path) -> pd.DataFrame:
    """Return a table's values as ranges over seeds."""
    table = read_table(path)
    keys = [name for name in table if name not in ("seed", "value")]
    values = table.groupby(keys, dropna=False, sort=False)["value"]
    return values.agg(median="median", low="min", high="max").reset_index()


def _compared(a: pd.DataFrame, b: pd.DataFrame) -> tuple[int, pd.DataFrame] | None:
    """Return how many numbers both have, and those that differ; None where there is no range."""
    keys = [name for name in a if name not in _NO_KEYS]
    if not set(RANGE) <= set(a) & set(b) or set(keys) != {n for n in b if n not in _NO_KEYS}:
        return None
    # As text: a column of numbers alone in one file may hold text too in the other.
    frames = [frame.assign(**{key: frame[key].map(_text) for key in keys}) for frame in (a, b)]
    # A number that is drawn twice is the same.
    frames = [frame[keys + RANGE].drop_duplicates(keys) for frame in frames]
    both = frames[0].merge(frames[1], on=keys, suffixes=("_a", "_b"))
    gap = np.fmax(both["low_a"], both["low_b"]) - np.fmin(both["high_a"], both["high_b"])
    spread = np.fmax(both["high_a"] - both["low_a"], both["high_b"] - both["low_b"])
    size = np.fmax(both["median_a"].abs(), both["median_b"].abs())
    # In units of the larger: what has no spread is furthest of all.
    distance = (gap / np.fmax(spread, _ROUNDING * size)).where(size > _FLOOR)
    differing = both.assign(distance=distance)[distance > 1]
    order = differing.sort_values("distance", ascending=False, kind="stable")
    return len(both), order.drop(columns="distance")


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float | int | np.number) else str(value)
