"""Reading N x d features in blocks of rows, and products of full precision."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

Of = TypeVar("Of")

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


def reduced_device(device: torch.device, numbers: int) -> torch.device:
    """Device for work on a matrix of so many numbers to which features on `device` were reduced.

    The CPU for a small matrix.
    """
    return torch.device("cpu") if numbers <= SMALL else device


def rows_per_block(device: torch.device, columns: int) -> int:
    """Count the rows that are worth reading at once, of which each takes `columns` numbers."""
    return max(1, ELEMENTS_PER_BLOCK[device.type] // columns)


def row_blocks(features: Rows, columns: int = 0) -> Iterator[tuple[Tensor, slice]]:
    """Read the features once, block by block: yield rows as stored (b x d), and which they are.

    The rows are not to be written to. `columns` are the numbers that are computed for each row,
    where they may be more than d.
    """
    samples, dim = features.shape
    rows = rows_per_block(device_of(features), max(dim, columns))
    for start in range(0, samples, rows):
        window = slice(start, min(start + rows, samples))
        yield features[window], window


def widened(
    blocks: Iterable[tuple[Tensor, Of]], origin: Tensor | None = None
) -> Iterator[tuple[Tensor, Of]]:
    """Turn blocks of rows into float64, relative to an origin (d; default 0).

    Yields each block (b x d) with what belongs to it. The rows are a scratch buffer, which the next
    block overwrites, and the caller may too.
    """
    buffer = None
    for block, of in blocks:
        # The first block is the largest but of batches, whose sizes are anyone's.
        if buffer is None or len(block) > len(buffer):
            buffer = torch.empty(block.shape, dtype=torch.float64, device=block.device)
        wide = buffer[: len(block)].copy_(block)
        yield wide if origin is None else wide.sub_(origin), of


def put_back(first: Of, rest: Iterator[Of]) -> Iterator[Of]:
    """Yield what was taken of an iterator for a look, then the rest; keep none of it."""
    yield first
    # `itertools.chain` would hold it to the end.
    del first
    yield from rest


class Samples(Protocol):
    """Features with what belongs to each row, read block by block as often as asked.

    Attributes
    ----------
    counts : Tensor
        K, samples of each label, those that were met so far; on the CPU. Of none without labels.
    """

    counts: Tensor

    def blocks(self, columns: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Read once: yield rows (b x d) and their labels (b) or targets (b x n), on one device.

        `columns` is that of `row_blocks`.
        """


class Batched(Protocol):
    """What brings features with their labels or targets by itself: `Batches`."""

    def reading(self) -> Samples:
        """Return them as samples that one measurement reads."""


@dataclass(frozen=True)
class Paired:
    """Features as a whole (N x d) with their labels (N) or targets (N x n), on one device."""

    features: Rows
    others: Tensor
    counts: Tensor

    def blocks(self, columns: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Read once: yield rows (b x d) and what belongs to them."""
        # On a GPU sums by class take a number for each class and row.
        for block, window in row_blocks(self.features, max(columns, len(self.counts))):
            yield block, self.others[window]


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute float32 products and convolutions in float32, without TF32, bfloat16 or autocast.

    Notes
    -----
    With TF32 allowed NC1 is wrong by 0.2 % at 1e-8 and by a factor of 160 at 1e-11. The
    settings are global to the process; the caller's are put back.
    """
    # What may round them: cuBLAS and cuDNN on a GPU, oneDNN on a CPU.
    gpu, cpu = (torch.backends.cuda.matmul, torch.backends.cudnn.conv), torch.backends.mkldnn
    backends = *gpu, cpu.matmul, cpu.conv
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
