"""Tables of the user's."""

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from collapse.config.section import FilePath, Real
from collapse.config.sections.source import SourceKind
from collapse.data.catalogue import Table
from collapse.errors import InputError


def _spelt(path: str) -> str:
    """Return a path that rules do not take for one with wildcards, as seen from here if needed."""
    if set("{}") & set(path):
        path = os.path.relpath(path)
    if set("{}") & set(path):
        raise ValueError("allowed is a path without { and }, a link to the file will do")
    return path


class Section(SourceKind):
    """A regression's inputs and targets in a table of the user's."""

    table: Annotated[FilePath, AfterValidator(_spelt)] = Field(description="A csv or parquet file.")
    targets: list[str] = Field(min_length=1, description="Columns to predict.")
    inputs: list[str] | None = Field(
        None, min_length=1, description="Columns to predict from; null for all others."
    )
    test_share: Annotated[Real, Field(ge=0, le=0.5)] = Field(
        0.2, description="Share of the rows, evenly spaced, that is kept for testing."
    )

    def told(self, data_set: Table) -> dict[str, Any]:
        """Return what is read of the table; its file is told by its content."""
        return self.model_dump(mode="json", exclude={"table"})

    @property
    def train_count(self) -> int | None:
        """About how many rows are trained on, by the file's size; None where that says nothing."""
        path = Path(self.table)
        if path.suffix != ".csv" or not os.path.isfile(path):
            return None
        with path.open("rb") as file:
            beginning = file.read(2**16)
        rows = path.stat().st_size / max(len(beginning), 1) * beginning.count(b"\n")
        return max(1, int(rows * (1 - self.test_share)))

    def source_file(self, name: str, data_set: Table, results: str, home: str) -> list[str]:
        """Return the table's file."""
        if not os.path.isfile(self.table):
            what = "no regular file" if os.path.exists(self.table) else "no such file"
            raise InputError(f"datasets.{name}.table: {self.table}: {what}")
        return [self.table]
