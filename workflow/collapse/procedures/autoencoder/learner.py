"""Autoencoders of one shape, and what a step of their training does to them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from collapse.procedures.autoencoder import MODELS, numbers_of
from collapse.procedures.autoencoder.images import Images
from collapse.training import kinds
from collapse.training.ensemble import Ensemble
from collapse.training.ledger import Ledger
from collapse.training.order import batch_sizes, generator

# Stream of the noise, beside that of the order.
NOISE = 1


class Learner:
    """R autoencoders with their images, their noise and their optimiser.

    It is what `collapse.training.trainer.Trainer` trains: a step works in place on memory of the
    device, and can be captured and replayed.

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

    Attributes
    ----------
    sizes
        Of the batches of an epoch, in images.
    means
        What is kept of each epoch, by the history's names.
    compiled
        Whether forward and backward pass are compiled.
    """

    compiled = False

    def __init__(
        self,
        ensemble: Ensemble,
        images: Images,
        configs: Sequence[Mapping[str, Any]],
        seeds: Sequence[int],
    ) -> None:
        config, device, count = configs[0], images.train.device, len(images.train)
        self.ensemble, self.settings = ensemble, config["training"]
        self._model, self._images = MODELS[config["autoencoder"]], images
        self._numbers = numbers_of(configs, device)
        self.means = ("objective", "squared_error", *self._model.DIVERGENCES)
        self.sizes = batch_sizes(count, self.settings["batch_size"])
        rule = kinds.load("update_rules", self.settings["optimiser"])
        self.optimiser = rule.make(ensemble.parameters, self.settings)
        # What runs of one seed see is drawn once. A captured step reads the same memory each time.
        self._seeds = sorted(set(seeds))
        self._of_seed = torch.tensor([self._seeds.index(seed) for seed in seeds], device=device)
        shape = len(self._seeds), count
        self._order = torch.empty(shape, dtype=torch.int64, device=device)
        self._noise = torch.empty(*shape, self._model.noise_dim(config), device=device)
        self._ledger = Ledger(self.sizes, len(self.means), len(ensemble), device)

    @property
    def state(self) -> list[Tensor]:
        """All that a step changes, but for the log, which is written anew."""
        tensors = [*self.ensemble.state.values(), *self.optimiser.state.values()]
        return [*tensors, *self._ledger.state]

    def begin(self, epoch: int, rate: float) -> None:
        """Begin an epoch, from 1; its order and noise follow from seeds and epoch."""
        device = self._order.device
        for order, noise, seed in zip(self._order, self._noise, self._seeds, strict=True):
            torch.randperm(len(order), generator=generator(seed, epoch, device), out=order)
            noise.normal_(generator=generator(seed, epoch, device, NOISE))
        self._ledger.begin(rate)

    def rows(self) -> np.ndarray:
        """Return `means` of every batch of the epoch that ends here, (batches, means, R)."""
        return self._ledger.rows(self.ensemble.finite())

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
