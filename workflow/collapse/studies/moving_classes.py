"""Moving pictures of features by class: samples and class means that go to their frame."""

from collections.abc import Mapping, Sequence

import numpy as np

from collapse.studies import Results
from collapse.studies.moving import DIAGONAL, Layer, Scene, along_diagonal, means, ray

SHOWN = 3
"""Classes that a picture shows, the first: as many as there are axes along a diagonal."""

PROJECTION = (
    "Each class has a colour of its own. All frames are projected alike, linearly, onto the plane "
    "that shows the three orthonormal "
    "axes nearest to the last recorded class means along their diagonal: there vectors of an "
    "orthogonal frame or of a simplex ETF are 120 degrees apart, and what lies outside of the "
    "plane is not seen."
)
"""How these pictures come to be, in a caption."""


def of_class_sizes(
    states: Sequence[Mapping[str, np.ndarray]], run: Results, frame: str, centred: bool = False
) -> Scene:
    """Return the scene of a problem of ``class_sizes`` whose closed form has norms of class means.

    Other arguments are as in `scene`.
    """
    sizes = run.config["problem"]["class_sizes"]
    squares = run.predictions.set_index("metric")["value"]
    names = [f"feature_norms_squared[{k}]" for k in range(len(sizes))]
    # Of some losses and heads theory says nothing of the kind.
    known = set(names) <= set(squares.index)
    lengths = np.sqrt(squares[names].to_numpy()) if known else None
    return scene(states, np.repeat(np.arange(len(sizes)), sizes), lengths, frame, centred)


def scene(
    states: Sequence[Mapping[str, np.ndarray]],
    labels: np.ndarray,
    lengths: np.ndarray | None,
    frame: str,
    centred: bool = False,
) -> Scene:
    """Return samples and class means, seen along the diagonal of the last class means.

    Parameters
    ----------
    states
        With features ``H``, d x N.
    labels
        The class of each column.
    lengths
        Norms of theory's class means, those shown first; None where theory gives none.
    frame
        What these are.
    centred
        Whether the mean of all class means is taken off at every step, as of a simplex ETF.
    """
    classes = labels.max() + 1
    shown = min(SHOWN, classes)
    features = [state["H"] for state in states]
    if centred:
        centres = [means(h, labels, classes).mean(0)[:, None] for h in features]
        features = [h - centre for h, centre in zip(features, centres, strict=True)]
    view = along_diagonal(means(features[-1], labels, shown))
    columns = labels < shown
    layers = (
        Layer("samples", np.stack([(view @ h[:, columns]).T for h in features]), labels[columns]),
        Layer(
            "class means",
            np.stack([means(h, labels, shown) @ view.T for h in features]),
            np.arange(shown),
            rays=True,
        ),
    )
    if lengths is None:
        return Scene(layers)
    # Of an ETF of K vectors, which are shorter than the axes that they are cut from.
    stretch = 1 / np.sqrt(1 - 1 / classes) if centred else 1.0
    tips = stretch * lengths[:shown, None] * DIAGONAL.T[:shown]
    return Scene(layers, tuple(map(ray, tips)), frame)
