"""Networks whose layers are trained one after the other."""

from typing import Literal

from pydantic import Field, model_validator

from collapse.config.network import NetworkExperiment
from collapse.config.section import fault


class Section(NetworkExperiment):
    """A network trained layer by layer (Tirer et al. 2023, Sec. 5 and Fig. 2).

    Each hidden layer is trained under a new linear head, on the features of those before it, which
    stay as they are. A step is the number of hidden layers; of each the last epoch is kept,
    whatever `training.record` says.
    """

    procedure: Literal["layerwise"] = Field(description="How it is carried out.")

    @property
    def clock(self) -> str:
        """A step is a hidden layer more."""
        return "layers"

    @property
    def trainings(self) -> int:
        """One a hidden layer."""
        return len(self.model.hidden)

    @model_validator(mode="after")
    def _is_a_chain(self) -> "Section":
        if not self.model.layerwise:
            needed = "no chain of hidden layers, allowed is an mlp with ending relu"
            raise fault("model", f"{needed}: {self.model.label} found")
        if self.training.augmentation:
            message = f"{self.training.augmentation} found, allowed is []: features are no images"
            raise fault("training.augmentation", message)
        return self
