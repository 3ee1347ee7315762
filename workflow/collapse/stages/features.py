"""Compute and measure the features of trained networks on their whole training set.

Every recorded epoch is measured, the last one (of a regression every one) also on the test set;
the full features of the last one (of all, if the config says so) are written. The file holds
``{run}/{epoch:06d}/H1`` (N x d), the head's ``{run}/{epoch:06d}/W1`` to ``WM`` and, if it has one,
``{run}/{epoch:06d}/bias``, all float32, and ``labels`` or ``targets`` once. Its attributes are the
model's and ``layers``, the names of the feature layers.
"""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from collapse import grid
from collapse.artifacts import read_tensors, write_table, write_tensors
from collapse.data.dataset import load
from collapse.errors import InputError
from collapse.metrics.layers import Reading, Row, accuracy_readings, at_step
from collapse.metrics.targets import fit_readings, residual_readings
from collapse.models.network import Network, build
from collapse.models.states import set_arrays
from collapse.provenance import record
from collapse.stages.readings import State, rows_of
from collapse.training.device import acquire_device, device_class
from collapse.training.extract import extract
from collapse.training.images import Images, held_out, training_set

Tensors = dict[str, torch.Tensor]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the stage's options."""
    parser.add_argument("--data", required=True, metavar="FILE", help="data set it was trained on")
    parser.add_argument("--model", required=True, metavar="FILE", help="trained states to read")
    parser.add_argument("--features", required=True, metavar="FILE", help="safetensors to write")
    parser.add_argument("--metrics", required=True, metavar="FILE", help="parquet to write")


def run(args: argparse.Namespace) -> None:
    """Write the features and metrics of the networks that ``args.spec`` describes."""
    config, dataset = args.spec["config"], load(args.data)
    states, attributes = read_tensors(args.model)
    if "runs" not in attributes:
        raise InputError(f"{args.model}: not a trained network, it has no attribute runs")
    device = acquire_device()
    images, targets = training_set(dataset, config["data"], device)
    test = held_out(dataset, config["data"], device)
    network = build(config, dataset.images.shape[1:], len(dataset.outputs), seed=0).to(device)
    tensors = {"targets" if dataset.regression else "labels": targets}
    frames = []
    for each in grid.expand(args.spec):
        told = _told(args.model, attributes["runs"], each["id"])
        rows: list[Row] = []
        for epoch in told["epochs"]:
            prefix = f"{each['id']}/{epoch:06d}/"
            _load(args.model, network, states, prefix)
            layers = _layers(network, extract(network, images))
            last = epoch == told["epochs"][-1]
            state = _state(layers)
            rows += rows_of(epoch, state, targets, each["config"], last=last)
            if last or dataset.regression:
                rows += at_step(epoch, _held_out(network, *test))
            if dataset.regression and epoch in (told["epochs"][0], told["epochs"][-1]):
                head = state.weights[0], state.bias
                rows += at_step(epoch, residual_readings(state.features, targets, *head))
            if last or config["features"] == "all":
                tensors |= {prefix + name: tensor for name, tensor in layers.items()}
        if told["status"] == "diverged":
            rows.append((told["diverged_epoch"], "all", "diverged", 1.0))
        frame = pd.DataFrame(rows, columns=["step", "layer", "metric", "value"])
        frames.append(frame.assign(**each["keys"]))
    provenance = record("features", args.spec, [args.data, args.model], device_class(device))
    arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
    write_tensors(args.features, arrays, provenance, attributes | {"layers": ["H1"]})
    write_table(args.metrics, pd.concat(frames, ignore_index=True), provenance)


def _told(path: str, runs: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for each in runs:
        if each["id"] == name:
            return each
    raise InputError(f"{path}: holds no run '{name}'")


def _load(path: str, network: Network, states: Mapping[str, np.ndarray], prefix: str) -> None:
    state = {
        name.removeprefix(prefix): array
        for name, array in states.items()
        if name.startswith(prefix)
    }
    try:
        set_arrays(network.state_dict(), state)
    except InputError as error:
        raise InputError(f"{path}: {prefix}{error}") from None


def _layers(network: Network, features: torch.Tensor) -> Tensors:
    head = network.head
    layers = {"H1": features}
    for number, weight in enumerate(head.weights, start=1):
        layers[f"W{number}"] = weight.detach().clone()
    if head.bias is not None:
        layers["bias"] = head.bias.detach().clone()
    return layers


def _state(layers: Tensors) -> State:
    count = sum(name[0] == "W" for name in layers)
    weights = [layers[f"W{m}"] for m in range(1, 1 + count)]
    return State(layers["H1"], weights, layers.get("bias"))


@torch.inference_mode()
def _held_out(network: Network, images: Images, targets: torch.Tensor) -> Iterator[Reading]:
    """Yield how well the network does on samples it was not trained on, if there are any."""
    if not len(images):
        return iter(())
    outputs = network.head(extract(network, images))
    return (accuracy_readings if targets.ndim == 1 else fit_readings)(outputs, targets)
