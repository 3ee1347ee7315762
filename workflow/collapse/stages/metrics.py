"""Compute the metrics of a network run, or of every run of a shape group, step by step."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from collapse.artifacts import read_tensors, write_table
from collapse.metrics.layers import Reading, gram_readings, head_readings
from collapse.provenance import record as provenance_of

Row = tuple[int, str, str, float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the stage's arguments."""
    parser.add_argument("--input", required=True, metavar="FILE", help="features or states")
    parser.add_argument("--out", required=True, metavar="FILE", help="table to write (parquet)")


def run(args: argparse.Namespace) -> None:
    """Write the metrics, one row per run, step, layer and metric."""
    tensors, attributes = read_tensors(args.input)
    if Path(args.input).name == "states.safetensors":
        runs = zip(attributes["runs"], _problem_rows(tensors, args.spec["config"]), strict=True)
    else:
        runs = [(args.spec["keys"], _network_rows(tensors, attributes))]
    frames = [
        pd.DataFrame(rows, columns=["step", "layer", "metric", "value"]).assign(**keys)
        for keys, rows in runs
    ]
    write_table(
        args.out,
        pd.concat(frames, ignore_index=True),
        provenance_of("metrics", args.spec, [args.input]),
    )


def _problem_rows(tensors: dict[str, np.ndarray], config: dict[str, Any]) -> Iterator[list[Row]]:
    """Yield the rows of each problem of a batch."""
    sizes = torch.tensor(config["problem"]["class_sizes"])
    labels = torch.repeat_interleave(sizes)
    depth = config["problem"]["depth"]
    for index, diverged in enumerate(tensors["diverged_step"].tolist()):
        kept = [
            (record, step)
            for record, step in enumerate(tensors["steps"].tolist())
            if diverged < 0 or step < diverged
        ]
        rows = []
        for record, step in kept:
            state = {
                name: torch.from_numpy(tensors[name][index, record])
                for name in ["H", "bias", *(f"W{m}" for m in range(1, depth + 1))]
                if name in tensors
            }
            if "basis" in tensors:
                state["H"] = state["H"] @ torch.from_numpy(tensors["basis"][index])
            weights = [state[f"W{m}"] for m in range(1, depth + 1)]
            features = state["H"].T.contiguous()
            last = (record, step) == kept[-1]
            rows += _at(step, _readings(features, labels, weights, state.get("bias"), last))
            rows += [
                (step, "all", name, float(tensors[name][index, record]))
                for name in ("objective", "gradient_norm", "scaled_decay")
                if name in tensors
            ]
        yield rows + ([(diverged, "all", "diverged", 1.0)] if diverged >= 0 else [])


def _network_rows(tensors: dict[str, np.ndarray], attributes: dict[str, Any]) -> list[Row]:
    """Return the rows of a network run."""
    labels = torch.from_numpy(tensors["labels"])
    rows = []
    for epoch in attributes["epochs"]:
        state = {
            name.split("/", 1)[1]: torch.from_numpy(array)
            for name, array in tensors.items()
            if name.startswith(f"{epoch:06d}/")
        }
        depth = sum(name.startswith("W") for name in state)
        weights = [state[f"W{m}"] for m in range(1, depth + 1)]
        last = epoch == attributes["epochs"][-1]
        rows += _at(epoch, _readings(state["H1"], labels, weights, state.get("bias"), last))
    if attributes["status"] == "diverged":
        rows.append((attributes["diverged_epoch"], "all", "diverged", 1.0))
    return rows


def _readings(features, labels, weights, bias, last: bool) -> Iterator[Reading]:
    yield from head_readings(features, labels, weights, bias)
    if last:
        yield from gram_readings(features, labels, len(weights[-1]))


def _at(step: int, readings: Iterator[Reading]) -> list[Row]:
    return [(step, layer, metric, value) for layer, metric, value in readings]
