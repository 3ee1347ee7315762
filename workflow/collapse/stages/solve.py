"""Solve a shape group of problems over free features as one batch, and measure the states.

The states at the recorded steps (or at the end of each stage of a sweep) are written as
tensors with a leading run axis B and a record axis S: ``H`` (B, S, d_1, C), ``W1`` to ``WM``,
``bias``, ``objective`` and ``gradient_norm`` (B, S), ``steps`` (S), ``diverged_step`` (B, -1 for
none), ``scaled_decay`` (B, S) of a sweep and, where the solver reduced the samples,
``basis`` (B, C, N) with features H @ basis.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
import torch

from collapse import grid
from collapse.artifacts import write_table, write_tensors
from collapse.metrics.layers import Row
from collapse.problems import solver
from collapse.provenance import record
from collapse.schedule import log_spaced
from collapse.stages.readings import State, rows_of
from collapse.theory.deep_linear import scaled_decay
from collapse.training.device import acquire_device, device_class

Path = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Weight decays (S, B, M), feature decays (S, B) and scaled decays (S, B) of a sweep."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the stage's arguments."""
    parser.add_argument("--states", required=True, metavar="FILE", help="safetensors to write")
    parser.add_argument("--metrics", required=True, metavar="FILE", help="parquet to write")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="CPU cores to use")


def run(args: argparse.Namespace) -> None:
    """Solve the group; write its states and their metrics."""
    runs = grid.expand(args.spec)
    configs = [each["config"] for each in runs]
    device = acquire_device()
    # The number of threads changes the last bits: the same bytes on every machine need one.
    torch.set_num_threads(1)
    module = import_module(f"collapse.problems.{configs[0]['problem']['kind']}")
    problem = module.build(configs, device)
    scales = torch.tensor(
        [config["problem"]["init_scale"] for config in configs], dtype=torch.float64
    )
    start = problem.initial([each["seed"] for each in runs], scales)
    path = _decay_path(configs)
    trajectory = _minimise(problem, start, runs, path, _progress(len(runs)), args.threads)
    diverged = trajectory.diverged_step.tolist()
    for each, step in zip(runs, diverged, strict=True):
        if step >= 0:
            print(f"{each['id']}: diverged at step {step}")
    provenance = record("solve", args.spec, device=device_class(device))
    arrays = _arrays(trajectory)
    if path is not None:
        arrays["scaled_decay"] = path[2].T.copy()
    attributes = {
        "runs": [each["keys"] for each in runs],
        "status": ["completed" if step < 0 else "diverged" for step in diverged],
    }
    write_tensors(args.states, arrays, provenance, attributes)
    readings = _readings(trajectory, module.answers(configs[0]), configs, path)
    frames = [
        pd.DataFrame(rows, columns=["step", "layer", "metric", "value"]).assign(**each["keys"])
        for each, rows in zip(runs, readings, strict=True)
    ]
    write_table(args.metrics, pd.concat(frames, ignore_index=True), provenance)


def _readings(
    trajectory: solver.Trajectory,
    answers: torch.Tensor,
    configs: list[dict[str, Any]],
    path: Path | None,
) -> Iterator[list[Row]]:
    """Yield the rows of each problem, up to where it diverged."""
    states = [
        trajectory.state(index).map(lambda tensor: tensor.cpu())
        for index in range(len(trajectory.steps))
    ]
    scalars = {"objective": trajectory.objective, "gradient_norm": trajectory.gradient_norm}
    if path is not None:
        scalars["scaled_decay"] = path[2].T
    for problem, valid in enumerate(trajectory.valid.tolist()):
        kept = [index for index, good in enumerate(valid) if good]
        rows: list[Row] = []
        for index in kept:
            step, state = trajectory.steps[index], states[index]
            own = State(
                features=state.features[problem].T.contiguous(),
                weights=[weight[problem] for weight in state.weights],
                bias=None if state.bias is None else state.bias[problem],
            )
            config = _config_at(configs[problem], path, index, problem)
            rows += rows_of(step, own, answers, config, last=index == kept[-1])
            rows += [
                (step, "all", name, float(values[problem, index]))
                for name, values in scalars.items()
            ]
        diverged = int(trajectory.diverged_step[problem])
        yield rows + ([(diverged, "all", "diverged", 1.0)] if diverged >= 0 else [])


def _config_at(
    config: dict[str, Any], path: Path | None, stage: int, problem: int
) -> dict[str, Any]:
    """Return a problem's config under the decays of a stage of its sweep."""
    if path is None:
        return config
    weights, features = path[0][stage, problem].tolist(), float(path[1][stage, problem])
    return config | {"weight_decay": weights, "feature_decay": features}


def _minimise(problem, start, runs, path, on_progress, threads) -> solver.Trajectory:
    optimiser = runs[0]["config"]["optimiser"]
    if optimiser["kind"] == "lbfgs":
        return solver.lbfgs(problem, start, optimiser["tolerance"], optimiser["steps"])
    rates = torch.tensor(
        [each["config"]["optimiser"]["learning_rate"] for each in runs],
        dtype=problem.targets.dtype,
        device=problem.targets.device,
    )
    steps, momentum = optimiser["steps"], optimiser["momentum"]
    if path is None:
        schedule = log_spaced(steps, optimiser["record"])
        return solver.gradient_descent(
            problem, start, rates, momentum, steps, schedule, on_progress, threads
        )
    return solver.sweep(
        problem,
        start,
        torch.from_numpy(path[0]).to(rates.device),
        torch.from_numpy(path[1]).to(rates.device),
        rates,
        momentum,
        steps,
        runs[0]["config"]["sweep"]["perturbation"],
        [each["seed"] for each in runs],
        on_progress,
        threads,
    )


def _decay_path(configs: list[dict[str, Any]]) -> Path | None:
    """Return weight decays (S, B, M), feature decays (S, B) and scaled decays (S, B) of a sweep.

    All M + 1 decays are scaled by one factor f; b/n is proportional to f^((M+1)/M).
    """
    if configs[0]["sweep"] is None:
        return None
    weights, features, targets = [], [], []
    for config in configs:
        depth, sizes = config["problem"]["depth"], config["problem"]["class_sizes"]
        ratio = np.broadcast_to(config["weight_decay"], depth).astype(float)
        now = scaled_decay(max(sizes), sum(sizes), ratio, config["feature_decay"])
        target = np.sort(config["sweep"]["scaled_decay"])
        target = target if config["sweep"]["direction"] == "up" else target[::-1]
        factor = (target / now) ** (depth / (depth + 1))
        weights.append(factor[:, None] * ratio)
        features.append(factor * config["feature_decay"])
        targets.append(target)
    return np.stack(weights, 1), np.stack(features, 1), np.stack(targets, 1)


def _arrays(trajectory: solver.Trajectory) -> dict[str, np.ndarray]:
    parameters = trajectory.parameters
    tensors = {f"W{m}": weight for m, weight in enumerate(parameters.weights, 1)}
    tensors |= {
        "H": parameters.features,
        "objective": trajectory.objective,
        "gradient_norm": trajectory.gradient_norm,
        "diverged_step": trajectory.diverged_step,
    }
    optional = {"bias": parameters.bias, "basis": trajectory.basis}
    tensors |= {name: tensor for name, tensor in optional.items() if tensor is not None}
    arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
    return arrays | {"steps": np.array(trajectory.steps, dtype=np.int64)}


def _progress(runs: int, every: float = 5.0) -> Callable[[int], None]:
    """Return a callback that prints the step now and then."""
    state = {"next": time.monotonic() + every}

    def report(step: int) -> None:
        if time.monotonic() >= state["next"]:
            print(f"{runs} runs at step {step}", flush=True)
            state["next"] = time.monotonic() + every

    return report
