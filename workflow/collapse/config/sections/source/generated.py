"""Data sets that a function of their own module makes."""

from typing import Literal

from pydantic import Field

from collapse.config.sections.source import SourceKind


class Section(SourceKind):
    """A data set whose own module makes it: there is nothing to choose."""

    sources: list[Literal["package"]] = Field(
        ["package"], min_length=1, description="Only `package`: no source but installed ones."
    )
