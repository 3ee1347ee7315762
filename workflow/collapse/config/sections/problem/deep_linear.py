"""Deep linear problems over free features (Dang et al. 2023)."""

from itertools import pairwise
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from collapse.config.bases import ProblemKind
from collapse.config.section import Count, Depth, Positive, Widths, check_layers


class Section(ProblemKind):
    """A deep-linear problem over free features: Z = W_M ... W_1 H + b against one-hot targets."""

    penalties: ClassVar = frozenset({"weight_decay", "feature_decay"})
    batched: ClassVar = frozenset({"init_scale"})
    sweeps: ClassVar = True
    probes: ClassVar = ("classifier",)
    further_probes: ClassVar = ("class_means",)

    kind: Literal["deep_linear"] = Field(description="Problem module.")
    loss: Literal["mse", "ce"] = Field(
        "mse", description="Data term: 1/(2N) ||Z - Y||^2 summed over classes, or mean CE."
    )
    class_sizes: list[Count] = Field(min_length=2, description="Samples of each class.")
    depth: Depth = Field(1, description="Number M of linear layers W_1 to W_M.")
    widths: Widths = Field(
        description="Feature dimension and hidden widths d_1 to d_M, or one number for all."
    )
    bias: bool = Field(False, description="Unregularised bias b in the last layer.")
    init_scale: Positive = Field(0.1, description="Std of the Gaussian start of H and each W_m.")

    @model_validator(mode="after")
    def _widths_match(self) -> "Section":
        check_layers("widths", self.widths, self.depth)
        return self

    @property
    def layers(self) -> int:
        """M."""
        return self.depth

    @property
    def entries(self) -> int:
        """Numbers in H, W_1 to W_M and b; with MSE the columns of H are reduced to K + d_1."""
        width, classes = self._all_widths[0], len(self.class_sizes)
        return self._columns * width + self._weights + classes * self.bias

    @property
    def products(self) -> float:
        """Multiply-adds of a gradient: three passes of K rows through all layers and H."""
        entries = self._weights + self._columns * self._all_widths[0]
        return 3 * len(self.class_sizes) * entries

    @property
    def _all_widths(self) -> list[int]:
        return self.widths if isinstance(self.widths, list) else [self.widths] * self.depth

    @property
    def _columns(self) -> int:
        samples, reduced = sum(self.class_sizes), len(self.class_sizes) + self._all_widths[0]
        return min(samples, reduced) if self.loss == "mse" else samples

    @property
    def _weights(self) -> int:
        layers = pairwise([*self._all_widths, len(self.class_sizes)])
        return sum(rows * width for width, rows in layers)
