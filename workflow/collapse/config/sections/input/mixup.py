"""Mixed pairs of samples, as a config's section ``input``."""

from typing import ClassVar, Literal

from pydantic import Field

from collapse.config.bases import InputKind
from collapse.config.section import Positive


class Section(InputKind):
    """Convex combinations of pairs of samples under soft labels (mixup).

    The loss takes the soft label itself. For cross-entropy that equals the weighted sum of the
    losses against both labels; for MSE that sum is larger by lambda (1 - lambda) for samples of two
    classes, a constant without a gradient.
    """

    labels_only: ClassVar = True

    kind: Literal["mixup"] = Field(description="Mixed pairs of samples.")
    alpha: Positive = Field(1.0, description="lambda is drawn from Beta(alpha, alpha).")
    per_sample: bool = Field(
        False, description="Whether each sample has a lambda of its own, instead of each batch."
    )
