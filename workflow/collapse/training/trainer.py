"""Training of networks on samples that fit on the device."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from collapse.capture import can_compile, captured, compile_deterministically
from collapse.errors import InputError
from collapse.progress import Progress
from collapse.schedule import log_spaced
from collapse.training import kinds
from collapse.training.checkpoints import Arrays, Checkpoints
from collapse.training.device import mixed, precision
from collapse.training.ensemble import Ensemble
from collapse.training.history import LABEL_ENTROPY, MEANS, History
from collapse.training.objective import Objective
from collapse.training.order import Order, batch_sizes
from collapse.training.samples import Samples
from collapse.training.termination import EXIT_CODE, termination

# Steps from which compiling repays its 15 to 25 seconds: 130 epochs of 50,000 images by 128.
COMPILE_FROM = 50_000
# The section `input` of a config that does not say.
PLAIN = {"kind": "plain"}


@dataclass(frozen=True)
class TrainingResult:
    """What the training of one network leaves behind.

    Attributes
    ----------
    states
        Parameters and buffers by recorded epoch.
    history
        One row per finished epoch (in a training of more than 20,000 epochs, of that many evenly
        spaced ones at most): ``epoch``; ``objective``, and ``data_loss``, its data term, as
        means over the epoch's batches weighted by their size; ``error``, the loss's error on the
        way, such as the fraction of samples misclassified; where labels are soft
        ``label_entropy``, theirs in nats, below which no cross-entropy can be; ``step_size``, the
        learning rate. No column has the name of a config key, which a grid makes a column of its
        own.
    diverged_epoch, diverged_step
        Epoch, and step counted over the whole training, at which the objective stopped being
        finite (both from 1); None when it never did.
    """

    states: dict[int, Arrays]
    history: pd.DataFrame
    diverged_epoch: int | None = None
    diverged_step: int | None = None


def learning_rate(settings: Mapping[str, Any], epoch: int) -> float:
    """Return the learning rate in an epoch (from 1): step decay, or constant."""
    schedule = settings["schedule"]
    if schedule is None:
        return settings["learning_rate"]
    done = epoch - 1
    if schedule["at"] is None:
        steps = done // schedule["step"]
    else:
        # Rounded: a fraction of the epochs may miss a whole number by its last bit.
        steps = sum(done >= round(part * settings["epochs"]) for part in schedule["at"])
    return settings["learning_rate"] * (schedule["factor"] ** steps if steps else 1.0)


class Trainer:
    """Networks, their data and their optimiser, advanced epoch by epoch.

    Everything that a step needs lies on the device, and a step is the same sequence of kernels
    each time, whatever the kinds of loss, input and optimiser: on a GPU it is captured once, as one
    CUDA graph, and replayed. On a CPU the same step runs as it is.

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
        Whether forward and backward pass are compiled; None decides by the number of steps.

    Attributes
    ----------
    means
        What is kept of each epoch, by the history's names.

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
        self.ensemble, self.settings = ensemble, settings
        rule = kinds.load("update_rules", settings["optimiser"])
        self.optimiser = rule.make(ensemble.parameters, settings)
        self.sizes = batch_sizes(len(samples), settings["batch_size"])
        self._objective = objective.bind(ensemble)
        device = targets.device
        order = Order(samples, seeds, settings["augmentation"], self.sizes)
        batches = kinds.load("inputs", input)
        self._input = batches.build(order, targets, ensemble.outputs, input)
        # The step's own clock: where in the epoch it is, by samples and by batches.
        # Advanced inside the step, which takes no arguments and so can be replayed.
        self._place = torch.zeros(1, dtype=torch.int64, device=device)
        self._batch = torch.zeros(1, dtype=torch.int64, device=device)
        # The largest batch may be one above the batch size, see `batch_sizes`.
        self._range = torch.arange(max(self.sizes), device=device)
        self.means = (*MEANS, LABEL_ENTROPY) if self._input.soft else MEANS
        # What the history keeps of each batch stays on the device until the epoch ends.
        self._log = torch.zeros(len(self.sizes), len(self.means), len(ensemble), device=device)
        # A tensor: a captured step reads it, where a number would be frozen into the graph.
        self._rate = torch.zeros((), device=device)
        if compiled is None:
            repays = len(self.sizes) * settings["epochs"] >= COMPILE_FROM
            # By what is known beforehand, so that the same config takes the same way in every run.
            compiled = device.type == "cuda" and repays and can_compile()
        self.compiled = compiled
        # Fixed shapes: all batches but a last have one size.
        self._forward = compile_deterministically(self._terms) if compiled else self._terms
        # By batch size, of which there are two at most.
        self._steps: dict[int, Callable[[], None]] = {}

    def epoch(self, number: int) -> np.ndarray:
        """Take one pass over the samples; order and learning rate follow from the epoch, from 1.

        Returns `means`, each of every batch and network, (batches, means, E). A network that
        diverges has NaN from there on.
        """
        self._input.draw(number)
        self._place.zero_()
        self._batch.zero_()
        self._rate.fill_(learning_rate(self.settings, number))
        # Also while a step is captured: the graph keeps the kernels that are chosen then.
        with precision(self.settings["precision"]):
            for size in self.sizes:
                self._step(size)
        # The one transfer of the epoch: until here a GPU never waits for the host.
        rows = self._log.double().cpu().numpy()
        # Parameters may become infinite in the last step, after its objective was logged.
        rows[-1, :][:, ~self.ensemble.finite().cpu().numpy()] = np.nan
        # Where the objective is not finite, neither are its terms worth a number.
        return np.where(np.isfinite(rows[:, :1]), rows, np.nan)

    def _step(self, size: int) -> None:
        if size not in self._steps:

            def step() -> None:
                self._advance(size)

            # What the capture's trial steps change and has to be put back; the log is written anew.
            state = [*self.ensemble.state.values(), *self.optimiser.state.values()]
            state += [self._place, self._batch]
            self._steps[size] = captured(step, state) if self._place.is_cuda else step
        self._steps[size]()

    def _advance(self, size: int) -> None:
        """Take the next batch of `size` samples of each network; log and count it."""
        # A last, smaller batch is not worth a compilation of its own.
        forward = self._forward if size == self.sizes[0] else self._terms
        data, features, *logged = forward(self._place + self._range[:size])
        penalty = self._objective.penalty()
        # The networks share no parameter: the gradient of the sum is that of each. The penalty's is
        # added without autograd.
        (data + features).sum().backward()
        self._objective.add_penalty_gradient()
        self.optimiser.step(self._rate)
        self.ensemble.drop_gradients()
        row = torch.stack([data + features + penalty, data, *logged]).detach()
        # By a tensor, not a Python index: the graph is the same for every batch.
        self._log.index_copy_(0, self._batch, row.unsqueeze(0))
        self._place += size
        self._batch += 1

    def _terms(self, places: Tensor) -> tuple[Tensor, ...]:
        inputs, targets = self._input.take(places)
        with mixed(self.settings["precision"], targets.device):
            outputs, features = self.ensemble(inputs)
        # The objective in float32, also under mixed precision.
        outputs, features = outputs.float(), features.float()
        data, penalty = self._objective.terms(outputs, features, targets)
        error = self._objective.error(outputs, targets)
        return (data, penalty, error, *([_entropy(targets)] if self._input.soft else []))


def train(trainer: Trainer, checkpoints: Checkpoints | None = None) -> list[TrainingResult]:
    """Train networks for all epochs of their settings and keep their states at log-spaced ones.

    The networks of `trainer` are before their first epoch; `checkpoints` are an open folder to
    continue from and to write to. One result per network, with the same bytes whether or not the
    training was interrupted, on the same class of device. With checkpoints SIGTERM ends the process
    after the epoch it is at, from which a successor continues.
    """
    settings = trainer.settings
    recorded = frozenset(log_spaced(settings["epochs"], settings["record"]))
    if trainer.ensemble.normalised:
        # Before the first epoch BatchNorm has seen no data: epoch 0 has no features to speak of.
        recorded -= {0}
    history = History(trainer, recorded, checkpoints)
    with (
        closing(Progress(settings["epochs"], history.done)) as progress,
        termination() if checkpoints else nullcontext() as asked,
    ):
        # An epoch follows from its number: a restored training takes up the count.
        for epoch in range(history.done + 1, settings["epochs"] + 1):
            if history.all_diverged:
                break
            history.keep(epoch, trainer.epoch(epoch), learning_rate(settings, epoch))
            loss, error = history.latest
            progress.update(epoch, loss=loss, error=error)
            if asked and asked.is_set():
                history.save()
                message = f"ended by SIGTERM after epoch {epoch}, where a successor continues"
                print(message, file=sys.stderr, flush=True)
                raise SystemExit(EXIT_CODE)
    return [
        TrainingResult(history.states[index], history.frame(index), *history.divergence(index))
        for index in range(len(trainer.ensemble))
    ]


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
