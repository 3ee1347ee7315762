"""Get a data set from the first source that has it, verified."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from collapse.data.formats import parse
from collapse.data.registry import DATA_SETS, Entry, SourceError
from collapse.data.sources import READERS, Files
from collapse.data.spec import required
from collapse.errors import InputError


@dataclass(frozen=True)
class Tensors:
    """A verified data set: its arrays and what is known of them.

    Attributes
    ----------
    arrays
        ``train_images`` and ``test_images`` (N x C x H x W, uint8; N x F x 1 x 1, int16, for a
        table of F features), ``train_labels`` and ``test_labels`` (N, int64), in the order of
        the official files.
    attributes
        ``name``, ``classes``, ``maximum`` (the pixel value that stands for 1), ``mean`` and
        ``std`` of the training pixels per channel in units of `maximum` (ddof 0), ``source``,
        and ``sha256`` of every decompressed source file.
    """

    arrays: dict[str, np.ndarray]
    attributes: dict[str, Any]


def from_spec(spec: Mapping[str, Any], _: str | None) -> Tensors:
    """Return the data set that the data stage is told to fetch; see `fetch`."""
    name, sources, directory = required(spec, name=str, sources=list, directory=str | None)
    return fetch(name, sources, directory)


def fetch(
    name: str,
    sources: Sequence[str],
    directory: str | None = None,
    progress: Callable[[str], None] = print,
) -> Tensors:
    """Return a data set from the first of `sources` that gives files with the right checksums.

    Parameters
    ----------
    name
        A key of `collapse.data.registry.DATA_SETS`.
    sources
        What is tried, in this order: ``directory`` (local files), ``package`` (an installed
        Python package), ``debian`` (the Debian package, installed or not), ``download`` (the
        official download).
    directory
        The folder of the source ``directory``.
    progress
        Called with one line per source tried.

    Returns
    -------
    Tensors
        Digits, which have no official split, are split so that every fifth image of each
        class, in data-set order, is for testing.

    Raises
    ------
    InputError
        If the name or a source is unknown, or if every source failed: then it names each
        source and its reason.
    """
    entry = _entry(name, sources)
    reasons = []
    for source in sources:
        try:
            files = READERS[source](entry, directory)
            arrays = _verified(entry, files)
        except SourceError as error:
            reasons.append(f"{source}: {' '.join(str(error).split())}")
            progress(f"{name}: {reasons[-1]}")
            continue
        progress(f"{name}: {source}: {len(files)} file(s), sha256 as expected")
        return Tensors(arrays, _attributes(name, entry, source, arrays))
    raise InputError(f"{name}: no source has it: {' | '.join(reasons)} | {_advice(name, entry)}")


def _entry(name: str, sources: Sequence[str]) -> Entry:
    if name not in DATA_SETS:
        raise InputError(f"datasets: {name!r} found, allowed are {', '.join(DATA_SETS)}")
    unknown = [source for source in sources if source not in READERS]
    if unknown or not sources:
        found = repr(unknown[0]) if unknown else "none"
        allowed = ", ".join(READERS)
        raise InputError(f"datasets.{name}.sources: {found} found, allowed are {allowed}")
    return DATA_SETS[name]


def _verified(entry: Entry, files: Files) -> dict[str, np.ndarray]:
    arrays = parse(entry, files)
    for name, expected in entry.checksums.items():
        found = hashlib.sha256(files[name]).hexdigest()
        if found != expected:
            raise SourceError(f"{name}: sha256 is {found}, expected {expected}")
    return arrays


def _attributes(
    name: str, entry: Entry, source: str, arrays: dict[str, np.ndarray]
) -> dict[str, Any]:
    mean, std = channel_statistics(arrays["train_images"], entry.maximum)
    return {
        "name": name,
        "classes": list(entry.classes),
        "maximum": entry.maximum,
        "mean": mean,
        "std": std,
        "source": source,
        "sha256": dict(entry.checksums),
    }


def channel_statistics(images: np.ndarray, maximum: int) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation (ddof 0) of each channel, in units of `maximum`.

    Sums are taken over whole numbers, so that they are exact on every machine.

    Parameters
    ----------
    images
        N x C x H x W, integers of at most 16 bits.
    maximum
        The pixel value that stands for 1.
    """
    mean, std = [], []
    for channel in range(images.shape[1]):
        values = images[:, channel].ravel().astype(np.int64)
        total, first, second = values.size, int(values.sum()), int(values @ values)
        mean.append(first / (total * maximum))
        std.append(math.sqrt(total * second - first * first) / (total * maximum))
    return mean, std


def _advice(name: str, entry: Entry) -> str:
    options = []
    if entry.module:
        options.append(f"install the Python package {entry.module.partition('.')[0]}")
    if entry.debian:
        options.append(f"install the Debian package {entry.debian.name}")
    held = ([entry.archive.name] if entry.archive else []) + [", ".join(entry.checksums)]
    options.append(f"point datasets.{name}.directory at a folder with {' or '.join(held)}")
    return "what helps: " + ", or ".join(options)
