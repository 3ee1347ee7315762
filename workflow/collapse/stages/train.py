"""Train networks of one shape side by side; their states and histories are written.

The model file holds the states at log-spaced epochs as tensors ``{run}/{epoch:06d}/{name}``, its
attribute ``runs`` each run's ``id``, ``keys``, recorded ``epochs`` and ``status``: a training that
diverges succeeds, and says so there with ``diverged_epoch`` and ``diverged_step``. A killed
training continues from the folder ``checkpoints`` beside the file.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from collapse import grid
from collapse.artifacts import write_table, write_tensors
from collapse.data.dataset import Dataset, load
from collapse.models.network import build
from collapse.provenance import record
from collapse.training.checkpoints import Checkpoints
from collapse.training.device import acquire_device, device_class
from collapse.training.ensemble import Ensemble
from collapse.training.images import training_set
from collapse.training.objective import Objective
from collapse.training.trainer import Training, TrainingResult, train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the stage's options."""
    parser.add_argument("--data", required=True, metavar="FILE", help="data set to train on")
    parser.add_argument("--model", required=True, metavar="FILE", help="safetensors to write")
    parser.add_argument("--history", required=True, metavar="FILE", help="parquet to write")


def run(args: argparse.Namespace) -> None:
    """Train the networks that ``args.spec`` asks for and write their states and histories."""
    runs = grid.expand(args.spec)
    device = acquire_device()
    training = _prepare(runs, load(args.data), device)
    route = device_class(device) + (", compiled" if training.compiled else "")
    provenance = record("train", args.spec, [args.data], route)
    with Checkpoints(Path(args.model).parent / "checkpoints", provenance) as checkpoints:
        results = train(training, checkpoints)
        _write(args, runs, results, provenance)
        checkpoints.remove()
    for each, result in zip(runs, results, strict=True):
        if result.diverged_epoch is not None:
            print(
                f"{each['id']}: diverged in epoch {result.diverged_epoch}, "
                f"at step {result.diverged_step}",
                file=sys.stderr,
            )


def _prepare(runs: Sequence[dict], dataset: Dataset, device: torch.device) -> Training:
    configs, seeds = [each["config"] for each in runs], [each["seed"] for each in runs]
    first = configs[0]
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
    return Training(Ensemble(networks), images, targets, objective, first["training"], seeds)


def _write(
    args: argparse.Namespace,
    runs: Sequence[dict],
    results: Sequence[TrainingResult],
    provenance: dict[str, Any],
) -> None:
    tensors, frames, told = {}, [], []
    for each, result in zip(runs, results, strict=True):
        told.append(
            {
                "id": each["id"],
                "keys": each["keys"],
                "epochs": sorted(result.states),
                "status": result.status,
                "diverged_epoch": result.diverged_epoch,
                "diverged_step": result.diverged_step,
            }
        )
        frames.append(result.history.assign(**each["keys"]))
        tensors |= {
            f"{each['id']}/{epoch:06d}/{name}": array
            for epoch, state in result.states.items()
            for name, array in state.items()
        }
    history = pd.concat(frames, ignore_index=True)
    columns = [*runs[0]["keys"], *results[0].history.columns]
    write_tensors(args.model, tensors, provenance, {"runs": told})
    write_table(args.history, history[columns], provenance, {"runs": told})
