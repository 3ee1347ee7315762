"""Networks on samples with targets, and what a step of their training does to them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from collapse.capture import can_compile, compile_deterministically
from collapse.errors import InputError
from collapse.training import kinds
from collapse.training.device import mixed
from collapse.training.ensemble import Ensemble
from collapse.training.history import LABEL_ENTROPY, MEANS
from collapse.training.learner import Learner
from collapse.training.objective import Objective
from collapse.training.order import Order, batch_sizes
from collapse.training.samples import Samples

# Steps from which compiling repays its 15 to 50 seconds: 130 epochs of 50,000 images by 128.
COMPILE_FROM = 50_000
# Parameters of a network up to which that holds. A step of a larger one takes longer, and compiling
# saves more of it: 0.5 ms of ResNet18 (11 million), 9 ms of ViT-B (85 million).
COMMON_SIZE = 10_000_000
# The section `input` of a config that does not say.
PLAIN = {"kind": "plain"}


class SupervisedLearner(Learner):
    """Networks of one shape with their samples, their objective and their optimiser.

    Parameters
    ----------
    ensemble
        The E networks, on the device of samples and targets.
    samples, targets
        The N training samples and their labels from 0 to K - 1, or N x n real targets.
    settings, input
        The config's sections ``training`` and ``input``, of what a batch is made.
    seeds
        Seeds of the order of samples, one per network.
    compiled
        Whether forward and backward pass are compiled; None decides by the number of steps and of
        parameters.

    Raises
    ------
    InputError
        If the networks have BatchNorm and batches hold one sample, or the decays do not fit.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        samples: Samples,
        targets: Tensor,
        objective: Objective,
        settings: Mapping[str, Any],
        seeds: Sequence[int],
        input: Mapping[str, Any] = PLAIN,
        compiled: bool | None = None,
    ) -> None:
        _check_batches(ensemble, len(samples), settings["batch_size"])
        sizes, device = batch_sizes(len(samples), settings["batch_size"]), targets.device
        order = Order(samples, seeds, settings["augmentation"], sizes)
        batches = kinds.load("inputs", input)
        self._input = batches.build(order, targets, ensemble.outputs, input)
        means = (*MEANS, LABEL_ENTROPY) if self._input.soft else MEANS
        super().__init__(ensemble, settings, sizes, means, device)
        self._objective = objective.bind(ensemble)
        if compiled is None:
            weight = max(1.0, ensemble.parameter_count / COMMON_SIZE)
            repays = len(sizes) * settings["epochs"] * weight >= COMPILE_FROM
            # By what is known beforehand, so that the same config takes the same way in every run.
            compiled = device.type == "cuda" and repays and can_compile()
        self.compiled = compiled
        # Fixed shapes: all batches but a last have one size. Without the head, so that networks
        # with others share what is compiled.
        self._compiled = compile_deterministically(self._take) if compiled else self._take

    def begin(self, epoch: int, rate: float) -> None:
        """Begin an epoch, from 1, at a learning rate."""
        self._input.draw(epoch)
        super().begin(epoch, rate)

    def advance(self, size: int) -> None:
        """Take the next batch of `size` samples of each network; log and count it."""
        # A last, smaller batch is not worth a compilation of its own.
        take = self._compiled if size == self.sizes[0] else self._take
        data, features, *logged = self._terms(*take(self._ledger.places(size)))
        penalty = self._objective.penalty()
        # The networks share no parameter: the gradient of the sum is that of each. The penalty's is
        # added without autograd.
        (data + features).sum().backward()
        self._objective.add_penalty_gradient()
        self.optimiser.step(self._ledger.rate)
        self.ensemble.drop_gradients()
        row = torch.stack([data + features + penalty, data, *logged]).detach()
        self._ledger.enter(row, size)

    def _take(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and targets of the samples at places of the order."""
        inputs, targets = self._input.take(places)
        with mixed(self.settings["precision"], targets.device):
            return self.ensemble.features(inputs), targets

    def _terms(self, features: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        """Return the terms of the objective, the error and what else is logged, (E,) each."""
        with mixed(self.settings["precision"], targets.device):
            outputs = self.ensemble.head(features)
        # The objective in float32, also under mixed precision.
        outputs, features = outputs.float(), features.float()
        data, penalty = self._objective.terms(outputs, features, targets)
        error = self._objective.error(outputs, targets)
        return (data, penalty, error, *([_entropy(targets)] if self._input.soft else []))


def _entropy(targets: Tensor) -> Tensor:
    """Return the mean entropy of soft labels, E x B x K, in nats, (E,)."""
    return -torch.special.xlogy(targets, targets).sum(-1).mean(1)


def _check_batches(ensemble: Ensemble, samples: int, size: int) -> None:
    # In the middle of an epoch PyTorch would refuse the batch statistics of one value a channel.
    if ensemble.normalised and min(samples, size) == 1:
        raise InputError(
            f"training.batch_size: batches of {min(samples, size)} sample found, "
            "a network with BatchNorm needs at least 2"
        )
