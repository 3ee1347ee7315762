"""Train a network; its state at log-spaced epochs and its history are written.

The model file holds the tensors ``{epoch:06d}/{name}``. A killed training continues from the
folder ``checkpoints`` beside it. A training that diverges succeeds, and says so in the
attributes ``status``, ``diverged_epoch`` and ``diverged_step``.
"""

import argparse
import sys
from pathlib import Path

from collapse.artifacts import write_table, write_tensors
from collapse.data.dataset import load
from collapse.models.network import build
from collapse.provenance import record
from collapse.training.checkpoints import Checkpoints
from collapse.training.device import acquire_device, device_class
from collapse.training.images import training_set
from collapse.training.objective import Objective
from collapse.training.trainer import TrainingResult, train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the stage's options."""
    parser.add_argument("--data", required=True, metavar="FILE", help="data set to train on")
    parser.add_argument("--model", required=True, metavar="FILE", help="safetensors to write")
    parser.add_argument("--history", required=True, metavar="FILE", help="parquet to write")


def run(args: argparse.Namespace) -> None:
    """Train the network that ``args.spec`` asks for and write its states and its history."""
    spec = args.spec
    config, dataset = spec["config"], load(args.data)
    device = acquire_device()
    images, labels = training_set(dataset, config["data"], device)
    provenance = record("train", spec, [args.data], device_class(device))
    network = build(config, dataset.images.shape[1:], len(dataset.classes), spec["seed"])
    objective = Objective(
        loss=config["loss"],
        weight_decay=config["weight_decay"],
        feature_decay=config["feature_decay"],
        backbone_decay=config["backbone_decay"],
        samples=len(images),
    )
    with Checkpoints(Path(args.model).parent / "checkpoints", provenance) as checkpoints:
        result = train(
            network.to(device),
            images,
            labels,
            objective,
            config["training"],
            spec["seed"],
            checkpoints,
        )
        _write(args, result, provenance)
        checkpoints.remove()
    if result.diverged_epoch is not None:
        print(
            f"diverged in epoch {result.diverged_epoch}, at step {result.diverged_step}",
            file=sys.stderr,
        )


def _write(args: argparse.Namespace, result: TrainingResult, provenance: dict) -> None:
    attributes = {
        "status": result.status,
        "diverged_epoch": result.diverged_epoch,
        "diverged_step": result.diverged_step,
        "epochs": sorted(result.states),
    }
    tensors = {
        f"{epoch:06d}/{name}": array
        for epoch, state in result.states.items()
        for name, array in state.items()
    }
    write_tensors(args.model, tensors, provenance, attributes)
    write_table(args.history, result.history, provenance, attributes)
