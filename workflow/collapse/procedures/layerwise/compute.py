"""Train the hidden layers of a network, one after the other."""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from collapse.data.dataset import Dataset
from collapse.models.network import build
from collapse.models.states import set_arrays
from collapse.procedures import Computed, JobContext, Runs, run_record
from collapse.procedures.layerwise.stages import stage_configs
from collapse.procedures.network.compute import checkpoints_of, prepare
from collapse.training.extract import extract
from collapse.training.samples import Samples, training_set
from collapse.training.trainer import Trainer, train
from collapse.upstream import Upstream


def compute(runs: Runs, upstream: Upstream, job: JobContext) -> Computed:
    """Train each layer of a run on the features of those before it.

    A killed training continues from the checkpoints of the layer that it was at.
    """
    # Frozen features differ from seed to seed: each run is a job of its own.
    (run,) = runs
    # The device before the data: who waits for one holds none.
    device, dataset = job.device, upstream.data_set()
    samples, targets = training_set(dataset, run["config"]["data"], device)
    configs = stage_configs(run["config"])
    tensors, histories, steps, diverged, checkpoints = {}, [], [], None, None
    for step, config in enumerate(configs, 1):
        print(f"hidden layer {step} of {len(configs)}", file=sys.stderr, flush=True)
        # Of a layer its last epoch is what remains.
        config["training"] = {**run["config"]["training"], "record": 1}
        layer = {"config": config, "seed": _seed_of(run["seed"], step)}
        trainer = Trainer([prepare([layer], dataset, samples, targets)])
        # Of the first: all layers take as many steps, and are compiled or not together.
        checkpoints = checkpoints or checkpoints_of(trainer, job)
        (result,) = train(trainer, checkpoints.part(f"layer-{step:06d}"), keep_end=True)
        histories.append(result.history.assign(stage=step, **run["keys"]))
        if result.diverged_epoch is not None:
            print(
                f"{run['id']}: layer {step} diverged in epoch {result.diverged_epoch}",
                file=sys.stderr,
            )
            diverged = step
            break
        steps.append(step)
        state = result.states[max(result.states)]
        tensors |= {f"{run['id']}/{step:06d}/{name}": array for name, array in state.items()}
        samples = Samples.of_features(_features(config, dataset, samples, state))
    history = pd.concat(histories, ignore_index=True)
    # The keys first, as in every table of the experiment.
    first = [*run["keys"], "stage"]
    history = history[[*first, *history.columns.drop(first)]]
    return Computed(tensors, [run_record(run, steps, diverged)], history)


def _features(
    config: Mapping[str, Any], dataset: Dataset, samples: Samples, state: Mapping[str, np.ndarray]
) -> torch.Tensor:
    """Return the features, N x d, that a layer's recorded state makes of its inputs."""
    network = build(config, samples.shape, len(dataset.outputs), seed=0)
    set_arrays(network.state_dict(), state)
    return extract(network.to(samples.pixels.device), samples)["H1"]


def _seed_of(seed: int, step: int) -> int:
    """Return a seed for each layer: layers of one shape would start as copies of each other."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])
