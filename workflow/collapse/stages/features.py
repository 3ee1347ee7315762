"""Compute the features of a trained network on its whole training set, at every recorded epoch.

The file holds ``{epoch:06d}/H1`` (N x d), the head's ``{epoch:06d}/W1`` to ``WM`` and, if it has
one, ``{epoch:06d}/bias``, all float32, and ``labels`` once. Its attributes are the model's and
``layers``, the names of the feature layers.
"""

import argparse

import numpy as np

from collapse.artifacts import read_tensors, write_tensors
from collapse.data.dataset import load
from collapse.errors import InputError
from collapse.models.network import Network, build
from collapse.models.states import set_arrays
from collapse.provenance import record
from collapse.training.device import acquire_device, device_class
from collapse.training.extract import extract
from collapse.training.images import Images, training_set


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the stage's options."""
    parser.add_argument("--data", required=True, metavar="FILE", help="data set it was trained on")
    parser.add_argument("--model", required=True, metavar="FILE", help="trained states to read")
    parser.add_argument("--out", required=True, metavar="FILE", help="safetensors to write")


def run(args: argparse.Namespace) -> None:
    """Write the features of the network that ``args.spec`` describes to ``args.out``."""
    spec = args.spec
    config, dataset = spec["config"], load(args.data)
    states, attributes = read_tensors(args.model)
    if "epochs" not in attributes:
        raise InputError(f"{args.model}: not a trained network, it has no attribute epochs")
    device = acquire_device()
    images, labels = training_set(dataset, config["data"], device)
    network = build(config, dataset.images.shape[1:], len(dataset.classes), spec["seed"])
    network.to(device)
    tensors = {"labels": labels.cpu().numpy()}
    for epoch in attributes["epochs"]:
        prefix = f"{epoch:06d}/"
        state = {
            name.removeprefix(prefix): array
            for name, array in states.items()
            if name.startswith(prefix)
        }
        try:
            set_arrays(network.state_dict(), state)
        except InputError as error:
            raise InputError(f"{args.model}: {prefix}{error}") from None
        layers = _layers(network, images)
        tensors |= {prefix + name: array for name, array in layers.items()}
    provenance = record("features", spec, [args.data, args.model], device_class(device))
    write_tensors(args.out, tensors, provenance, attributes | {"layers": ["H1"]})


def _layers(network: Network, images: Images) -> dict[str, np.ndarray]:
    head = network.head
    layers = {"H1": extract(network, images)}
    for number, weight in enumerate(head.weights, start=1):
        layers[f"W{number}"] = weight.detach().cpu().clone().numpy()
    if head.bias is not None:
        layers["bias"] = head.bias.detach().cpu().clone().numpy()
    return layers
