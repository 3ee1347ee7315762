"""The binary release of CIFAR-10; the pickled ones are never read."""

import math
from collections.abc import Mapping

import numpy as np

from collapse.data.formats import Split, check_size
from collapse.data.kinds.files import Files


def read(wanted: Files, files: Mapping[str, bytes]) -> tuple[Split, Split]:
    """Read records of one label byte and one image, channel by channel, row by row."""
    # The label's byte before the pixels.
    record = 1 + math.prod(wanted.image_shape)

    def batch(name: str, count: int) -> np.ndarray:
        check_size(name, len(files[name]), count * record)
        return np.frombuffer(files[name], np.uint8).reshape(count, record)

    def split(records: np.ndarray) -> Split:
        return records[:, 1:].reshape(-1, *wanted.image_shape), records[:, 0]

    names = [name for name in wanted.checksums if name != "test_batch.bin"]
    train = [batch(name, wanted.train_count // len(names)) for name in names]
    return split(np.concatenate(train)), split(batch("test_batch.bin", wanted.test_count))
