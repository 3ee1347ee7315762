"""The features of a trained network."""

import torch

from collapse.models.network import Network
from collapse.training.device import precision
from collapse.training.images import Images

BATCH = {"cpu": 1024, "cuda": 4096}


@torch.inference_mode()
def extract(network: Network, images: Images, batch: int | None = None) -> torch.Tensor:
    """Return the features H_1 of all images, N x d, float32, on their device and in their order.

    The network is in evaluation mode (BatchNorm by its running statistics), and TF32 is off: its
    rounding differs from sample to sample and would be a floor under NC1.

    Parameters
    ----------
    network
        The network, on the images' device.
    images
        N images.
    batch
        Images in one forward pass; default what keeps the device busy.
    """
    batch = batch or BATCH[images.pixels.device.type]
    network.eval()
    with precision("float32"):
        parts = [
            network.backbone(images.take(slice(start, start + batch)))
            for start in range(0, len(images), batch)
        ]
    return torch.cat(parts)
