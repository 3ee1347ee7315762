"""Regression over free features (Andriopoulos et al. 2024)."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from collapse.config.bases import ProblemKind
from collapse.config.section import Count, Extent, Positive, Real, fault
from collapse.errors import InputError
from collapse.theory.covariance import principal_axes, symmetric


class Section(ProblemKind):
    """A regression over free features: Z = W H + b against real targets of given covariance."""

    penalties: ClassVar = frozenset({"weight_decay", "feature_decay"})
    batched: ClassVar = frozenset({"init_scale"})
    probes: ClassVar = ("regression",)
    further_probes: ClassVar = ("feature_space", "residuals")

    kind: Literal["regression"] = Field(description="Problem module.")
    target_covariance: list[list[Real]] = Field(
        min_length=1, description="Covariance of the n targets, n x n, with the factor 1/M."
    )
    target_mean: list[Real] | None = Field(None, description="Mean of the targets; null for 0.")
    samples: Count = Field(description="Number M of samples, more than n.")
    dim: Extent = Field(description="Feature dimension d, at least n.")
    bias: bool = Field(True, description="Unregularised bias b.")
    init_scale: Positive = Field(0.1, description="Std of the Gaussian start of H and W.")

    @model_validator(mode="after")
    def _consistent(self) -> "Section":
        outputs = len(self.target_covariance)
        # Theory knows what a covariance is; its error becomes one of this section's key.
        try:
            principal_axes(symmetric(self.target_covariance))
        except InputError as error:
            message = str(error).removeprefix("target_covariance: ")
            raise fault("target_covariance", message) from None
        for row, entries in enumerate(self.target_covariance):
            if not entries[row] > 0:
                message = f"target {row} has zero variance, allowed are targets that vary"
                raise fault("target_covariance", message)
        for key, least in (("samples", outputs + 1), ("dim", outputs)):
            if getattr(self, key) < least:
                value = getattr(self, key)
                raise fault(key, f"{value} found, allowed is {least} or more: {outputs} targets")
        if self.target_mean is not None and len(self.target_mean) != outputs:
            message = f"{len(self.target_mean)} numbers found, allowed is one for each target"
            raise fault("target_mean", f"{message}, {outputs}")
        return self

    @property
    def entries(self) -> int:
        """Numbers in H, W and b; the columns of H are reduced to n + 1 + d, one for the bias."""
        outputs = len(self.target_covariance)
        columns = min(self.samples, outputs + 1 + self.dim)
        return columns * self.dim + self.dim * outputs + outputs * self.bias
