"""Images as autoencoders take them: flat, between 0 and 1."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from collapse.data.dataset import Dataset, prepare
from collapse.procedures.autoencoder import MODELS


@dataclass(frozen=True)
class Images:
    """Images on a device.

    Attributes
    ----------
    train, test
        N x pixels, float32, 0 to 1.
    shape
        Height and width.
    places
        Which pixels are given to the model, and which it reconstructs.
    """

    train: Tensor
    test: Tensor
    shape: tuple[int, int]
    places: tuple[Tensor, Tensor]


def images_of(dataset: Dataset, config: Mapping[str, Any], device: torch.device) -> Images:
    """Return the images that a run's config is about."""
    chosen = prepare(dataset, config["data"])
    flat = [
        torch.from_numpy(values.reshape(len(values), -1).astype(np.float32) / dataset.maximum)
        for values in (chosen.inputs, chosen.test_inputs)
    ]
    shape = tuple(chosen.inputs.shape[2:])
    train, test = (values.to(device) for values in flat)
    given, wanted = MODELS[config["autoencoder"]].places(shape)
    return Images(train, test, shape, (given.to(device), wanted.to(device)))
