"""Moving picture: class means of frequent words beside the head's rows of the same words."""

from collections.abc import Mapping, Sequence

import numpy as np

from collapse.studies import Results
from collapse.studies.moving import Cells, Scene, blocks


def scene(states: Sequence[Mapping[str, np.ndarray]], run: Results) -> Scene:
    """Return what moves: cosines of the head's rows and class means of the most frequent words."""
    points = run.points("duality").sort_values(["step", "row", "column"])
    first = points[(points["step"] == points["step"].min()) & (points["column"] == 0)]
    count = len(first)
    return Scene(
        theory=blocks(np.arange(count)),
        theory_name="one word: 1 at collapse, others -1/(K-1)",
        cells=Cells(
            "cosine",
            points["value"].to_numpy().reshape(-1, count, count),
            tuple(name if name.strip() else repr(name) for name in first["row_name"]),
        ),
    )
