"""The features of a trained network."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack

import torch
from torch import nn

from collapse.models.network import Network
from collapse.training.device import precision
from collapse.training.samples import Samples

# Samples in one forward pass that keep a device busy; of more, cuDNN takes convolutions of small
# images in float32 that need five times as long.
BATCH = {"cpu": 1024, "cuda": 8192}
CONVOLVED = 1024


def extract(
    network: Network, samples: Samples, batch: int | None = None, *, hidden: bool = False
) -> dict[str, torch.Tensor]:
    """Return features of all samples, float32, on their device and in their order.

    ``H1``, N x d, are what the head gets; with `hidden` there are also ``hidden1`` and so on, what
    each hidden layer of the backbone passes on: images are averaged, N x channels, and of tokens it
    is the first, the class token.

    The network is in evaluation mode (BatchNorm by its running statistics), and TF32 is off: its
    rounding differs from sample to sample and would be a floor under NC1. `batch` samples go
    through in one pass.
    """
    size = batch or _batch(network, samples.pixels.device.type)
    starts = range(0, len(samples), size)
    parts = (samples.take(slice(start, start + size)) for start in starts)
    return features_of(network, parts, hidden=hidden)


def _batch(network: Network, device: str) -> int:
    convolved = any(isinstance(module, nn.Conv2d) for module in network.modules())
    return min(BATCH[device], CONVOLVED) if convolved else BATCH[device]


@torch.inference_mode()
def features_of(
    network: Network,
    batches: Iterable[torch.Tensor],
    *,
    hidden: bool = False,
    training: bool = False,
) -> dict[str, torch.Tensor]:
    """Return the features, as `extract` does, of batches of inputs, B x C x H x W each.

    With `training` the network is in training mode: BatchNorm takes the statistics of each batch.
    Its running statistics stay as they are.
    """
    watched = network.backbone.hidden if hidden else []
    modules = {f"hidden{number}": module for number, module in enumerate(watched, 1)}
    parts: dict[str, list[torch.Tensor]] = {name: [] for name in (*modules, "H1")}
    running = {name: value.clone() for name, value in network.named_buffers()} if training else {}
    network.train(training)
    with ExitStack() as stack, precision("float32"):
        for module in [] if training else network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                _spare_cudnn(module, stack)
        for name, module in modules.items():
            handle = module.register_forward_hook(
                lambda _, __, values, kept=parts[name]: kept.append(_vectors(values))
            )
            stack.callback(handle.remove)
        for inputs in batches:
            parts["H1"].append(network.backbone(inputs))
    for name, value in running.items():
        network.get_buffer(name).copy_(value)
    return {name: torch.cat(blocks) for name, blocks in parts.items()}


def _spare_cudnn(module: nn.Module, stack: ExitStack) -> None:
    """Let a module compute without cuDNN, whose BatchNorm takes as long as small convolutions."""

    def switch(enabled: bool) -> Callable:
        return lambda *_: setattr(torch.backends.cudnn, "enabled", enabled)

    before = module.register_forward_pre_hook(switch(False))
    after = module.register_forward_hook(switch(torch.backends.cudnn.enabled), always_call=True)
    for handle in (before, after):
        stack.callback(handle.remove)


def _vectors(values: torch.Tensor) -> torch.Tensor:
    """Return a vector for each sample of what a layer passes on."""
    if values.ndim == 4:
        return values.mean((2, 3))
    if values.ndim == 3:
        return values[:, 0].clone()
    # A copy: the next layer may change its input in place.
    return values.clone()
