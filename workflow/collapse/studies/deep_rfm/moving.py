"""Moving picture: cosines between samples, which become blocks of classes layer by layer."""

from collections.abc import Mapping, Sequence

import numpy as np

from collapse.studies import Results
from collapse.studies.deep_rfm.layers import symmetric
from collapse.studies.moving import Cells, Scene, blocks


def scene(states: Sequence[Mapping[str, np.ndarray]], run: Results) -> Scene:
    """Return what moves: cosines between the inputs of each layer."""
    points = run.points("gram")
    layers = [rows for _, rows in points[points["layer"] == "X"].groupby("step")]
    diagonal = layers[-1][layers[-1]["row"] == layers[-1]["column"]].sort_values("row")
    return Scene(
        theory=blocks(diagonal["row_class"].to_numpy()),
        theory_name="pairs of one class: 1 at collapse, others -1/(K-1)",
        cells=Cells("cosine", np.stack([symmetric(rows) for rows in layers])),
    )
