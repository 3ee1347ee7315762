"""Images as autoencoders take them: flat, between 0 and 1."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from collapse.data.dataset import Dataset, prepare
from collapse.procedures.autoencoder.cvae import quarter


@dataclass(frozen=True)
class Images:
    """Images on a device.

    Attributes
    ----------
    train, test
        N x pixels, float32, 0 to 1.
    shape
        Height and width.
    mask
        Which pixels are the bottom left quarter.
    """

    train: Tensor
    test: Tensor
    shape: tuple[int, int]
    mask: Tensor


def images_of(dataset: Dataset, choice: Mapping[str, Any], device: torch.device) -> Images:
    """Return the images that an experiment's section ``data``, `choice`, is about."""
    chosen = prepare(dataset, choice)
    flat = [
        torch.from_numpy(values.reshape(len(values), -1).astype(np.float32) / dataset.maximum)
        for values in (chosen.inputs, chosen.test_inputs)
    ]
    shape = tuple(chosen.inputs.shape[2:])
    train, test = (values.to(device) for values in flat)
    return Images(train, test, shape, quarter(shape).to(device))
