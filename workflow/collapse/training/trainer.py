"""Training of networks on samples that fit on the device."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from collapse.capture import captured, in_turn, side_by_side
from collapse.progress import Progress
from collapse.schedule import log_spaced
from collapse.training.checkpoints import Arrays, Checkpoints
from collapse.training.device import precision
from collapse.training.history import History
from collapse.training.learner import Learner
from collapse.training.termination import EXIT_CODE, termination


@dataclass(frozen=True)
class TrainingResult:
    """What the training of one network leaves behind.

    Attributes
    ----------
    states
        Parameters and buffers by recorded epoch.
    history
        One row per finished epoch (in a training of more than 20,000 epochs, of that many evenly
        spaced ones at most): ``epoch``; what the learner keeps, as means over the epoch's batches
        weighted by their size; ``step_size``, the learning rate. Of classifiers that are
        ``objective``; ``data_loss``, its data term; ``error``, the loss's error on the way, such
        as the fraction of samples misclassified; where labels are soft ``label_entropy``, theirs
        in nats, below which no cross-entropy can be. No column has the name of a config key, which
        a grid makes a column of its own.
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
    """Networks, their data and their optimisers, advanced epoch by epoch.

    A step is the same sequence of kernels each time. On a GPU it is captured once, as one CUDA
    graph, and replayed; learners step side by side in it, as small networks leave a GPU idle. On a
    CPU the same steps run as they are, one after the other. What a network becomes does not depend
    on those beside it.

    Parameters
    ----------
    learners
        Of one device, alike in the number of samples, in their settings and in what is kept of
        an epoch.

    Attributes
    ----------
    settings
        The config's section ``training``.
    sizes
        Of the batches of an epoch.
    means
        What is kept of each epoch, by the history's names.
    compiled
        Whether forward and backward passes are.
    """

    def __init__(self, learners: Sequence[Learner]) -> None:
        first = learners[0]
        self._learners = tuple(learners)
        self.settings, self.sizes, self.means = first.settings, first.sizes, first.means
        self.compiled = first.compiled
        # Network by network, the learner it belongs to and its place there.
        self._members = [(each, place) for each in learners for place in range(len(each.ensemble))]
        # By batch size, of which there are two at most.
        self._steps: dict[int, Callable[[], None]] = {}

    def __len__(self) -> int:
        """Return E, the number of networks."""
        return len(self._members)

    def member(self, index: int) -> dict[str, Tensor]:
        """Return the parameters and buffers of one network."""
        learner, place = self._members[index]
        return learner.ensemble.member(place)

    def normalised(self, index: int) -> bool:
        """Return whether the features of one network depend on the batch."""
        return self._members[index][0].ensemble.normalised

    def state(self, part: str) -> dict[str, Tensor]:
        """Return the tensors of every ``ensemble``, or ``optimiser``, by learner and name."""
        return {
            f"{number}/{name}": tensor
            for number, learner in enumerate(self._learners)
            for name, tensor in getattr(learner, part).state.items()
        }

    def epoch(self, number: int) -> np.ndarray:
        """Take one pass over the samples; order and learning rate follow from the epoch, from 1.

        Returns `means`, each of every batch and network, (batches, means, E). A network that
        diverges has NaN from there on.
        """
        rate = learning_rate(self.settings, number)
        for learner in self._learners:
            learner.begin(number, rate)
        # Also while a step is captured: the graph keeps the kernels that are chosen then.
        with precision(self.settings["precision"]):
            for size in self.sizes:
                self._step(size)
        # The transfers of the epoch: until here a GPU never waits for the host.
        return np.concatenate([learner.rows() for learner in self._learners], axis=2)

    def _step(self, size: int) -> None:
        if size not in self._steps:
            steps = [partial(learner.advance, size) for learner in self._learners]
            state = [tensor for learner in self._learners for tensor in learner.state]
            together = state[0].is_cuda
            self._steps[size] = captured(side_by_side(steps), state) if together else in_turn(steps)
        self._steps[size]()


def train(
    trainer: Trainer, checkpoints: Checkpoints | None = None, keep_end: bool = False
) -> list[TrainingResult]:
    """Train networks for all epochs of their settings and keep their states at log-spaced ones.

    The networks of `trainer` are before their first epoch; `checkpoints` are an open folder to
    continue from and to write to; with `keep_end` also the end, so that of several trainings in a
    row a successor repeats none that is done. One result per network, with the same bytes whether
    or not the training was interrupted, on the same class of device. With checkpoints SIGTERM ends
    the process after the epoch it is at, from which a successor continues.
    """
    settings = trainer.settings
    recorded = frozenset(log_spaced(settings["epochs"], settings["record"]))
    if all(trainer.normalised(index) for index in range(len(trainer))):
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
            progress.update(epoch, **history.latest)
            if asked and asked.is_set():
                history.save()
                message = f"ended by SIGTERM after epoch {epoch}, where a successor continues"
                print(message, file=sys.stderr, flush=True)
                raise SystemExit(EXIT_CODE)
    if checkpoints and keep_end:
        history.save()
    return [
        TrainingResult(history.states[index], history.frame(index), *history.divergence(index))
        for index in range(len(trainer))
    ]
