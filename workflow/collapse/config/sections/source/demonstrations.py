"""Demonstrations of control tasks."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from collapse.config.section import Real, Seed
from collapse.config.sections.source import SourceKind
from collapse.data.kinds.demonstrations import Task

SHIPPED = "workflow/policies"
"""Where in this project the policies lie that it ships."""


class Section(SourceKind):
    """An expert's demonstrations of a control task, made in a simulator."""

    policy: Literal["shipped", "searched"] = Field(
        "shipped",
        description="The policy of swimmer and hopper: this project's, or one that is searched "
        "first, in minutes. Reacher's expert is a controller and needs none.",
    )
    seed: Seed = Field(0, description="Seed of the episodes' starts, their noise and the search.")
    # Actions lie within 1.
    action_noise: Annotated[Real, Field(ge=0, le=1000)] | None = Field(
        None,
        description="Standard deviation of the Gaussian noise in the expert's actions, which acts "
        "and is recorded; null for the data set's own.",
    )

    def told(self, data_set: Task) -> dict[str, Any]:
        """Return seed and noise; which policy it is shows in its file."""
        noise = data_set.action_noise if self.action_noise is None else self.action_noise
        return {"seed": self.seed, "action_noise": noise}

    def source_file(self, name: str, data_set: Task, results: str, home: str) -> list[str]:
        """Return the policy's file; none where the expert is a controller."""
        if not data_set.search:
            return []
        folder = Path(results, "policies") if self.policy == "searched" else Path(home, SHIPPED)
        return [str(folder / f"{data_set.expert or name}.safetensors")]

    def policy_spec(self, name: str, data_set: Task) -> dict[str, Any]:
        """Return the task and the seed of the search."""
        if not data_set.searched:
            return super().policy_spec(name, data_set)
        return {"task": name, "seed": self.seed}
