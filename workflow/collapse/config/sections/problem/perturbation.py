"""Features held near a given matrix (Tirer et al. 2023)."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from collapse.config.bases import ProblemKind
from collapse.config.section import Count, Extent, Positive, fault


class Section(ProblemKind):
    """Free features under the penalties of their decays and of their distance from the start."""

    penalties: ClassVar = frozenset({"weight_decay", "feature_decay"})
    positive: ClassVar = frozenset({"weight_decay"})
    layered: ClassVar = False
    probes: ClassVar = ("class_means",)
    further_probes: ClassVar = ("flow_gap", "flow_rates", "response")
    labelled_features: ClassVar = True

    kind: Literal["perturbation"] = Field(description="Problem module.")
    classes: Extent = Field(ge=2, description="Number of classes K.")
    samples_per_class: Count = Field(description="Samples n of each class.")
    dim: Extent = Field(description="Feature dimension d.")
    beta: Positive | None = Field(
        description="Penalty beta/(2Kn) ||H - H_0||^2 of the distance from the start; null: none."
    )
    init_scale: Positive = Field(1.0, description="Std of a Gaussian start H_0.")

    @property
    def batched(self) -> frozenset[str]:
        """Its scale and, where there is one, beta."""
        return frozenset({"init_scale"} if self.beta is None else {"init_scale", "beta"})

    def check_optimum(self, weight_decay: Any, feature_decay: Any) -> None:
        """Refuse decays whose optimum is zero, or unknown, and too few features."""
        if feature_decay is None:
            feature_decay = weight_decay
        if feature_decay == 0:
            raise fault("feature_decay", "0 found, allowed is more: the optimum is at infinity")
        if weight_decay * feature_decay >= 1:
            message = (
                f"{weight_decay:g} * {feature_decay:g} found with start optimum, allowed is a"
                " product below 1: from 1 on the optimum H* is 0"
            )
            raise fault("weight_decay", message)
        if self.dim < self.classes:
            message = f"{self.dim} found with start optimum, allowed is {self.classes} or more"
            raise fault("problem.dim", message)

    @property
    def entries(self) -> int:
        """Numbers in H."""
        return self.dim * self.classes * self.samples_per_class
