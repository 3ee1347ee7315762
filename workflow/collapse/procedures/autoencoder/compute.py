"""Train variational autoencoders of one shape side by side.

Training takes minutes: there are no checkpoints.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from collapse.models.states import get_arrays
from collapse.procedures import Computed, JobContext, Runs, run_record
from collapse.procedures.autoencoder import MODELS
from collapse.procedures.autoencoder.images import images_of
from collapse.procedures.autoencoder.stacked import initial
from collapse.progress import Progress
from collapse.schedule import log_spaced
from collapse.training.device import precision
from collapse.upstream import Upstream


def compute(runs: Runs, upstream: Upstream, job: JobContext) -> Computed:
    """Train a network for each run; a killed job starts anew.

    A run whose mean objective over an epoch is not finite ends there as diverged.
    """
    # The device before the data: who waits for one holds none.
    device, config = job.device, runs[0]["config"]
    images = images_of(upstream.data_set(), config, device)
    training = _Training(runs, images, device)
    epochs = config["training"]["epochs"]
    # A start is no trained network: nothing is measured of it.
    recorded = set(log_spaced(epochs, config["training"]["record"])[1:])
    progress = Progress(epochs)
    tensors, rows, steps = {}, [], [[] for _ in runs]
    diverged: list[int | None] = [None] * len(runs)
    for epoch in range(1, epochs + 1):
        with precision("float32"):
            values = training.epoch()
        for number, run in enumerate(runs):
            if diverged[number] is not None:
                continue
            if not torch.isfinite(values["objective"][number]):
                diverged[number] = epoch
                print(f"{run['id']}: diverged at epoch {epoch}", file=sys.stderr)
                continue
            numbers = {name: each[number].item() for name, each in values.items()}
            rows.append(run["keys"] | {"step": epoch} | numbers)
            if epoch in recorded:
                steps[number].append(epoch)
                prefix = f"{run['id']}/{epoch:06d}/"
                tensors |= {prefix + name: array for name, array in training.state(number).items()}
        progress.update(epoch, loss=values["objective"].nanmean().item())
    records = [
        run_record(run, steps[number], diverged[number]) for number, run in enumerate(runs)
    ]  # fmt: skip
    columns = [*runs[0]["keys"], "step", *training.columns]
    return Computed(tensors, records, pd.DataFrame(rows, columns=columns))


def numbers_of(configs: Sequence[Mapping[str, Any]], device: torch.device) -> dict[str, Tensor]:
    """Return the numbers of the objective, by key, (R,) each."""
    names = MODELS[configs[0]["autoencoder"]].HYPERPARAMETERS
    return {
        name: torch.tensor([config[name] for config in configs], device=device) for name in names
    }


class _Training:
    """Networks, what they are trained on, and how."""

    def __init__(self, runs: Runs, images: Any, device: torch.device) -> None:
        self._config = config = runs[0]["config"]
        self._model, self._images, self._device = MODELS[config["autoencoder"]], images, device
        self._numbers = numbers_of([run["config"] for run in runs], device)
        # Runs of one seed see the same images and noise, which are drawn once.
        seeds = sorted({run["seed"] for run in runs})
        self._of_seed = torch.tensor([seeds.index(run["seed"]) for run in runs], device=device)
        # On the CPU, and one a seed: no device and no other run changes what is drawn.
        self._generators = [torch.Generator().manual_seed(_stream(seed)) for seed in seeds]
        start = initial(self._model.widths(config, images.shape), [run["seed"] for run in runs])
        self._parameters = {n: t.to(device).requires_grad_() for n, t in start.items()}
        self._optimiser = torch.optim.Adam(
            self._parameters.values(), lr=config["training"]["learning_rate"], foreach=True
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """What is known of each epoch."""
        return ("objective", "squared_error", *self._model.DIVERGENCES)

    def epoch(self) -> dict[str, Tensor]:
        """Train for an epoch; return its means by column, in nats and squared pixels, (R,)."""
        count = len(self._images.train)
        size = min(self._config["training"]["batch_size"], count)
        steps, dim = count // size, self._model.noise_dim(self._config)
        orders = torch.stack([torch.randperm(count, generator=g) for g in self._generators])
        orders = orders[:, : steps * size].view(-1, steps, size).to(self._device)
        noise = torch.stack(
            [torch.randn(steps, size, dim, generator=g) for g in self._generators]
        ).to(self._device)
        totals = {name: torch.zeros(len(self._of_seed), device=self._device) for name in
                  self.columns}  # fmt: skip
        for step in range(steps):
            batch = self._images.train[orders[:, step]][self._of_seed]
            self._step(batch, noise[:, step][self._of_seed], totals)
        means = {name: (total / steps).cpu() for name, total in totals.items()}
        # Of the objective it is twice the divergence.
        return means | {name: means[name] / 2 for name in self._model.DIVERGENCES}

    def _step(self, batch: Tensor, noise: Tensor, totals: Mapping[str, Tensor]) -> None:
        errors, divergences = self._model.terms(
            self._parameters, self._numbers, batch, noise, self._images.places
        )
        means = {name: values.mean(1) for name, values in divergences.items()}
        error = errors.mean(1)
        objective = self._model.objective(error, means, self._numbers)
        self._optimiser.zero_grad()
        # The runs share no parameter: the gradient of the sum is that of each.
        objective.sum().backward()
        self._optimiser.step()
        for name, value in {"objective": objective, "squared_error": error, **means}.items():
            totals[name].add_(value.detach())

    def state(self, number: int) -> dict[str, Any]:
        """Return the parameters of a run as they are now."""
        return get_arrays({name: tensor[number] for name, tensor in self._parameters.items()})


# What a start draws from a seed may not be drawn again as noise.
_STREAM = 0x9E3779B9


def _stream(seed: int) -> int:
    return seed ^ _STREAM
