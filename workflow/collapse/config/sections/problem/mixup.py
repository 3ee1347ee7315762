"""Mixup over free features (Fisher et al. 2024)."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from collapse.config.bases import ProblemKind
from collapse.config.section import Count, Extent, Positive, fault


class Section(ProblemKind):
    """Free features of mixed samples, one for each pair of classes and each lambda.

    Of one class lambda changes nothing: one feature.
    """

    layered: ClassVar = False
    probes: ClassVar = ("mixed_columns",)

    kind: Literal["mixup"] = Field(description="Problem module.")
    classes: Extent = Field(description="Number of classes K, at least 3.")
    dim: Extent = Field(description="Feature dimension d, at least K - 1.")
    loss: Literal["ce", "mse"] = Field(
        "ce", description="Loss of the mixed label: cross-entropy, or half the squared error."
    )
    classifier: Literal["fixed", "free"] = Field(
        description="W: a fixed simplex ETF, or free under weight_decay."
    )
    classifier_norm: Positive | None = Field(
        None, description="Norm m of the rows of a fixed W; null where it is free."
    )
    # Beyond these a quadrature of many nodes leaves double precision.
    alpha: Annotated[Positive, Field(ge=1e-6, le=1e3)] = Field(
        1.0, description="lambda is drawn from Beta(alpha, alpha)."
    )
    nodes: Annotated[Count, Field(le=200)] = Field(
        9, description="Nodes of the quadrature over lambda; of an odd number 1/2 is one."
    )
    init_scale: Positive = Field(0.1, description="Std of the Gaussian start.")

    @model_validator(mode="after")
    def _consistent(self) -> "Section":
        if self.classes < 3:
            message = f"{self.classes} found, allowed is 3 or more: two have no channel"
            raise fault("classes", message)
        if self.dim < self.classes - 1:
            message = f"{self.dim} found, allowed is {self.classes - 1} or more, classes - 1"
            raise fault("dim", message)
        fixed = self.classifier == "fixed"
        if fixed and self.classifier_norm is None:
            raise fault("classifier_norm", "null found, allowed is a number: W is fixed")
        if not fixed and self.classifier_norm is not None:
            message = f"{self.classifier_norm:g} found, allowed is null: W is free"
            raise fault("classifier_norm", message)
        return self

    @property
    def penalties(self) -> frozenset[str]:
        """That of W only where it is free."""
        both = {"weight_decay", "feature_decay"}
        return frozenset(both if self.classifier == "free" else {"feature_decay"})

    @property
    def positive(self) -> frozenset[str]:
        """All its penalties."""
        return self.penalties

    @property
    def batched(self) -> frozenset[str]:
        """Its scale, alpha and the norm of a fixed W."""
        norm = {"classifier_norm"} if self.classifier == "fixed" else set()
        return frozenset({"init_scale", "alpha"} | norm)

    @property
    def entries(self) -> int:
        """Numbers in H and in a free W."""
        return self.dim * (self._columns + self.classes * (self.classifier == "free"))

    @property
    def products(self) -> float:
        """Multiply-adds of a gradient: three passes of all columns through the classifier."""
        return 3 * self.dim * self.classes * self._columns

    @property
    def _columns(self) -> int:
        return self.classes + self.classes * (self.classes - 1) // 2 * self.nodes
