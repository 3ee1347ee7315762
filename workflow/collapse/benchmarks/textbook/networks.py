"""Training of a network by a `DataLoader` loop with autograd and `torch.optim`."""

import copy
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import Compose, Normalize, ToTensor

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
) -> DataLoader:
    """Return the loader of a training set, pixels N x C x H x W, uint8.

    `mean` and `std` are per channel, for pixels from 0 to 1. Batches are prepared by so many
    processes, with 0 `workers` in this one. Without an `order` of the samples they are shuffled
    anew in every epoch.
    """
    # `ToTensor` takes channels last and divides by 255.
    transform = Compose([ToTensor(), Normalize(mean, std)])
    images = np.ascontiguousarray(np.moveaxis(pixels, 1, -1))
    return DataLoader(
        ArrayImages(images, labels, transform),
        batch_size=batch_size,
        shuffle=order is None,
        sampler=order,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
    )


def usable_workers() -> int:
    """Return how many loader processes this machine feeds well."""
    return min(MOST_WORKERS, len(os.sched_getaffinity(0)))


class TextbookTraining:
    """A copy of a network, its data loader and its optimiser, for the MSE loss.

    The images stay in PyTorch's default memory format. The optimiser's weight decay is the
    gradient of the penalties, `decay`/2 ||theta||^2; no bias of the head decays. `settings` holds
    ``optimiser``, ``learning_rate`` and ``momentum`` of a config's section ``training``.
    """

    def __init__(
        self,
        network: Network,
        batches: DataLoader,
        settings: Mapping[str, Any],
        decay: float,
        device: torch.device,
    ) -> None:
        parts = copy.deepcopy([network.backbone.layers, network.head])
        self.model = nn.Sequential(*parts).to(device, memory_format=torch.contiguous_format)
        self.batches, self.device = batches, device
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
        total = torch.zeros((), device=self.device)
        samples = 0
        for images, labels in self.batches:
            images = images.to(self.device, non_blocking=True)
            labels = labels.to(self.device, non_blocking=True)
            self.optimiser.zero_grad()
            logits = self.model(images)
            targets = functional.one_hot(labels, logits.shape[1])
            loss = (logits - targets).square().sum() / (2 * len(labels))
            loss.backward()
            self.optimiser.step()
            # Summed on the device: the loop never waits for it before the epoch's end.
            total += loss.detach() * len(labels)
            samples += len(labels)
        return total.item() / samples
