"""Variational autoencoders of images with ReLU networks (Dang et al. 2024).

Networks of one shape train side by side. Runs of one seed begin alike and see the same images and
the same noise. A state holds the parameters of a run by name, those of each network and layer;
epoch 0 is its start. The history holds a row for each epoch: ``objective``, ``squared_error`` and
the KL divergences by their names, means of the epoch's batches on the way, in nats and squared
pixels. What the two models are is said by the modules `cvae` and `mhvae`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from collapse.procedures.autoencoder import cvae, mhvae

MODELS = {"cvae": cvae, "mhvae": mhvae}
"""What an experiment's ``autoencoder`` names."""


def numbers_of(configs: Sequence[Mapping[str, Any]], device: torch.device) -> dict[str, Tensor]:
    """Return the numbers of the objective, by key, (R,) each."""
    names = MODELS[configs[0]["autoencoder"]].HYPERPARAMETERS
    return {
        name: torch.tensor([config[name] for config in configs], device=device) for name in names
    }
