"""A data frame as R saves it, the format of Shuttle."""

import io
import math
import warnings
from collections.abc import Mapping

import numpy as np

from collapse.data.formats import SourceError, Split, times
from collapse.data.kinds.files import Files


def read(wanted: Files, files: Mapping[str, bytes]) -> tuple[Split, Split]:
    """Read a factor, the labels, and whole numbers; training samples come first."""
    # Slow to import, and the workflow's driver loads this module to plan.
    import rdata

    ((name, content),) = files.items()
    try:
        # It only warns of content that it takes for something else.
        with warnings.catch_warnings(action="error", category=UserWarning):
            (frame,) = rdata.read_rda(io.BytesIO(content), default_encoding="ascii").values()
        factor = frame.select_dtypes("category")
        labels = factor.squeeze(axis=1).cat.codes.to_numpy()
        table = frame.drop(columns=factor.columns).to_numpy(np.float64)
    except Exception as error:  # rdata does not say which errors damage leads to
        raise SourceError(
            f"{name}: not R's data frame of numbers and a factor ({error!r})"
        ) from None
    expected = (wanted.train_count + wanted.test_count, math.prod(wanted.image_shape))
    if table.shape != expected:
        raise SourceError(f"{name}: holds {times(table.shape)} values, not {times(expected)}")
    # NaN or a number out of range warns when it is rounded; the comparison then refuses it.
    with np.errstate(invalid="ignore"):
        rounded = table.astype(np.int16)
    if (rounded != table).any():
        raise SourceError(f"{name}: holds values that are not whole numbers of 16 bits")
    images = rounded.reshape(-1, *wanted.image_shape)
    train, test = slice(wanted.train_count), slice(wanted.train_count, None)
    return (images[train], labels[train]), (images[test], labels[test])
