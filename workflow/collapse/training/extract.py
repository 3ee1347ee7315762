"""The features of a trained network."""

import math
from collections.abc import Callable, Iterable
from contextlib import ExitStack

import torch
from torch import nn

from collapse.metrics.collapse import class_statistics, nc1
from collapse.models.network import Network
from collapse.training.device import mixed, precision
from collapse.training.samples import Samples

# Samples in one forward pass that keep a device busy; of more, cuDNN takes convolutions of small
# images in float32 that need five times as long.
BATCH = {"cpu": 1024, "cuda": 8192}
CONVOLVED = 1024
CHECKED = 256
"""Samples whose features are computed both ways, to see how far rounding moves them."""
TOLERATED = 1e-2
"""So much of the root of NC1 may rounding move features: no metric errs by a thousandth then.

The features of ResNet18 it moves by 3e-4 to 2e-3, which changed NC1 by 6e-6 to 2e-4 of it.
"""


def extract(
    network: Network,
    samples: Samples,
    batch: int | None = None,
    *,
    hidden: bool = False,
    products: str = "float32",
) -> dict[str, torch.Tensor]:
    """Return features of all samples, float32, on their device and in their order.

    ``H1``, N x d, are what the head gets; with `hidden` there are also ``hidden1`` and so on, what
    each hidden layer of the backbone passes on: images are averaged, N x channels, and of tokens it
    is the first, the class token.

    The network is in evaluation mode (BatchNorm by its running statistics). `batch` samples go
    through in one pass. `products` is a precision of `collapse.training.device.precision`; rounding
    differs from sample to sample and is a floor under NC1, see `extract_to_measure`.
    """
    size = batch or _batch(network, samples.pixels.device.type)
    starts = range(0, len(samples), size)
    parts = (samples.take(slice(start, start + size)) for start in starts)
    return features_of(network, parts, hidden=hidden, products=products)


def extract_to_measure(
    network: Network, samples: Samples, targets: torch.Tensor, products: str, *, hidden: bool
) -> tuple[dict[str, torch.Tensor], str]:
    """Return features as `extract` does, and in which products: in float16 ones while these do.

    `products` is what the network trains in, `targets` are the samples'. On a GPU convolutions in
    float16, with sums in float32, take a tenth of the time. They do for classifiers whose training
    rounds its products, too, as long as they move features by a fraction, `TOLERATED`, of the root
    of NC1: not once it is small, nor where values leave the range of float16.
    """
    pays = _on_a_gpu(samples) and _convolves(network)
    if pays and products != "float32" and targets.ndim == 1:
        features = extract(network, samples, hidden=hidden, products="float16")
        if _moved(network, samples) <= TOLERATED * _spread(features["H1"], targets):
            return features, "float16"
    return extract(network, samples, hidden=hidden), "float32"


def _on_a_gpu(samples: Samples) -> bool:
    return samples.pixels.is_cuda


def _moved(network: Network, samples: Samples) -> float:
    """Return how far float16 moves features of some samples, of their norm; NaN if it is none."""
    few = samples.take(slice(None, None, max(1, len(samples) // CHECKED)))
    exact, rounded = (
        features_of(network, [few], products=products)["H1"] for products in ("float32", "float16")
    )
    return ((rounded - exact).norm() / exact.norm()).item()


def _spread(features: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the root of NC1, 0 where it is not defined."""
    if not features.isfinite().all():
        return 0.0
    return math.sqrt(nc1(class_statistics(features, labels, least=1)) or 0.0)


def _batch(network: Network, device: str) -> int:
    return min(BATCH[device], CONVOLVED) if _convolves(network) else BATCH[device]


def _convolves(network: Network) -> bool:
    return any(isinstance(module, nn.Conv2d) for module in network.modules())


@torch.inference_mode()
def features_of(
    network: Network,
    batches: Iterable[torch.Tensor],
    *,
    hidden: bool = False,
    training: bool = False,
    products: str = "float32",
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
    device = next(network.parameters()).device
    with ExitStack() as stack, precision(products), mixed(products, device):
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
    return {name: torch.cat(blocks).float() for name, blocks in parts.items()}


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
        return values.mean((2, 3), dtype=torch.float32)
    if values.ndim == 3:
        return values[:, 0].clone()
    # A copy: the next layer may change its input in place.
    return values.clone()
