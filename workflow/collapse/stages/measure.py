"""Print every applicable metric of dumped features as JSON.

FILE is a safetensors file, read in blocks of rows; nothing is written. Its tensors:

  features  N x d        float16, bfloat16, float32 or float64
  labels    N            integers 0 to K-1, at least two samples of every class;
                         K is the rows of weight, else the largest label + 1
  targets   N x n        floats that vary, for regression; either labels or targets
  weight    K x d (n x d)  of the linear classifier (head), optional
  bias      K (n)        beside a weight, optional

Other tensors are ignored. mu_k are the class means, mu_G is the mean over all samples; S_W
averages over samples, S_B over classes. Keys with labels:

  NC1             (1/K) tr(S_W S_B^+)
  NC1_ratio       tr S_W / tr S_B
  CDNV            mean over pairs of (v_k + v_l) / (2 norm(mu_k - mu_l)^2)
  NC2_ETF         distance of the Gram matrix of mu_k - mu_G to a simplex ETF's
  NC2_OF          distance of the Gram matrix of mu_k to an orthogonal frame's
  equinorm        standard deviation / mean of norm(mu_k - mu_G)
  equiangularity  standard deviation over pairs of cos(mu_k - mu_G, mu_l - mu_G)
with labels and a weight:
  NC3             squared distance of weight and mu_k - mu_G, each of unit norm
  NC3_product     distance of W (mu_k - mu_G) to a simplex ETF with a bias, of W mu_k to an
                  orthogonal frame without
  NC4             fraction of samples whose nearest class mean is not argmax(W h + b)
with targets:
  NRC1, NRC1_centred        mean squared residual of unit-norm features outside their top n
                            principal components
  explained_variance_ratio  of the first 5 principal components
with targets and a weight:
  NRC2, NRC2_centred        the same residual outside the row space of the weight
  r2, mse                   fit of W h + b, pooled over outputs
  NRC3, gamma               (n > 1) squared distance of W W^T to Sigma^(1/2) - gamma^(1/2) I,
                            and the gamma that minimises it

A metric that is undefined is null.
"""

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from collapse.artifacts import first_line
from collapse.errors import InputError
from collapse.metrics import measure

OTHERS = ("labels", "targets", "weight", "bias")


class FileRows:
    """The features of a safetensors file, read by slices of rows."""

    def __init__(self, path: str | Path) -> None:
        self._path = path
        with _opened(path) as handle:
            features = handle.get_slice("features")
            self.shape = tuple(features.get_shape())
            # A scalar cannot be sliced.
            self.dtype = (features[0:0] if self.shape else handle.get_tensor("features")).dtype

    def __getitem__(self, rows: slice) -> torch.Tensor:
        """Read the rows ``start:stop``."""
        # Opened anew each time: pages of one long-lived mapping would pile up in memory.
        with _opened(self._path) as handle:
            return handle.get_slice("features")[rows]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's argument."""
    parser.add_argument("file", metavar="FILE", help="safetensors file to measure")


def run(args: argparse.Namespace) -> None:
    """Print the metrics as JSON."""
    print(json.dumps(measure_file(args.file), indent=2, allow_nan=False))


def measure_file(path: str | Path) -> dict[str, float | list[float] | None]:
    """Return what `collapse.metrics.measure` does of a file's tensors.

    Features are read in blocks of rows, the other tensors whole.

    Raises
    ------
    InputError
        The file is missing, not safetensors or truncated, holds no `features`, or its tensors
        are refused; the message begins with the file's name.
    """
    with _opened(path) as handle:
        names = sorted(handle.keys())
        if "features" not in names:
            listing = ", ".join(names) if names else "no tensor"
            raise InputError(
                f"{path}: no tensor 'features' (found {listing}), allowed is features with labels "
                "or targets"
            )
        # All tensors that `measure` knows; whether they go together it decides itself.
        others = {name: handle.get_tensor(name) for name in OTHERS if name in names}
    rows = FileRows(path)
    try:
        return measure(rows, **others)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


@contextmanager
def _opened(path: str | Path) -> Iterator[safe_open]:
    if not os.path.isfile(path):
        what = "no regular file" if os.path.exists(path) else "no such file"
        raise InputError(f"{path}: {what}, allowed is a safetensors file")
    try:
        handle = safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: truncated or not a safetensors file ({error}), allowed is a safetensors file"
        ) from None
    try:
        with handle:
            yield handle
    # Of types that torch packs otherwise, two numbers to a byte.
    except (SafetensorError, RuntimeError) as error:
        raise InputError(
            f"{path}: a tensor that cannot be read ({first_line(error)}), allowed are float16, "
            "bfloat16, float32 and float64, and integers for labels"
        ) from None
