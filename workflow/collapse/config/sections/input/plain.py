"""Samples as they are, as a config's section ``input``."""

from typing import Literal

from pydantic import Field

from collapse.config.bases import InputKind


class Section(InputKind):
    """Samples as they are, each once in an epoch."""

    kind: Literal["plain"] = Field(description="Samples as they are.")
