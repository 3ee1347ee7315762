"""Moving picture: mixed features of three classes form channels between theirs."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from collapse.studies import Results
from collapse.studies.moving import DIAGONAL, Layer, Scene, along_diagonal
from collapse.studies.moving_classes import SHOWN
from collapse.theory.mixup import coordinates

_MIXES = np.linspace(0, 1, 81)


def scene(states: Sequence[Mapping[str, np.ndarray]], run: Results) -> Scene:
    """Return what moves."""
    columns = run.points("mixed_columns")
    pairs = columns[["first", "second"]].to_numpy(int)
    mixed = pairs[:, 0] != pairs[:, 1]
    view = along_diagonal(states[-1]["H"][:, ~mixed].T[:SHOWN])
    seen = (pairs < SHOWN).all(1)
    features = np.stack([(view @ state["H"]).T for state in states])
    # Classes have the first colours, pairs of two the next.
    colours = pairs[:, 0] + np.where(mixed, SHOWN - 1 + pairs[:, 1], 0)
    layers = [
        Layer("pairs of two classes", features[:, seen & mixed], colours[seen & mixed]),
        Layer("pairs of one class", features[:, seen & ~mixed], colours[seen & ~mixed]),
    ]
    if "W1" in states[-1]:
        rows = np.stack([state["W1"][:SHOWN] @ view.T for state in states])
        layers.append(Layer("rows of W", rows, np.arange(rows.shape[1]), rays=True))
    return Scene(tuple(layers), _channels(run), "closed form for every lambda")


def _channels(run: Results) -> tuple[np.ndarray, ...]:
    """Return theory's features of each pair, a curve over lambda, where it has a norm of W."""
    problem, norms = run.config["problem"], run.predicted("classifier_norm")["value"]
    classes = problem["classes"]
    if norms.empty:
        return ()
    norm = float(norms.iloc[0])
    u, v = coordinates(classes, norm, run.config["feature_decay"], _MIXES, problem["loss"])
    # The rows of a simplex ETF are shorter than the axes that they are cut from, and W W^T has the
    # eigenvalue norm^2 K/(K - 1).
    rows = norm * DIAGONAL.T / np.sqrt(1 - 1 / classes)
    inverse = (1 - 1 / classes) / norm**2
    curves = combinations(rows[: min(SHOWN, classes)], 2)
    return tuple(inverse * (np.outer(u, first) + np.outer(v, second)) for first, second in curves)
