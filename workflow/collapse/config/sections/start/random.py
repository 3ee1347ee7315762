"""The problem's own random start."""

from typing import Literal

from pydantic import Field

from collapse.config.bases import StartKind


class Section(StartKind):
    """The start that the problem draws from the run's seed and its `init_scale`."""

    kind: Literal["random"] = Field("random", description="Start.")
