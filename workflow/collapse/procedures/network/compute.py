"""Train the networks of a group side by side."""

import sys
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from collapse.data.dataset import Dataset
from collapse.models.network import build
from collapse.procedures import Computed, JobContext, Runs, run_record
from collapse.training.checkpoints import Checkpoints
from collapse.training.ensemble import Ensemble
from collapse.training.objective import Objective
from collapse.training.samples import Samples, training_set
from collapse.training.supervised import SupervisedLearner
from collapse.training.trainer import Trainer, TrainingResult, train
from collapse.upstream import Upstream

# What networks of one shape may differ in.
DECAYS = ("weight_decay", "feature_decay", "backbone_decay")


def compute(runs: Runs, upstream: Upstream, job: JobContext) -> Computed:
    """Train the networks of a group; a killed training continues from its checkpoints."""
    # The device before the data: who waits for one holds none.
    device, dataset = job.device, upstream.data_set()
    samples, targets = training_set(dataset, runs[0]["config"]["data"], device)
    groups = _of_one_shape(runs, job.settings["stacked"])
    trainer = Trainer([prepare(group, dataset, samples, targets) for group in groups])
    results = iter(train(trainer, checkpoints_of(trainer, job)))
    by_run = {run["id"]: next(results) for group in groups for run in group}
    return computed(runs, [by_run[run["id"]] for run in runs])


def _of_one_shape(runs: Runs, stacked: bool) -> list[Runs]:
    """Split runs into those whose networks can be stacked: they differ in decays and seed only."""
    groups: dict[str, list] = {}
    for run in runs:
        rest = {key: value for key, value in run["config"].items() if key not in DECAYS}
        # By their text: configs hold lists, which cannot be keys.
        groups.setdefault(repr(rest) if stacked else run["id"], []).append(run)
    return list(groups.values())


def checkpoints_of(trainer: Trainer, job: JobContext) -> Checkpoints:
    """Return the job's folder of checkpoints, held until the job has written its results."""
    # Compiled code may round otherwise: the results say so.
    if trainer.compiled:
        job.compiled()
    # Of the provenance as it is now, with the device and whether the step is compiled.
    checkpoints = Checkpoints(job.folder / "checkpoints", job.provenance)
    job.hold(checkpoints, when_written=checkpoints.remove)
    return checkpoints


def prepare(
    runs: Runs, dataset: Dataset, samples: Samples, targets: torch.Tensor
) -> SupervisedLearner:
    """Return what trains new networks, one for each run, all of one shape, on samples on a device.

    Of a run its ``config`` and ``seed`` are looked at.
    """
    configs, seeds = [run["config"] for run in runs], [run["seed"] for run in runs]
    shared, outputs = configs[0], len(dataset.outputs)
    # Initialised on the CPU: the start is the same on every device.
    networks = [build(shared, samples.shape, outputs, seed).to(targets.device) for seed in seeds]
    depth = shared["head"]["depth"]
    objective = Objective(
        loss=shared["loss"],
        # One number stands for all layers; the networks of a group may differ in it.
        weight_decay=[
            np.broadcast_to(config["weight_decay"], depth).tolist() for config in configs
        ],
        # Of a regression it penalises the mean over samples (Andriopoulos et al. 2024).
        feature_decay=[
            config["feature_decay"] / (len(samples) if dataset.regression else 1)
            for config in configs
        ],
        backbone_decay=[config["backbone_decay"] for config in configs],
        decayed=shared["decayed"],
        samples=len(samples),
    )
    ensemble = Ensemble(networks)
    return SupervisedLearner(
        ensemble, samples, targets, objective, shared["training"], seeds, shared["input"]
    )


def computed(runs: Runs, results: Sequence[TrainingResult]) -> Computed:
    """Return what trainings leave behind, one result for each run."""
    tensors, run_records, frames = {}, [], []
    for run, result in zip(runs, results, strict=True):
        if result.diverged_epoch is not None:
            print(
                f"{run['id']}: diverged in epoch {result.diverged_epoch}, "
                f"at step {result.diverged_step}",
                file=sys.stderr,
            )
        steps, epoch, batch = sorted(result.states), result.diverged_epoch, result.diverged_step
        precision = run["config"]["training"]["precision"]
        run_records.append(run_record(run, steps, epoch, diverged_batch=batch, precision=precision))
        frames.append(result.history.assign(**run["keys"]))
        tensors |= {
            f"{run['id']}/{epoch:06d}/{name}": array
            for epoch, state in result.states.items()
            for name, array in state.items()
        }
    # The keys first, as in every table of the experiment.
    columns = [*runs[0]["keys"], *results[0].history.columns]
    return Computed(tensors, run_records, pd.concat(frames, ignore_index=True)[columns])
