"""Get a data set from the first source that has it, verified."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from collapse.data.catalogue import find
from collapse.data.formats import SourceError, parse
from collapse.data.kinds.files import Files
from collapse.data.sources import READERS, Contents
from collapse.data.spec import required
from collapse.data.tensors import Tensors
from collapse.errors import InputError

Kind = TypeVar("Kind", bound=Files)
Read = TypeVar("Read")


def make(spec: Mapping[str, Any], _: str | None) -> Tensors:
    """Return the data set that the data job is told to fetch; see `fetch`."""
    name, sources, directory = required(spec, name=str, sources=list, directory=str | None)
    return fetch(name, sources, directory)


def fetch(
    name: str,
    sources: Sequence[str],
    directory: str | None = None,
    progress: Callable[[str], None] = print,
) -> Tensors:
    """Return a data set from the first of `sources` that gives files with the right checksums.

    They are tried in this order: ``directory`` (local files), ``package`` (an installed Python
    package), ``debian`` (the Debian package, installed or not), ``download`` (the official
    download). `progress` is called with one line per source tried.

    Raises
    ------
    InputError
        If there is no such data set or source, or if every source failed: then it names each
        source and its reason.
    """
    data_set = checked(name, sources)
    arrays, source = from_first(name, data_set, sources, directory, parse, progress)
    return Tensors(arrays, _attributes(name, data_set, source, arrays))


def from_first(
    name: str,
    data_set: Files,
    sources: Sequence[str],
    directory: str | None,
    read: Callable[[Any, Contents], Read],
    progress: Callable[[str], None],
) -> tuple[Read, str]:
    """Return what `read` makes of the files of the first source that has them, and that source.

    `read` takes the data set and its files, and raises SourceError where these are bad.

    Raises
    ------
    InputError
        If every source failed: it names each source and its reason.
    """
    reasons = []
    for source in sources:
        try:
            files = READERS[source](data_set, directory)
            found = _verified(data_set, files, read)
        except SourceError as error:
            # One line each: the error that ends it all is one line.
            reasons.append(f"{source}: {' '.join(str(error).split())}")
            progress(f"{name}: {reasons[-1]}")
            continue
        progress(f"{name}: {source}: {len(files)} file(s), sha256 as expected")
        return found, source
    raise InputError(f"{name}: no source has it: {' | '.join(reasons)} | {_advice(name, data_set)}")


def checked(name: str, sources: Sequence[str], kind: type[Kind] = Files) -> Kind:
    """Return what is known of a data set of a kind, whose sources there must be.

    Raises
    ------
    InputError
        If there is no such data set or source.
    """
    data_set = find(name, kind)
    unknown = [source for source in sources if source not in READERS]
    if unknown or not sources:
        first = repr(unknown[0]) if unknown else "none"
        allowed = ", ".join(READERS)
        raise InputError(f"datasets.{name}.sources: {first} found, allowed are {allowed}")
    return data_set


def _verified(data_set: Files, files: Contents, read: Callable[[Any, Contents], Read]) -> Read:
    # First the format: that a file is truncated says more than that its checksum is another one.
    found = read(data_set, files)
    for name, expected in data_set.checksums.items():
        digest = hashlib.sha256(files[name]).hexdigest()
        if digest != expected:
            raise SourceError(f"{name}: sha256 is {digest}, expected {expected}")
    return found


def _attributes(
    name: str, data_set: Files, source: str, arrays: dict[str, np.ndarray]
) -> dict[str, Any]:
    mean, std = channel_statistics(arrays["train_inputs"], data_set.maximum)
    return {
        "name": name,
        "classes": list(data_set.classes),
        "maximum": data_set.maximum,
        "mean": mean,
        "std": std,
        "source": source,
        "sha256": dict(data_set.checksums),
    }


def channel_statistics(images: np.ndarray, maximum: int) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation (ddof 0) of each channel, in units of `maximum`.

    Sums are taken over whole numbers, so that they are exact on every machine: of images N x C x H
    x W, integers of at most 16 bits.
    """
    mean, std = [], []
    for channel in range(images.shape[1]):
        values = images[:, channel].ravel().astype(np.int64)
        # Python's integers have no largest one: the products below would overflow 64 bits.
        total, first, second = values.size, int(values.sum()), int(values @ values)
        mean.append(first / (total * maximum))
        std.append(math.sqrt(total * second - first * first) / (total * maximum))
    return mean, std


def _advice(name: str, data_set: Files) -> str:
    options = []
    if data_set.module:
        options.append(f"install the Python package {data_set.module.partition('.')[0]}")
    if data_set.debian:
        options.append(f"install the Debian package {data_set.debian.name}")
    files = ([data_set.archive.name] if data_set.archive else []) + [", ".join(data_set.checksums)]
    options.append(f"point datasets.{name}.directory at a folder with {' or '.join(files)}")
    return "what helps: " + ", or ".join(options)
