"""Text of a grammar that its own module describes."""

from typing import Literal

from pydantic import Field

from collapse.config.sections.source import SourceKind


class Section(SourceKind):
    """Text of a hidden Markov grammar, which is drawn: there is nothing to choose."""

    sources: list[Literal["package"]] = Field(
        ["package"], min_length=1, description="Only `package`: it is made here."
    )
