"""What corpora of every origin share: tokens by their frequency, and a sample for each position."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

UNSEEN = "<unseen>"
"""Stands for all tokens that only occur where they are held out."""


def numbered(train: Sequence[str], test: Sequence[str]) -> tuple[list[str], list[NDArray]]:
    """Return the vocabulary and the numbers of both parts' tokens, int64.

    Tokens are numbered by how often they occur in `train`, the most frequent first, equals by
    their text; `UNSEEN` comes last where there is any.
    """
    counts = Counter(train)
    names = sorted(counts, key=lambda token: (-counts[token], token))
    if not counts.keys() >= set(test):
        names.append(UNSEEN)
    places = {name: place for place, name in enumerate(names)}
    last = places.get(UNSEEN, 0)
    return names, [
        np.array([places.get(token, last) for token in part], dtype=np.int64)
        for part in (train, test)
    ]


def positions(train: NDArray, test: NDArray) -> dict[str, NDArray]:
    """Return the arrays of a data set whose samples are the positions of two texts, in order.

    The input at a position is its token, N x 1 x 1 x 1, int32, the label the token behind it. Both
    texts have two tokens or more.
    """
    arrays = {}
    for part, tokens in (("train", train), ("test", test)):
        arrays[f"{part}_inputs"] = tokens[:-1].astype(np.int32)[:, None, None, None]
        arrays[f"{part}_labels"] = tokens[1:].astype(np.int64)
    return arrays


def attributes(names: Sequence[str]) -> dict[str, object]:
    """Return what is said of such a data set; the numbers of tokens mean nothing, so no scale."""
    return {"classes": list(names), "maximum": 1, "mean": [0.0], "std": [1.0]}
