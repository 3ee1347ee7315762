"""The rows of the benchmark's table."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import pandas as pd

COLUMNS = (
    "work", "against", "device", "baseline", "ours", "unit", "ratio", "spread", "goal", "met",
    "note",
)  # fmt: skip
SCALES = {"us": 1e6, "ms": 1e3, "s": 1.0}
SPREAD = "(largest - smallest) / median of the repeats' ratios"

Row = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """What a row is about.

    Attributes
    ----------
    work, against
        What is done, and how the other side does it.
    unit
        Of `baseline` and `ours`; times begin with us, ms or s.
    least
        The ratio that is aimed at, baseline over ours; None for none.
    most
        The value of `ours` that is aimed at instead; None for none.
    judged
        Whether a machine can decide that the goal is met. Not where the other side is a
        `DataLoader`'s, whose time moves by a quarter between hosts of the same GPU.
    """

    work: str
    against: str
    unit: str
    least: float | None = None
    most: float | None = None
    judged: bool = True

    @property
    def goal(self) -> str | None:
        """The goal as text."""
        if self.least is not None:
            return f">= {self.least:g}"
        return None if self.most is None else f"<= {self.most:g}"

    def timed(
        self, device: str, baseline: Sequence[float], ours: Sequence[float], note: str
    ) -> Row:
        """Return the row of two ways that were timed in turn, in seconds.

        Times are medians, the ratio is theirs, and the spread is that of the ratios of the
        rounds, ``(largest - smallest) / median``.
        """
        # "ms per step": the scale is the first word's.
        scale = SCALES[self.unit.split()[0]]
        ratio = median(baseline) / median(ours)
        ratios = [theirs / mine for theirs, mine in zip(baseline, ours, strict=True)]
        return self._row(
            device,
            baseline=scale * median(baseline),
            ours=scale * median(ours),
            ratio=ratio,
            spread=(max(ratios) - min(ratios)) / median(ratios),
            met=None if self.least is None or not self.judged else ratio >= self.least,
            note=note,
        )

    def valued(self, device: str, ours: float, note: str, baseline: float | None = None) -> Row:
        """Return the row of a value that is no time."""
        met = None if self.most is None else ours <= self.most
        return self._row(device, baseline=baseline, ours=ours, met=met, note=note)

    def left_out(self, device: str, reason: str) -> Row:
        """Return the row of what could not be measured here."""
        return self._row(device, note=f"left out: {reason}")

    def _row(self, device: str, **values: Any) -> Row:
        labels = {"work": self.work, "against": self.against, "unit": self.unit, "goal": self.goal}
        # All columns, in their order, None where there is nothing to say.
        return dict.fromkeys(COLUMNS) | labels | {"device": device} | values


def as_text(table: pd.DataFrame) -> str:
    """Return the table as it is printed."""
    frame = table.drop(columns=["unit", "note"]).assign(
        baseline=_with_unit(table, "baseline"),
        ours=_with_unit(table, "ours"),
        ratio=[_number(value, "x") for value in table["ratio"]],
        spread=["" if pd.isna(value) else f"{100 * value:.0f} %" for value in table["spread"]],
        goal=table["goal"].fillna(""),
        met=[
            note if str(note).startswith("left out") else {True: "yes", False: "no"}.get(met, "")
            for met, note in zip(table["met"], table["note"], strict=True)
        ],
    )
    return f"{frame.to_string(index=False)}\nspread: {SPREAD}"


def _with_unit(table: pd.DataFrame, column: str) -> list[str]:
    units = [f" {unit.split()[0]}" for unit in table["unit"]]
    units = [unit if unit.strip() in SCALES else "" for unit in units]
    return [_number(value, unit) for value, unit in zip(table[column], units, strict=True)]


def _number(value: float | None, unit: str) -> str:
    return "" if pd.isna(value) else three_digits(value) + unit


def three_digits(value: float) -> str:
    """Spell a number with three digits, large ones without a power of ten: ``1,110``."""
    rounded = f"{value:.3g}"
    return f"{float(rounded):,.0f}" if 1e3 <= float(rounded) < 1e6 else rounded
