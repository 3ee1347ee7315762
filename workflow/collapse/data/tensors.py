"""What every maker of data sets returns."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Tensors:
    """A verified data set: its arrays and what is known of them.

    Attributes
    ----------
    arrays
        Of labelled samples ``train_inputs`` and ``test_inputs`` (N x C x H x W, uint8; N x F x 1 x
        1, int16 or float64, for a table of F inputs), ``train_labels`` and ``test_labels`` (N,
        int64), in the order of the official files; where the law that made them is known
        ``test_surprisal``, N, float64. Of a corpus, whose samples are its positions in order,
        inputs are tokens, N x 1 x 1 x 1, int32, and labels the tokens behind them. Of a regression
        ``train_inputs`` (M x F), ``train_targets`` (M x n) and the same of ``test_``, float64.
    attributes
        ``name`` and ``source``, where it comes from. Of labelled samples ``classes``, ``maximum``
        (the pixel value that stands for 1), ``mean`` and ``std`` of the training pixels per
        channel in units of `maximum` (ddof 0); of a regression the names of ``inputs`` and
        ``targets``. Official files add their ``sha256``, decompressed, demonstrations the digest
        of their ``policy`` and the ``mean_return`` of whole episodes.
    """

    arrays: dict[str, np.ndarray]
    attributes: dict[str, Any]
