"""The features of a trained network."""

from contextlib import ExitStack

import torch

from collapse.models.network import Network
from collapse.training.device import precision
from collapse.training.samples import Samples

# Samples in one forward pass that keep a device busy.
BATCH = {"cpu": 1024, "cuda": 4096}


@torch.inference_mode()
def extract(
    network: Network, samples: Samples, batch: int | None = None, *, hidden: bool = False
) -> dict[str, torch.Tensor]:
    """Return features of all samples, float32, on their device and in their order.

    ``H1``, N x d, are what the head gets; with `hidden` there are also ``hidden1`` and so on, what
    each hidden layer passes on, for a backbone that names them.

    The network is in evaluation mode (BatchNorm by its running statistics), and TF32 is off: its
    rounding differs from sample to sample and would be a floor under NC1. `batch` samples go
    through in one pass.
    """
    batch = batch or BATCH[samples.pixels.device.type]
    network.eval()
    watched = network.backbone.hidden if hidden else []
    modules = {f"hidden{number}": module for number, module in enumerate(watched, 1)}
    parts: dict[str, list[torch.Tensor]] = {name: [] for name in (*modules, "H1")}
    with ExitStack() as stack, precision("float32"):
        for name, module in modules.items():
            # A copy: a layer may change its input in place.
            handle = module.register_forward_hook(
                lambda _, __, values, kept=parts[name]: kept.append(values.clone())
            )
            stack.callback(handle.remove)
        for start in range(0, len(samples), batch):
            parts["H1"].append(network.backbone(samples.take(slice(start, start + batch))))
    return {name: torch.cat(blocks) for name, blocks in parts.items()}
