"""Iterate."""

import numpy as np
import pandas as pd
from collapse.procedures.power_toy import matrix_of

from collapse.procedures import Computed


def compute(runs, upstream, job):
    matrix = matrix_of(upstream)
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
