"""Measure."""

import pandas as pd
import torch
from collapse.procedures.power_toy import matrix_of

from collapse.procedures import Measured


def measure(runs, states, upstream, job):
    matrix = matrix_of(upstream)
    for run in runs:
        rows, points, features = [], [], {}
        for step in states.run(run["id"])["steps"]:
            vector = states.at(run["id"], step)["x"]
            rows.append((step, "x", "rayleigh", float(vector @ matrix @ vector)))
            entries = pd.DataFrame({"layer": "x", "entry": range(len(vector)), "value": vector})
            points.append(entries.assign(step=step, probe="vector"))
            features[f"{run['id']}/{step:06d}/x"] = torch.from_numpy(vector)
        yield Measured(rows, points, features)
