"""Training of networks on data; those of one shape train side by side.

A state's tensors are the network's parameters and buffers at the end of an epoch. The history holds
a row for each epoch.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

from collapse import probes
from collapse.errors import InputError
from collapse.models.network import Network, build
from collapse.models.states import set_arrays
from collapse.probes import State
from collapse.procedures import Computed, Job, Measured, States
from collapse.training.checkpoints import Checkpoints
from collapse.training.ensemble import Ensemble
from collapse.training.extract import extract
from collapse.training.images import Images, held_out, training_set
from collapse.training.objective import Objective
from collapse.training.trainer import Training, TrainingResult, train
from collapse.upstream import Upstream

Runs = Sequence[Mapping[str, Any]]


def compute(runs: Runs, upstream: Upstream, job: Job) -> Computed:
    """Train the networks of a group; a killed training continues from its checkpoints."""
    training = _prepare(runs, upstream, job.device)
    if training.compiled:
        job.compiled()
    checkpoints = Checkpoints(job.folder / "checkpoints", job.provenance)
    job.hold(checkpoints, when_written=checkpoints.remove)
    return _computed(runs, train(training, checkpoints))


def _prepare(runs: Runs, upstream: Upstream, device: torch.device) -> Training:
    configs, seeds = [run["config"] for run in runs], [run["seed"] for run in runs]
    first, dataset = configs[0], upstream.data_set()
    images, targets = training_set(dataset, first["data"], device)
    shape, outputs = dataset.images.shape[1:], len(dataset.outputs)
    networks = [build(first, shape, outputs, seed).to(device) for seed in seeds]
    depth = first["head"]["depth"]
    objective = Objective(
        loss=first["loss"],
        weight_decay=[
            np.broadcast_to(config["weight_decay"], depth).tolist() for config in configs
        ],
        # Of a regression it penalises the mean over samples (Andriopoulos et al. 2024).
        feature_decay=[
            config["feature_decay"] / (len(images) if dataset.regression else 1)
            for config in configs
        ],
        backbone_decay=[config["backbone_decay"] for config in configs],
        decayed=first["decayed"],
        samples=len(images),
    )
    ensemble = Ensemble(networks)
    return Training(ensemble, images, targets, objective, first["training"], seeds, first["input"])


def _computed(runs: Runs, results: Sequence[TrainingResult]) -> Computed:
    tensors, told, frames = {}, [], []
    for run, result in zip(runs, results, strict=True):
        if result.diverged_epoch is not None:
            print(
                f"{run['id']}: diverged in epoch {result.diverged_epoch}, "
                f"at step {result.diverged_step}",
                file=sys.stderr,
            )
        told.append(
            {
                "id": run["id"],
                "keys": run["keys"],
                "steps": sorted(result.states),
                "status": result.status,
                "diverged_at": result.diverged_epoch,
                "diverged_batch": result.diverged_step,
            }
        )
        frames.append(result.history.assign(**run["keys"]))
        tensors |= {
            f"{run['id']}/{epoch:06d}/{name}": array
            for epoch, state in result.states.items()
            for name, array in state.items()
        }
    columns = [*runs[0]["keys"], *results[0].history.columns]
    return Computed(tensors, told, pd.concat(frames, ignore_index=True)[columns])


def measure(runs: Runs, states: States, upstream: Upstream, job: Job) -> Iterator[Measured]:
    """Measure every recorded epoch of each run on the whole training set.

    Full features of the last epoch (of all, if the config says so) are dumped: ``H1`` (N x d), the
    head's ``W1`` to ``WM`` and, if it has one, ``bias``, float32; ``labels`` or ``targets`` once.
    """
    config, dataset = runs[0]["config"], upstream.data_set()
    images, targets = training_set(dataset, config["data"], job.device)
    test = held_out(dataset, config["data"], job.device)
    network = build(config, dataset.images.shape[1:], len(dataset.outputs), seed=0).to(job.device)
    shared = {"targets" if dataset.regression else "labels": targets}
    for run in runs:
        told = states.run(run["id"])
        rows, points, features = [], [], dict(shared)
        for epoch in told["steps"]:
            _load(states, network, run["id"], epoch)
            layers = _layers(network, extract(network, images))
            place = {"first": epoch == told["steps"][0], "last": epoch == told["steps"][-1]}
            state = State(
                config=run["config"],
                tensors=layers,
                features=layers["H1"],
                weights=[layers[name] for name in layers if name[0] == "W"],
                bias=layers.get("bias"),
                targets=targets,
                frame=job.frame(run["keys"], epoch),
                held_out=partial(_held_out, network, *test),
                network=network,
                **place,
            )
            rows += [(epoch, *each) for each in probes.rows(state, job.told["probes"])]
            points += [each.assign(step=epoch) for each in probes.points(state, job.told["probes"])]
            if place["last"] or config["features"] == "all":
                prefix = f"{run['id']}/{epoch:06d}/"
                features |= {prefix + name: tensor for name, tensor in layers.items()}
        if told["diverged_at"] is not None:
            rows.append((told["diverged_at"], "all", "diverged", 1.0))
        yield Measured(rows, points, features)


def _load(states: States, network: Network, run: str, epoch: int) -> None:
    try:
        set_arrays(network.state_dict(), states.at(run, epoch))
    except InputError as error:
        raise InputError(f"{states.path}: {run}, epoch {epoch}: {error}") from None


def _layers(network: Network, features: torch.Tensor) -> dict[str, torch.Tensor]:
    head = network.head
    layers = {"H1": features}
    for number, weight in enumerate(head.weights, start=1):
        layers[f"W{number}"] = weight.detach().clone()
    if head.bias is not None:
        layers["bias"] = head.bias.detach().clone()
    return layers


@torch.inference_mode()
def _held_out(
    network: Network, images: Images, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return the outputs and targets of samples that it was not trained on, if there are any."""
    if not len(images):
        return None
    return network.head(extract(network, images)), targets
