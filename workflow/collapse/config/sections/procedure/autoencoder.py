"""Variational autoencoders with ReLU networks, conditional or of two levels."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from collapse.config.costs import Size, Work, asked, dense
from collapse.config.experiment import Experiment, Resources
from collapse.config.first_samples import FirstSamples
from collapse.config.network import Training
from collapse.config.section import Extent, Positive, fault
from collapse.data.catalogue import DataSet

NEEDED = {"cvae": ("beta",), "mhvae": ("beta_1", "beta_2", "encoder_std")}
"""Keys that one model has and the other has not."""
_FLOAT32 = 4
# Parameters, gradient and the two averages of Adam.
_COPIES = 4


class Section(Experiment):
    """Variational autoencoders of images with ReLU networks (Dang et al. 2024).

    Pixels are between 0 and 1. A ``cvae`` completes images from their bottom left quarter; an
    ``mhvae`` has latents z1 of held std and z2 above them. The objective is that of the linear
    models, with a ReLU network in place of each linear map. A step is an epoch.
    """

    compute_only: ClassVar = frozenset({"training"})
    verb: ClassVar = "train"

    procedure: Literal["autoencoder"] = Field(description="How it is carried out.")
    data: FirstSamples = Field(description="Images.")
    autoencoder: Literal["cvae", "mhvae"] = Field(
        description="`cvae`: the bottom left quarter of an image is given, the other three are "
        "reconstructed. `mhvae`: whole images, two levels of latents."
    )
    hidden: list[Extent] = Field(
        min_length=1, max_length=100, description="Hidden widths of each network, ReLU after each."
    )
    latent_dim: Extent = Field(description="Latent variables, of two levels those of z1.")
    latent_dim_2: Extent | None = Field(
        None, description="`mhvae`: variables of z2; null for as many as z1."
    )
    beta: Positive | None = Field(None, description="`cvae`: weight of the KL divergence.")
    beta_1: Positive | None = Field(None, description="`mhvae`: weight of KL(q(z1|x) || p(z1|z2)).")
    beta_2: Positive | None = Field(None, description="`mhvae`: weight of KL(q(z2|z1) || p(z2)).")
    decoder_std: Positive = Field(
        1.0, description="Std of each pixel given the latents, of `mhvae` also of z1 given z2."
    )
    prior_std: Positive = Field(1.0, description="Std of the prior of each latent (of z2).")
    encoder_std: Positive | None = Field(
        None, description="`mhvae`: held std of each variable of z1 given the image."
    )
    training: Training = Field(description="Optimisation.")

    @model_validator(mode="after")
    def _one_model(self) -> "Section":
        for model, keys in NEEDED.items():
            for key in keys:
                value, own = getattr(self, key), model == self.autoencoder
                if own and value is None:
                    raise fault(key, f"is missing, {self.autoencoder} needs a number above 0")
                if not own and value is not None:
                    raise fault(key, f"{value:g} found, {self.autoencoder} has none")
        if self.latent_dim_2 is not None and "beta_2" not in NEEDED[self.autoencoder]:
            raise fault("latent_dim_2", f"{self.latent_dim_2} found, {self.autoencoder} has none")
        return self

    @model_validator(mode="after")
    def _can_train(self) -> "Section":
        if self.training.augmentation:
            found = f"augmentation {self.training.augmentation} found"
            raise fault("training", f"{found}, allowed is []: images are given whole and in place")
        if self.training.precision == "bf16":
            found = "precision bf16 found, allowed are float32 and tf32"
            raise fault("training", f"{found}: divergences are sums of exponentials")
        return self

    @property
    def batched(self) -> frozenset[str]:
        """What changes no tensor's shape: networks of one shape train side by side."""
        return frozenset({"beta", "beta_1", "beta_2", "decoder_std", "prior_std", "encoder_std"})

    @property
    def clock(self) -> str:
        """A step is an epoch."""
        return "epoch"

    def length(self) -> tuple[int, str]:
        """Return the epochs."""
        return self.training.epochs, "epochs"

    def resources(self, runs: Sequence[Self], data_set: DataSet) -> Resources:
        """Return what follows from networks, images and epochs."""
        size, samples = self._size(data_set), self.data.count(data_set)
        steps = self.training.epochs * math.ceil(samples / self.training.batch_size)
        products = 3 * size.products * samples * self.training.epochs * len(runs)
        written = _FLOAT32 * size.parameters * self._records * len(runs)
        held = len(runs) * _FLOAT32 * (
            _COPIES * size.parameters + 3 * size.activations * self.training.batch_size
        )  # fmt: skip
        images = 5 * samples * self._pixels(data_set)
        kind = self.training.precision
        return asked(Work(kind, products, steps, 2 * written, held + images, written))

    def measure_resources(self, runs: Sequence[Self], data_set: DataSet) -> Resources:
        """Return what follows from networks and images."""
        size, samples = self._size(data_set), self.data.count(data_set)
        products = size.products * samples * self._records * len(runs)
        held = _FLOAT32 * samples * (size.activations + self._pixels(data_set))
        states = _FLOAT32 * size.parameters * len(runs)
        return asked(Work("float32", products, 20 * len(runs), states, held, 0))

    @property
    def _records(self) -> int:
        # With the start.
        return min(self.training.record, self.training.epochs) + 1

    def _pixels(self, data_set: DataSet) -> int:
        return math.prod(data_set.image_shape or (1,))

    def _size(self, data_set: DataSet) -> Size:
        """Return the size of all its networks."""
        pixels, latent = self._pixels(data_set), self.latent_dim
        pairs = [(pixels, 2 * latent), (latent + pixels // 4, pixels)]
        if "beta_2" in NEEDED[self.autoencoder]:
            above = self.latent_dim_2 or latent
            pairs = [(pixels, latent), (latent, 2 * above), (above, latent), (latent, pixels)]
        total = Size()
        for inputs, outputs in pairs:
            widths = [inputs, *self.hidden, outputs]
            for width, following in zip(widths, widths[1:], strict=False):
                total += dense(width, following)
        return total

    def labels(self, data_set: DataSet) -> dict[str, Any]:
        """Return how it, its data and samples are called."""
        widths = "-".join(map(str, self.hidden))
        return {
            "model": f"ReLU {self.autoencoder.upper()} ({widths})",
            "data": data_set.title,
            "samples": self.data.label,
            "image_shape": list(data_set.image_shape or ()),
        }

    def misfits(self, data_set: DataSet) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield what are no images of one channel, or are too small for a quarter."""
        shape = data_set.image_shape
        if data_set.regression or not data_set.images or shape[0] != 1:
            found = f"{self.data.name} found, needed are images of one channel"
            yield ("data", "name"), found
        elif min(shape[1:]) < 2:
            yield ("data", "name"), f"{self.data.name} found, needed are 2 pixels a side or more"
