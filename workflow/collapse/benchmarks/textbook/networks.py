"""Training of a network by a loop with autograd and `torch.optim`, and what feeds it."""

import copy
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision.transforms import Compose, Normalize, ToTensor
from torchvision.transforms.v2 import MixUp

from collapse.capture import captured
from collapse.models.network import Network

MOST_WORKERS = 8
OPTIMISERS = {
    "adam": lambda groups, rate, momentum: torch.optim.Adam(groups, lr=rate),
    "sgd": lambda groups, rate, momentum: torch.optim.SGD(groups, lr=rate, momentum=momentum),
}
"""PyTorch's own, by the kind of ours."""


class ArrayImages(Dataset):
    """Images in memory and their labels, as torchvision's data sets hold them.

    Pixels are N x H x W x C, uint8; `transform` is applied to every image on its way out.
    """

    def __init__(self, pixels: np.ndarray, labels: np.ndarray, transform: Compose) -> None:
        self.pixels, self.labels, self.transform = pixels, labels.tolist(), transform

    def __len__(self) -> int:
        """Return N."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return one image as a float tensor, and its label."""
        return self.transform(self.pixels[index]), self.labels[index]


def loader(
    pixels: np.ndarray,
    labels: np.ndarray,
    mean: Sequence[float],
    std: Sequence[float],
    batch_size: int,
    workers: int,
    order: Sequence[int] | None = None,
    mixup: MixUp | None = None,
) -> DataLoader:
    """Return the loader of a training set, pixels N x C x H x W, uint8.

    `mean` and `std` are per channel, for pixels from 0 to 1. Batches are prepared by so many
    processes, with 0 `workers` in this one, and mixed there if that is asked for. Without an
    `order` of the samples they are shuffled anew in every epoch.
    """
    # `ToTensor` takes channels last and divides by 255.
    transform = Compose([ToTensor(), Normalize(mean, std)])
    images = np.ascontiguousarray(np.moveaxis(pixels, 1, -1))
    return DataLoader(
        ArrayImages(images, labels, transform),
        batch_size=batch_size,
        shuffle=order is None,
        sampler=order,
        collate_fn=None if mixup is None else partial(_mixed, mixup),
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
    )


def _mixed(mixup: MixUp, samples: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    return mixup(*default_collate(samples))


class ResidentBatches:
    """Shuffled batches of images, N x C x H x W float32, and labels that lie on one device."""

    def __init__(self, images: Tensor, labels: Tensor, size: int) -> None:
        self._images, self._labels, self._size = images, labels, size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch."""
        order = torch.randperm(len(self._labels), device=self._labels.device)
        for places in order.split(self._size):
            yield self._images[places], self._labels[places]


def usable_workers() -> int:
    """Return how many loader processes this machine feeds well."""
    return min(MOST_WORKERS, len(os.sched_getaffinity(0)))


def squared_error(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over samples of half the squared distance to the one-hot labels."""
    targets = functional.one_hot(labels, logits.shape[1])
    return (logits - targets).square().sum() / (2 * len(labels))


class TextbookTraining:
    """A copy of a network, what feeds it, its loss and its optimiser.

    The images stay in PyTorch's default memory format. The optimiser's weight decay is the
    gradient of the penalties, `decay`/2 ||theta||^2; no bias of the head decays. `settings` holds
    ``optimiser``, ``learning_rate`` and ``momentum`` of a config's section ``training``.
    """

    def __init__(
        self,
        network: Network,
        batches: DataLoader | ResidentBatches,
        settings: Mapping[str, Any],
        decay: float,
        device: torch.device,
        loss: Callable[[Tensor, Tensor], Tensor] = squared_error,
    ) -> None:
        parts = copy.deepcopy([network.backbone.layers, network.head])
        self.model = nn.Sequential(*parts).to(device, memory_format=torch.contiguous_format)
        self.batches, self.device, self._loss = batches, device, loss
        # Summed on the device: the loop never waits for it before the epoch's end.
        self._total = torch.zeros((), device=device)
        # By identity: tensors are compared number by number.
        biases = {id(bias) for bias in [parts[1].bias] if bias is not None}
        groups = [
            {
                "params": [p for p in self.model.parameters() if id(p) not in biases],
                "weight_decay": decay,
            },
            {"params": [p for p in self.model.parameters() if id(p) in biases]},
        ]
        make = OPTIMISERS[settings["optimiser"]["kind"]]
        self.optimiser = make(groups, settings["learning_rate"], settings["momentum"])

    def epoch(self) -> float:
        """Take one pass over the samples; return the mean of the data term."""
        self.model.train()
        self._total.zero_()
        samples = 0
        for images, labels in self.batches:
            self.step(
                images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)
            )
            samples += len(labels)
        return self._total.item() / samples

    def step(self, images: Tensor, labels: Tensor) -> None:
        """Take one step."""
        self.optimiser.zero_grad()
        loss = self._loss(self.model(images), labels)
        loss.backward()
        self.optimiser.step()
        self._total += loss.detach() * len(labels)


class CapturedTraining(TextbookTraining):
    """The same, whose step is one CUDA graph for all batches of the first one's size."""

    _replay: Callable[[], None] | None = None

    def step(self, images: Tensor, labels: Tensor) -> None:
        """Take one step."""
        if self._replay is None:
            self._capture(images.clone(), labels.clone())
        if len(labels) != len(self._labels):
            super().step(images, labels)
            return
        self._images.copy_(images)
        self._labels.copy_(labels)
        self._replay()

    def _capture(self, images: Tensor, labels: Tensor) -> None:
        self._images, self._labels = images, labels
        for group in self.optimiser.param_groups:
            # Adam counts steps on the CPU otherwise; others have no such key, and read none.
            group["capturable"] = True
        before = [tensor.clone() for tensor in self._state()]
        # The optimiser makes its state in its first step, and a graph may make nothing.
        super().step(images, labels)
        kept = [value for state in self.optimiser.state.values() for value in state.values()]
        made = [value for value in kept if isinstance(value, Tensor)]
        with torch.no_grad():
            torch._foreach_copy_(self._state(), before)
            torch._foreach_zero_(made)
        step = partial(super().step, images, labels)
        self._replay = captured(step, [*self._state(), *made])

    def _state(self) -> list[Tensor]:
        return [*self.model.state_dict().values(), self._total]
