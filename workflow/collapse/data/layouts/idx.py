"""The format of MNIST and Fashion-MNIST: idx, unsigned bytes behind a header of their sizes."""

import math
import struct
from collections.abc import Mapping

import numpy as np

from collapse.data.formats import SourceError, Split, check_size, times
from collapse.data.kinds.files import Files


def read(wanted: Files, files: Mapping[str, bytes]) -> tuple[Split, Split]:
    """Read a file of images and one of labels for training, and two for testing."""

    def split(prefix: str, count: int) -> Split:
        images, labels = f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"
        pixels = read_idx(images, files[images], (count, *wanted.image_shape[1:]))
        return pixels[:, None], read_idx(labels, files[labels], (count,))

    return split("train", wanted.train_count), split("t10k", wanted.test_count)


def read_idx(name: str, content: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Read a decompressed idx file of unsigned bytes, which must have these sizes.

    The header is big-endian: the magic number ``0x00000800 + dimensions``, then one 32-bit size
    per dimension; the bytes follow in C order.

    Raises
    ------
    SourceError
        If the magic number, the sizes or the length differ from what they must be.
    """
    header = 4 + 4 * len(shape)
    magic = 0x0800 + len(shape)
    if len(content) < header:
        raise SourceError(f"{name}: truncated, {len(content)} bytes are no idx header")
    number, *sizes = struct.unpack(f">{1 + len(shape)}I", content[:header])
    if number != magic:
        raise SourceError(f"{name}: magic number is 0x{number:08x}, not 0x{magic:08x} of idx")
    if tuple(sizes) != shape:
        raise SourceError(f"{name}: holds {times(sizes)} values, not {times(shape)}")
    check_size(name, len(content), header + math.prod(shape))
    # A view of the bytes, no copy: it cannot be written to.
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
