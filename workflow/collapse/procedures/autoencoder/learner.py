"""Autoencoders of one shape, and what a step of their training does to them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from collapse.procedures.autoencoder import MODELS, numbers_of
from collapse.procedures.autoencoder.images import Images
from collapse.training.ensemble import Ensemble
from collapse.training.learner import Learner
from collapse.training.order import batch_sizes, generator

# Stream of the noise, beside that of the order.
NOISE = 1


class AutoencoderLearner(Learner):
    """R autoencoders with their images, their noise and their optimiser.

    Parameters
    ----------
    ensemble
        The networks of each, on the images' device.
    images
        What they are trained on.
    configs
        Of each run, alike but for the numbers of the objective.
    seeds
        Seeds of the order of images and of the noise, one for each run.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        images: Images,
        configs: Sequence[Mapping[str, Any]],
        seeds: Sequence[int],
    ) -> None:
        config, device, count = configs[0], images.train.device, len(images.train)
        self._model, self._images = MODELS[config["autoencoder"]], images
        self._numbers = numbers_of(configs, device)
        settings = config["training"]
        sizes = batch_sizes(count, settings["batch_size"])
        means = ("objective", "squared_error", *self._model.DIVERGENCES)
        super().__init__(ensemble, settings, sizes, means, device)
        # What runs of one seed see is drawn once. A captured step reads the same memory each time.
        self._seeds = sorted(set(seeds))
        self._of_seed = torch.tensor([self._seeds.index(seed) for seed in seeds], device=device)
        shape = len(self._seeds), count
        self._order = torch.empty(shape, dtype=torch.int64, device=device)
        self._noise = torch.empty(*shape, self._model.noise_dim(config), device=device)

    def begin(self, epoch: int, rate: float) -> None:
        """Begin an epoch, from 1; its order and noise follow from seeds and epoch."""
        device = self._order.device
        for order, noise, seed in zip(self._order, self._noise, self._seeds, strict=True):
            torch.randperm(len(order), generator=generator(seed, epoch, device), out=order)
            noise.normal_(generator=generator(seed, epoch, device, NOISE))
        super().begin(epoch, rate)

    def advance(self, size: int) -> None:
        """Take the next `size` images of each run; log and count them."""
        places = self._ledger.places(size)
        order, noise = (each.index_select(1, places) for each in (self._order, self._noise))
        batch = self._images.train[order][self._of_seed]
        errors, divergences = self._model.terms(
            self.ensemble, self._numbers, batch, noise[self._of_seed], self._images.places
        )
        error = errors.mean(1)
        means = {name: values.mean(1) for name, values in divergences.items()}
        objective = self._model.objective(error, means, self._numbers)
        # The runs share no parameter: the gradient of the sum is that of each.
        objective.sum().backward()
        self.optimiser.step(self._ledger.rate)
        self.ensemble.drop_gradients()
        # Of the objective a mean is twice the divergence.
        row = torch.stack([objective, error, *(mean / 2 for mean in means.values())]).detach()
        self._ledger.enter(row, size)
