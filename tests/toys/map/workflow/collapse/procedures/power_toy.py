"""Power iteration on the covariance of the targets of a data set."""

import numpy as np
import pandas as pd
import torch

from collapse.procedures import Computed, Measured


def _matrix(upstream):
    return np.cov(upstream.data_set().targets.T, ddof=0)


def compute(runs, upstream, job):
    matrix = _matrix(upstream)
    tensors, told, frames = {}, [], []
    for run in runs:
        start = upstream.last_state(run["id"], "of")["W1"].ravel()[: len(matrix)] + run["seed"]
        vectors = [start / np.linalg.norm(start)]
        for _ in range(run["config"]["steps"]):
            image = (matrix - run["config"]["shift"] * np.eye(len(matrix))) @ vectors[-1]
            vectors.append(image / np.linalg.norm(image))
        steps = [0, run["config"]["steps"]]
        tensors |= {f"{run['id']}/{step:06d}/x": vectors[step] for step in steps}
        told.append({k: run[k] for k in ("id", "keys")} | {"steps": steps, "status": "completed"})
        moved = [np.linalg.norm(b - a) for a, b in zip(vectors, vectors[1:], strict=False)]
        frames.append(pd.DataFrame({**run["keys"], "step": range(len(moved)), "moved": moved}))
    return Computed(tensors, told, pd.concat(frames))


def measure(runs, states, upstream, job):
    matrix = _matrix(upstream)
    for run in runs:
        rows, points, features = [], [], {}
        for step in states.run(run["id"])["steps"]:
            vector = states.at(run["id"], step)["x"]
            rows.append((step, "x", "rayleigh", float(vector @ matrix @ vector)))
            entries = pd.DataFrame({"layer": "x", "entry": range(len(vector)), "value": vector})
            points.append(entries.assign(step=step, probe="vector"))
            features[f"{run['id']}/{step:06d}/x"] = torch.from_numpy(vector)
        yield Measured(rows, points, features)
