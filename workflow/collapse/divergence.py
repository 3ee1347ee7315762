"""Which runs of an experiment diverged, as its table says."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from collapse.grid import format_value

_SHOWN = 5


def diverged_runs(path: str | Path) -> list[str]:
    """Return the runs that diverged by their table ``metrics.parquet``, each in words.

    Of a table that is damaged it is none: who reads it all says so.
    """
    try:
        rows = pq.read_table(path, filters=[("metric", "==", "diverged")]).to_pandas()
    except (pa.ArrowException, OSError, ValueError, TypeError, LookupError):
        return []
    keys = [name for name in rows if name not in ("step", "layer", "metric", "value")]
    return [
        f"{', '.join(f'{key} {format_value(row[key])}' for key in keys)} at step {row['step']}"
        for row in rows.to_dict("records")
    ]


def warning(experiment: str, runs: int, tables: Iterable[str | Path]) -> str | None:
    """Return the line that says how many of an experiment's runs diverged, None if none did."""
    lost = [run for path in tables for run in diverged_runs(path)]
    if not lost:
        return None
    further = ["..."] if len(lost) > _SHOWN else []
    return (
        f"{experiment}: {len(lost)} of {runs} runs diverged "
        f"({'; '.join(lost[:_SHOWN] + further)}), figures and claims leave them out and say so"
    )
