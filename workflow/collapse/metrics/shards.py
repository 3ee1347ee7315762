"""Dumped features: a safetensors file, or a folder of them, read by slices of rows.

Its tensors: ``features`` (N x d) with ``labels`` (N) or ``targets`` (N x n); ``weight`` (K x d,
n x d) and ``bias`` (K, n) of the classifier are optional.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from collapse.errors import InputError, first_line

OTHERS = ("labels", "targets")
HEAD = ("weight", "bias")


class FileRows:
    """The features of a safetensors file, read by slices of rows."""

    def __init__(self, path: str | Path) -> None:
        self._path = path
        with opened(path) as handle:
            features = handle.get_slice("features")
            self.shape = tuple(features.get_shape())
            # A scalar cannot be sliced.
            self.dtype = (features[0:0] if self.shape else handle.get_tensor("features")).dtype

    def __getitem__(self, rows: slice) -> torch.Tensor:
        """Read the rows ``start:stop``."""
        # Opened anew each time: pages of one long-lived mapping would pile up in memory.
        with opened(self._path) as handle:
            return handle.get_slice("features")[rows]


def read(path: str | Path) -> dict[str, torch.Tensor | FileRows]:
    """Return a file's tensors that metrics are of: features by slices, the others whole.

    Raises
    ------
    InputError
        The file is missing, not safetensors or truncated, or holds no `features`.
    """
    with opened(path) as handle:
        names = sorted(handle.keys())
        if "features" not in names:
            listing = ", ".join(names) if names else "no tensor"
            raise InputError(
                f"{path}: no tensor 'features' (found {listing}), allowed is features with labels "
                "or targets"
            )
        others = {name: handle.get_tensor(name) for name in OTHERS if name in names}
    return {"features": FileRows(path)} | others | read_head(path)


def read_head(path: str | Path) -> dict[str, torch.Tensor]:
    """Return the weight and bias that a file holds, by name.

    Raises
    ------
    InputError
        As `read`, but for the features.
    """
    with opened(path) as handle:
        return {name: handle.get_tensor(name) for name in HEAD if name in handle.keys()}  # noqa: SIM118


def files(folder: str | Path) -> list[Path]:
    """Return a folder's safetensors files in the order of their names.

    Raises
    ------
    InputError
        There is none.
    """
    found = sorted(Path(folder).glob("*.safetensors"))
    if not found:
        raise InputError(f"{folder}: no file *.safetensors, allowed is a folder of some")
    return found


@contextmanager
def opened(path: str | Path) -> Iterator[safe_open]:
    """Open a safetensors file.

    Raises
    ------
    InputError
        It is no regular file, no safetensors, truncated, or holds what cannot be read.
    """
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
