"""Solve the problems of a group as one batch."""

import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import torch

from collapse.errors import InputError
from collapse.problems.base import Problem
from collapse.problems.decay_path import DecayPath, decay_path
from collapse.problems.parameters import Parameters
from collapse.problems.solvers import Report
from collapse.problems.trajectory import Trajectory
from collapse.procedures import Computed, JobContext, Runs, run_record
from collapse.progress import Progress
from collapse.upstream import Upstream


def compute(runs: Runs, upstream: Upstream, job: JobContext) -> Computed:
    """Solve the problems of a group as one batch."""
    configs = [run["config"] for run in runs]
    problem = _module("problems", configs[0]["problem"]).build(configs, job.device)
    start = _module("problems.starts", configs[0]["start"]).begin(problem, runs, upstream)
    fault = problem.start_fault(start)
    if fault is not None:
        raise InputError(f"{runs[fault[0]]['id']}: start: {fault[1]}")
    problem = problem.posed_at(start)
    _check(problem, start, len(runs))
    report = _reporter()
    paths = [decay_path(config) for config in configs] if configs[0].get("sweep") else []
    if paths:
        trajectory = _follow(problem, start, runs, paths, report, job.threads)
    else:
        trajectory = _solve(problem, start, configs, report, job.threads)
    return _computed(runs, trajectory, paths)


def _check(problem: Problem, start: Parameters, runs: int) -> None:
    """Refuse a problem whose objective is not one number for each run."""
    shape = tuple(problem.objective(start).shape)
    if shape != (runs,):
        raise InputError(f"objective: shape {shape} found, needed is ({runs},), a number a problem")


def _module(package: str, section: Mapping[str, Any]) -> ModuleType:
    return import_module(f"collapse.{package}.{section['kind']}")


def _solve(
    problem: Problem,
    start: Parameters,
    configs: Sequence[Mapping[str, Any]],
    report: Report,
    threads: int,
) -> Trajectory:
    """Let each optimiser start where the one before ended."""
    optimisers = [
        config["optimiser"] if isinstance(config["optimiser"], list) else [config["optimiser"]]
        for config in configs
    ]
    trajectory = None
    # Transposed: the first optimiser of all configs, then the second.
    for settings in zip(*optimisers, strict=True):
        solver = _module("problems.solvers", settings[0])
        part = solver.solve(problem, start, settings, report, threads)
        trajectory = part if trajectory is None else trajectory.then(part)
        # With a column per sample: each optimiser reduces the problem from its own start.
        start = part.state(-1)
    return trajectory


def _follow(
    problem: Problem,
    start: Parameters,
    runs: Runs,
    paths: list[DecayPath],
    report: Report,
    threads: int,
) -> Trajectory:
    """Follow each problem's path of decays."""
    settings = [run["config"]["optimiser"] for run in runs]
    decays = tuple(
        # Problems behind stages: (S, B, ...).
        torch.from_numpy(np.stack([getattr(path, name) for path in paths], 1)).to(problem.device)
        for name in ("weight_decay", "feature_decay")
    )
    return _module("problems.solvers", settings[0]).follow(
        problem, start, settings, decays, runs[0]["config"]["sweep"]["perturbation"],
        [run["seed"] for run in runs], report, threads,
    )  # fmt: skip


def _computed(runs: Runs, trajectory: Trajectory, paths: list[DecayPath]) -> Computed:
    arrays = {name: tensor.cpu().numpy() for name, tensor in trajectory.parameters.named.items()}
    basis = None if trajectory.basis is None else trajectory.basis.cpu().numpy()
    scalars = {
        name: getattr(trajectory, name).cpu().numpy() for name in ("objective", "gradient_norm")
    }
    tensors, run_records, frames = {}, [], []
    for index, (run, valid) in enumerate(zip(runs, trajectory.valid.tolist(), strict=True)):
        # After a divergence there is no state, and no row.
        records = [record for record, good in enumerate(valid) if good]
        steps = [trajectory.steps[record] for record in records]
        for record, step in zip(records, steps, strict=True):
            prefix = f"{run['id']}/{step:06d}/"
            tensors |= {prefix + name: array[index, record] for name, array in arrays.items()}
        if basis is not None:
            tensors[f"{run['id']}/basis"] = basis[index]
        diverged = int(trajectory.diverged_step[index])
        if diverged >= 0:
            print(f"{run['id']}: diverged at step {diverged}")
        run_records.append(run_record(run, steps, None if diverged < 0 else diverged))
        columns = {name: values[index, records] for name, values in scalars.items()}
        if trajectory.times is not None:
            columns["time"] = trajectory.times.numpy()[records]
        if paths:
            columns["scaled_decay"] = paths[index].scaled_decay[records]
        frames.append(pd.DataFrame({**run["keys"], "step": steps, **columns}))
    return Computed(tensors, run_records, pd.concat(frames, ignore_index=True))


def _reporter() -> Report:
    """Return what solvers tell how far they are; each kind of step is timed by itself."""
    begun, current = time.monotonic(), None

    def report(done: int, total: int, unit: str, **values: float) -> None:
        nonlocal begun, current
        if current is None or (current.total, current.unit) != (total, unit):
            current = Progress(total, unit=unit, since=begun)
        current.update(done, **values)
        begun = time.monotonic()

    return report
