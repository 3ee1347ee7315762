"""The features of a trained network."""

import torch

from collapse.models.network import Network
from collapse.training.device import precision
from collapse.training.samples import Samples

# Samples in one forward pass that keep a device busy.
BATCH = {"cpu": 1024, "cuda": 4096}


@torch.inference_mode()
def extract(network: Network, samples: Samples, batch: int | None = None) -> torch.Tensor:
    """Return the features H_1 of all samples, N x d, float32, on their device and in their order.

    The network is in evaluation mode (BatchNorm by its running statistics), and TF32 is off: its
    rounding differs from sample to sample and would be a floor under NC1. `batch` samples go
    through in one pass.
    """
    batch = batch or BATCH[samples.pixels.device.type]
    network.eval()
    with precision("float32"):
        parts = [
            network.backbone(samples.take(slice(start, start + batch)))
            for start in range(0, len(samples), batch)
        ]
    return torch.cat(parts)
