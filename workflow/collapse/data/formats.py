"""Official file formats: bytes in, arrays out, with a clear reason when a file is bad.

Nothing here is unpickled: CIFAR-10 is read from its binary release.
"""

import bz2
import gzip
import io
import lzma
import math
import struct
import tarfile
import warnings
import zlib
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from collapse.data.registry import Entry, SourceError

Split = tuple[np.ndarray, np.ndarray]
"""Images N x C x H x W, uint8 or (tables) int16, and labels N."""

_COMPRESSIONS = {
    b"\x1f\x8b": ("gzip", gzip.decompress),
    b"BZh": ("bzip2", bz2.decompress),
    b"\xfd7zXZ\0": ("xz", lzma.decompress),
}


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
    """Read the `wanted` files of a tar.gz, whichever folder they lie in; write nothing to disk.

    Returns
    -------
    dict
        Content by name, decompressed.

    Raises
    ------
    SourceError
        If the archive or a file is truncated or damaged, or a file is not in it.
    """
    wanted = list(wanted)
    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            for member in archive:
                base = member.name.rpartition("/")[2]
                if member.isfile() and base in wanted:
                    found[base] = decompress(base, archive.extractfile(member).read())
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise SourceError(f"{name}: truncated or damaged tar.gz file ({error})") from None
    for base in wanted:
        if base not in found:
            raise SourceError(f"{name}: holds no {base}")
    return found


def _check_size(name: str, found: int, expected: int) -> None:
    if found != expected:
        state = "truncated" if found < expected else "too long"
        raise SourceError(f"{name}: {state}, {found} bytes instead of {expected}")


def read_idx(name: str, content: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Read an idx file of unsigned bytes, the format of MNIST and Fashion-MNIST.

    The header is big-endian: the magic number ``0x00000800 + dimensions``, then one 32-bit size
    per dimension; the bytes follow in C order.

    Parameters
    ----------
    name
        Name of the file, for the reason of a failure.
    content
        The decompressed file.
    shape
        The sizes that the file must have.

    Raises
    ------
    SourceError
        If the magic number, the sizes or the length differ from what they must be.
    """
    header = 4 + 4 * len(shape)
    magic = 0x0800 + len(shape)
    if len(content) < header:
        raise SourceError(f"{name}: truncated, {len(content)} bytes are no idx header")
    found, *sizes = struct.unpack(f">{1 + len(shape)}I", content[:header])
    if found != magic:
        raise SourceError(f"{name}: magic number is 0x{found:08x}, not 0x{magic:08x} of idx")
    if tuple(sizes) != shape:
        raise SourceError(f"{name}: holds {_times(sizes)} values, not {_times(shape)}")
    _check_size(name, len(content), header + math.prod(shape))
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _times(sizes: Iterable[int]) -> str:
    return " x ".join(map(str, sizes))


def _parse_idx(entry: Entry, files: Mapping[str, bytes]) -> tuple[Split, Split]:
    def split(prefix: str, count: int) -> Split:
        images, labels = f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"
        pixels = read_idx(images, files[images], (count, *entry.image_shape[1:]))
        return pixels[:, None], read_idx(labels, files[labels], (count,))

    return split("train", entry.train_count), split("t10k", entry.test_count)


def _parse_cifar(entry: Entry, files: Mapping[str, bytes]) -> tuple[Split, Split]:
    """Read records of one label byte and one image, channel by channel, row by row."""
    record = 1 + math.prod(entry.image_shape)

    def batch(name: str, count: int) -> np.ndarray:
        _check_size(name, len(files[name]), count * record)
        return np.frombuffer(files[name], np.uint8).reshape(count, record)

    def split(records: np.ndarray) -> Split:
        return records[:, 1:].reshape(-1, *entry.image_shape), records[:, 0]

    names = [name for name in entry.checksums if name != "test_batch.bin"]
    train = [batch(name, entry.train_count // len(names)) for name in names]
    return split(np.concatenate(train)), split(batch("test_batch.bin", entry.test_count))


def _parse_digits(entry: Entry, files: Mapping[str, bytes]) -> tuple[Split, Split]:
    """Read 64 pixels and a label per line; every fifth image of each class is for testing."""
    ((name, content),) = files.items()
    columns = math.prod(entry.image_shape) + 1
    try:
        rows = np.loadtxt(io.BytesIO(content), delimiter=",", ndmin=2)
    except ValueError as error:
        raise SourceError(f"{name}: not a table of numbers ({error})") from None
    expected = (entry.train_count + entry.test_count, columns)
    if rows.shape != expected:
        raise SourceError(f"{name}: holds {_times(rows.shape)} values, not {_times(expected)}")
    rows = rows.astype(np.uint8)
    images, labels = rows[:, :-1].reshape(-1, *entry.image_shape), rows[:, -1]
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rank[labels == label] = np.arange(np.count_nonzero(labels == label))
    test = rank % 5 == 4
    return (images[~test], labels[~test]), (images[test], labels[test])


def _parse_data_frame(entry: Entry, files: Mapping[str, bytes]) -> tuple[Split, Split]:
    """Read R's data frame: a factor, the labels, and whole numbers; training samples first."""
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
    expected = (entry.train_count + entry.test_count, math.prod(entry.image_shape))
    if table.shape != expected:
        raise SourceError(f"{name}: holds {_times(table.shape)} values, not {_times(expected)}")
    with np.errstate(invalid="ignore"):
        rounded = table.astype(np.int16)
    if (rounded != table).any():
        raise SourceError(f"{name}: holds values that are not whole numbers of 16 bits")
    images = rounded.reshape(-1, *entry.image_shape)
    train, test = slice(entry.train_count), slice(entry.train_count, None)
    return (images[train], labels[train]), (images[test], labels[test])


LAYOUTS: dict[str, Callable[[Entry, Mapping[str, bytes]], tuple[Split, Split]]] = {
    "idx": _parse_idx,
    "cifar_binary": _parse_cifar,
    "digits_csv": _parse_digits,
    "r_data_frame": _parse_data_frame,
}


def parse(entry: Entry, files: Mapping[str, bytes]) -> dict[str, np.ndarray]:
    """Turn the files of a data set into its arrays, checking sizes and labels.

    Returns
    -------
    dict
        ``train_images`` (N x C x H x W, uint8; N x F x 1 x 1, int16, for a table of F
        features), ``train_labels`` (N, int64), and the same for ``test_``, in the order of the
        files.

    Raises
    ------
    SourceError
        If a file has not the format, the size or the labels that it must have.
    """
    arrays = {}
    train, test = LAYOUTS[entry.layout](entry, files)
    for part, (images, labels) in {"train": train, "test": test}.items():
        if labels.max() >= len(entry.classes):
            raise SourceError(
                f"the {part} labels reach {labels.max()}, allowed are 0 to {len(entry.classes) - 1}"
            )
        arrays[f"{part}_images"] = np.ascontiguousarray(images)
        arrays[f"{part}_labels"] = labels.astype(np.int64)
    return arrays
