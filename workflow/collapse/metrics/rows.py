"""Reading N x d features in blocks of rows, and products of full precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

ELEMENTS_PER_BLOCK = {"cpu": 2**20, "cuda": 2**25}  # a core's cache; enough to fill a GPU
SMALL = 2**16  # numbers; a GPU spends longer on launches and waits than a CPU on such a matrix


class Rows(Protocol):
    """A matrix that is read by slices of rows: a tensor, or a file that holds one.

    Attributes
    ----------
    shape : tuple of int
        (N, d).
    dtype : torch.dtype
        float16, bfloat16, float32 or float64.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the matrix, (N, d)."""

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the rows."""

    def __getitem__(self, rows: slice) -> Tensor:
        """Read the rows ``start:stop``."""


def device_of(features: Rows) -> torch.device:
    """Device that a slice of the features lies on, where everything is computed."""
    return features[0:1].device


def reduced_device(features: Rows, rows: int) -> torch.device:
    """Device for work on a matrix (rows x d) to which the features were reduced.

    The CPU for a small matrix, else the features' device.
    """
    small = rows * features.shape[1] <= SMALL
    return torch.device("cpu") if small else device_of(features)


def rows_per_block(features: Rows, columns: int = 0) -> int:
    """Count the rows, from 1 to N, that are worth reading at once on the features' device.

    `columns` are the numbers that are computed for each row, where they may be more than d.
    """
    samples, dim = features.shape
    width = max(dim, columns)
    return min(samples, max(1, ELEMENTS_PER_BLOCK[device_of(features).type] // width))


def row_blocks(features: Rows, columns: int = 0) -> Iterator[tuple[slice, Tensor]]:
    """Read the features once, block by block: yield each block's slice and rows (b x d) as stored.

    The rows are not to be written to. `columns` is that of `rows_per_block`.
    """
    samples, rows = features.shape[0], rows_per_block(features, columns)
    for start in range(0, samples, rows):
        window = slice(start, min(start + rows, samples))
        yield window, features[window]


def wide_blocks(
    features: Rows, origin: Tensor | None = None, columns: int = 0
) -> Iterator[tuple[slice, Tensor]]:
    """Read the features once in float64, block by block, relative to an origin (d; default 0).

    Yields each block's slice and rows (b x d): a scratch buffer, which the next block overwrites,
    and the caller may too. `columns` is that of `rows_per_block`.
    """
    shape = rows_per_block(features, columns), features.shape[1]
    buffer = torch.empty(shape, dtype=torch.float64, device=device_of(features))
    for window, block in row_blocks(features, columns):
        # The last block may be shorter.
        wide = buffer[: len(block)].copy_(block)
        yield window, wide if origin is None else wide.sub_(origin)


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute float32 products in float32, without TF32, bfloat16 or autocast.

    Notes
    -----
    With TF32 allowed NC1 is wrong by 0.2 % at 1e-8 and by a factor of 160 at 1e-11. The
    settings are global to the process; the caller's are put back.
    """
    # What may round float32 products: cuBLAS on a GPU, oneDNN on a CPU.
    backends = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    precisions = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        # The caller may measure inside its own mixed-precision context.
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for backend, precision in zip(backends, precisions, strict=True):
            backend.fp32_precision = precision
