"""AdamW: Adam with decoupled decay (Loshchilov and Hutter 2019, arXiv 1711.05101)."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from collapse.training.update_rules.adam import Adam


def make(parameters: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Adam:
    """Return the update of named parameters with ``decay`` of the section's ``optimiser``."""
    return Adam(parameters, decay=settings["optimiser"]["decay"])
