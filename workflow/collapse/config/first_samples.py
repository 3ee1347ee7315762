"""The first labelled samples of each class, or all: data of what is fitted to a part of a set."""

from pydantic import Field

from collapse.config.network import USUAL_SAMPLES
from collapse.config.section import Count, Section
from collapse.data.catalogue import DataSet


class FirstSamples(Section):
    """The labelled samples that it is fitted to."""

    name: str = Field(description="Data set of labelled samples, a module of `collapse.data.sets`.")
    samples_per_class: Count | None = Field(
        None, description="First samples of each class to fit to; null takes all."
    )

    def count(self, data_set: DataSet) -> int:
        """Return N, as far as it is known before the data are."""
        if self.samples_per_class is not None:
            return self.samples_per_class * len(data_set.classes)
        return getattr(data_set, "train_count", None) or USUAL_SAMPLES

    @property
    def label(self) -> str:
        """How many they are, in words."""
        each = self.samples_per_class
        return f"{each} samples a class" if each else "all samples"
