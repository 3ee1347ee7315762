"""Free features under a ReLU head of several layers (Sukenik et al. 2024)."""

from itertools import pairwise
from math import comb
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from collapse.config.bases import ProblemKind
from collapse.config.section import Count, Extent, Positive, Widths, check_layers, fault

MOST_BYTES = 64 * 10**9
"""What the variables and layers of one problem may occupy: more no machine of ours holds."""
_FLOAT64 = 8
# Of every layer its values, those behind the ReLU, and the gradient on its way back.
_COPIES = 3


class Section(ProblemKind):
    """An L-layer ReLU unconstrained features model: Z = W_L relu(W_(L-1) ... relu(W_1 H))."""

    penalties: ClassVar = frozenset({"weight_decay", "feature_decay"})
    batched: ClassVar = frozenset({"init_scale"})
    probes: ClassVar = ("relu_head",)
    further_probes: ClassVar = ("class_means",)

    kind: Literal["dufm"] = Field(description="Problem module.")
    classes: Annotated[Extent, Field(ge=2)] = Field(description="Number of classes K.")
    samples_per_class: Count = Field(description="Samples n of each class.")
    depth: Annotated[Extent, Field(ge=2, le=1000)] = Field(
        description="Number L of layers W_1 to W_L, between which there are ReLUs."
    )
    widths: Widths = Field(
        description="Feature dimension and hidden widths d_1 to d_L, or one number for all."
    )
    init_scale: Positive = Field(
        1.0,
        description="Factor of the Gaussian start: of variance 1 in H, one over the inputs in W_l.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Section":
        check_layers("widths", self.widths, self.depth)
        size = _FLOAT64 * (self.entries + _COPIES * self._layer_entries)
        if size > MOST_BYTES:
            each = _FLOAT64 * (self._columns + _COPIES * sum(self.all_widths)) * self.classes
            spare = MOST_BYTES - _FLOAT64 * self._weights
            raise fault(
                "samples_per_class",
                f"{self.samples_per_class} found, of which the layers of a problem take"
                f" {size / 1e9:,.0f} GB; allowed are {MOST_BYTES / 1e9:g} GB, at these widths up to"
                f" {max(0, spare // each)}",
            )
        return self

    @property
    def all_widths(self) -> list[int]:
        """d_1 to d_L."""
        return self.widths if isinstance(self.widths, list) else [self.widths] * self.depth

    @property
    def layers(self) -> int:
        """L."""
        return self.depth

    @property
    def entries(self) -> int:
        """Numbers in H and W_1 to W_L."""
        return self._columns * self.classes * self.samples_per_class + self._weights

    @property
    def products(self) -> float:
        """Multiply-adds of a gradient: three passes of all samples through the layers."""
        return 3 * self.classes * self.samples_per_class * self._weights

    @property
    def _columns(self) -> int:
        return self.all_widths[0]

    @property
    def _weights(self) -> int:
        return sum(rows * width for width, rows in pairwise([*self.all_widths, self.classes]))

    @property
    def _layer_entries(self) -> int:
        return self.classes * self.samples_per_class * sum(self.all_widths)

    def check_collapsed(self, graph: Any) -> None:
        """Refuse a collapsed start that the layers do not hold, at its key or at `widths`.

        `graph` is how many classes are edges of a complete graph, or ``all``; the others have an
        axis each.
        """
        edges = self.classes if graph == "all" else graph
        vertices = next((r for r in range(4, edges + 1) if comb(r, 2) >= edges), 0)
        if edges and comb(vertices, 2) != edges:
            found = f"{graph} found, {edges} classes" if graph == "all" else f"{graph} found"
            message = f"{found}, allowed are 0 and the edges of complete graphs: 6, 10, 15, 21, ..."
            raise fault("start.graph_classes", message)
        if edges > self.classes:
            message = f"{edges} found, allowed are as many as there are classes, {self.classes}"
            raise fault("start.graph_classes", message)
        if edges and self.depth < 3:
            message = f"{graph} found at depth {self.depth}, allowed is 0: a graph takes 3 layers"
            raise fault("start.graph_classes", message)
        rank = vertices + self.classes - edges
        for number, width in enumerate(self.all_widths, 1):
            needed = self.classes if number == self.depth else rank
            if width < needed:
                message = f"{width} found for H_{number}, needed for this start are {needed}"
                raise fault("problem.widths", message)
