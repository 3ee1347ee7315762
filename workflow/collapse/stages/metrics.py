"""Compute the metrics of a network run from its features, epoch by epoch."""

import argparse

import numpy as np
import pandas as pd
import torch

from collapse.artifacts import read_tensors, write_table
from collapse.metrics.layers import Row, at_step, gram_readings, head_readings
from collapse.provenance import record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the stage's arguments."""
    parser.add_argument("--features", required=True, metavar="FILE", help="features to read")
    parser.add_argument("--out", required=True, metavar="FILE", help="table to write (parquet)")


def run(args: argparse.Namespace) -> None:
    """Write the metrics, one row per epoch, layer and metric."""
    tensors, attributes = read_tensors(args.features)
    rows = [row for epoch in attributes["epochs"] for row in _rows(tensors, epoch)]
    if attributes["epochs"]:
        rows += _last(tensors, attributes["epochs"][-1])
    if attributes["status"] == "diverged":
        rows.append((attributes["diverged_epoch"], "all", "diverged", 1.0))
    frame = pd.DataFrame(rows, columns=["step", "layer", "metric", "value"])
    frame = frame.assign(**args.spec["keys"])
    write_table(args.out, frame, record("metrics", args.spec, [args.features]))


def _rows(tensors: dict[str, np.ndarray], epoch: int) -> list[Row]:
    state = {
        name.split("/", 1)[1]: torch.from_numpy(array)
        for name, array in tensors.items()
        if name.startswith(f"{epoch:06d}/")
    }
    depth = sum(name.startswith("W") for name in state)
    weights = [state[f"W{m}"] for m in range(1, depth + 1)]
    labels = torch.from_numpy(tensors["labels"])
    return at_step(epoch, head_readings(state["H1"], labels, weights, state.get("bias")))


def _last(tensors: dict[str, np.ndarray], epoch: int) -> list[Row]:
    labels = torch.from_numpy(tensors["labels"])
    features = torch.from_numpy(tensors[f"{epoch:06d}/H1"])
    return at_step(epoch, gram_readings(features, labels, int(labels.max()) + 1))
