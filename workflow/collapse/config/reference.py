"""References from an experiment to runs of another one."""

from typing import Any, Literal

from pydantic import Field, model_validator

from collapse.config.section import Section, Seed, fault


class Reference(Section):
    """A run of another experiment, of which a job reads the states or the features."""

    study: str = Field(description="Its study.")
    experiment: str = Field(description="Its experiment.")
    run: dict[str, Any] = Field(
        default_factory=dict, description="Its keys, as columns of tables have them, by value."
    )
    seed: Seed | None = Field(
        None,
        description="Its seed, counted from `first_seed`; null for the same as the reading run's.",
    )
    read: Literal["states", "features"] = Field(
        "states", description="What is read of it: parameters, or features on all samples."
    )

    @model_validator(mode="after")
    def _seed_has_its_key(self) -> "Reference":
        if "seed" in self.run:
            raise fault("run", "a seed found among its keys, allowed is the key `seed` beside it")
        return self


class FeaturesReference(Reference):
    """A run of another experiment, of which a job reads the features."""

    read: Literal["features"] = Field("features", description="What is read of it.")
