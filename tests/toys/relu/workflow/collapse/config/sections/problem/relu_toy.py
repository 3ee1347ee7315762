"""Free features behind a ReLU."""

from typing import ClassVar, Literal

from collapse.config.bases import ProblemKind
from collapse.config.section import Count, Positive


class Section(ProblemKind):
    """Z = W relu(H) against one-hot targets."""

    penalties: ClassVar = frozenset({"weight_decay", "feature_decay"})
    probes: ClassVar = ("relu_toy",)

    kind: Literal["relu_toy"]
    classes: Count
    per_class: Count
    dim: Count
    init_scale: Positive = 0.1

    @property
    def entries(self) -> int:
        return self.dim * self.classes * (self.per_class + 1)
