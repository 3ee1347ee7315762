"""The table of scikit-learn's digits, which have no official split."""

import io
import math
from collections.abc import Mapping

import numpy as np

from collapse.data.formats import SourceError, Split, times
from collapse.data.kinds.files import Files


def read(wanted: Files, files: Mapping[str, bytes]) -> tuple[Split, Split]:
    """Read 64 pixels and a label per line; every fifth image of each class is for testing."""
    ((name, content),) = files.items()
    columns = math.prod(wanted.image_shape) + 1
    try:
        rows = np.loadtxt(io.BytesIO(content), delimiter=",", ndmin=2)
    except ValueError as error:
        raise SourceError(f"{name}: not a table of numbers ({error})") from None
    expected = (wanted.train_count + wanted.test_count, columns)
    if rows.shape != expected:
        raise SourceError(f"{name}: holds {times(rows.shape)} values, not {times(expected)}")
    rows = rows.astype(np.uint8)
    images, labels = rows[:, :-1].reshape(-1, *wanted.image_shape), rows[:, -1]
    # The place of each image among those of its class.
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rank[labels == label] = np.arange(np.count_nonzero(labels == label))
    test = rank % 5 == 4
    return (images[~test], labels[~test]), (images[test], labels[test])
