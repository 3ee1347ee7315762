"""What all file formats share: bytes in, arrays out, with a clear reason when a file is bad.

The formats themselves are the modules of `collapse.data.layouts`. Nothing is ever unpickled.
"""

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Iterable, Mapping

import numpy as np

from collapse.data.kinds.files import Files

Split = tuple[np.ndarray, np.ndarray]
"""Images N x C x H x W, uint8 or (tables) int16, and labels N."""

_COMPRESSIONS = {
    b"\x1f\x8b": ("gzip", gzip.decompress),
    b"BZh": ("bzip2", bz2.decompress),
    b"\xfd7zXZ\0": ("xz", lzma.decompress),
}


class SourceError(Exception):
    """Why a source could not give a data set, in one line; the next source is tried."""


def decompress(name: str, content: bytes) -> bytes:
    """Decompress a gzip, bzip2 or xz file, known by its first bytes; return others as they are.

    R compresses in any of these ways, and its files' names do not tell.

    Raises
    ------
    SourceError
        If it is truncated or damaged.
    """
    for magic, (kind, function) in _COMPRESSIONS.items():
        if content.startswith(magic):
            try:
                return function(content)
            except (EOFError, OSError, ValueError, lzma.LZMAError, zlib.error) as error:
                raise SourceError(f"{name}: truncated or damaged {kind} file ({error})") from None
    return content


def untar(name: str, content: bytes, wanted: Iterable[str]) -> dict[str, bytes]:
    """Return the `wanted` files of a tar.gz, decompressed, whichever folder they lie in.

    Raises
    ------
    SourceError
        If the archive or a file is truncated or damaged, or a file is not in it.
    """
    wanted = list(wanted)
    files = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            for member in archive:
                # Nothing is written, so that a member's path cannot lead out of a folder.
                base = member.name.rpartition("/")[2]
                if member.isfile() and base in wanted:
                    files[base] = decompress(base, archive.extractfile(member).read())
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise SourceError(f"{name}: truncated or damaged tar.gz file ({error})") from None
    for base in wanted:
        if base not in files:
            raise SourceError(f"{name}: holds no {base}")
    return files


def check_size(name: str, found: int, expected: int) -> None:
    """Refuse a file that has not its size in bytes; raise SourceError."""
    if found != expected:
        state = "truncated" if found < expected else "too long"
        raise SourceError(f"{name}: {state}, {found} bytes instead of {expected}")


def times(sizes: Iterable[int]) -> str:
    """Return sizes as messages print them, ``3 x 2``."""
    return " x ".join(map(str, sizes))


def parse(wanted: Files, files: Mapping[str, bytes]) -> dict[str, np.ndarray]:
    """Turn the files of a data set into its arrays, checking sizes and labels.

    They are ``train_inputs`` (N x C x H x W, uint8; N x F x 1 x 1, int16, for a table of F
    features), ``train_labels`` (N, int64), and the same for ``test_``, in the order of the files.

    Raises
    ------
    SourceError
        If a file has not the format, the size or the labels that it must have.
    """
    arrays = {}
    train, test = wanted.layout(wanted, files)
    for part, (images, labels) in {"train": train, "test": test}.items():
        last = len(wanted.classes) - 1
        if labels.max() > last:
            raise SourceError(f"the {part} labels reach {labels.max()}, allowed are 0 to {last}")
        arrays[f"{part}_inputs"] = np.ascontiguousarray(images)
        # The format that torch takes class indices in.
        arrays[f"{part}_labels"] = labels.astype(np.int64)
    return arrays
