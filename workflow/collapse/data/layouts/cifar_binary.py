"""The binary releases of CIFAR-10 and CIFAR-100; the pickled ones are never read."""

import math
from collections.abc import Mapping

import numpy as np

from collapse.data.formats import Split, check_size
from collapse.data.kinds.files import Files


def read(wanted: Files, files: Mapping[str, bytes]) -> tuple[Split, Split]:
    """Read records of one label byte and one image, channel by channel, row by row."""
    return _read(wanted, files, labels=1)


def read_fine(wanted: Files, files: Mapping[str, bytes]) -> tuple[Split, Split]:
    """Read records of a coarse and a fine label byte and one image; labels are the fine ones."""
    return _read(wanted, files, labels=2)


def _read(wanted: Files, files: Mapping[str, bytes], labels: int) -> tuple[Split, Split]:
    # The labels' bytes before the pixels.
    record = labels + math.prod(wanted.image_shape)

    def batch(name: str, count: int) -> np.ndarray:
        check_size(name, len(files[name]), count * record)
        return np.frombuffer(files[name], np.uint8).reshape(count, record)

    def split(records: np.ndarray) -> Split:
        return records[:, labels:].reshape(-1, *wanted.image_shape), records[:, labels - 1]

    names = [name for name in wanted.checksums if not name.startswith("test")]
    (test,) = (name for name in wanted.checksums if name.startswith("test"))
    train = [batch(name, wanted.train_count // len(names)) for name in names]
    return split(np.concatenate(train)), split(batch(test, wanted.test_count))
