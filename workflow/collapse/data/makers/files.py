"""Get a data set from the first source that has it, verified."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from collapse.data.catalogue import find
from collapse.data.formats import SourceError, parse
from collapse.data.kinds.files import Files
from collapse.data.sources import READERS, Contents
from collapse.data.spec import required
from collapse.data.tensors import Tensors
from collapse.errors import InputError


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

    Parameters
    ----------
    name
        A module of `collapse.data.sets`.
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
        If there is no such data set or source, or if every source failed: then it names each
        source and its reason.
    """
    wanted = _checked(name, sources)
    reasons = []
    for source in sources:
        try:
            files = READERS[source](wanted, directory)
            arrays = _verified(wanted, files)
        except SourceError as error:
            reasons.append(f"{source}: {' '.join(str(error).split())}")
            progress(f"{name}: {reasons[-1]}")
            continue
        progress(f"{name}: {source}: {len(files)} file(s), sha256 as expected")
        return Tensors(arrays, _attributes(name, wanted, source, arrays))
    raise InputError(f"{name}: no source has it: {' | '.join(reasons)} | {_advice(name, wanted)}")


def _checked(name: str, sources: Sequence[str]) -> Files:
    wanted = find(name, Files)
    unknown = [source for source in sources if source not in READERS]
    if unknown or not sources:
        found = repr(unknown[0]) if unknown else "none"
        allowed = ", ".join(READERS)
        raise InputError(f"datasets.{name}.sources: {found} found, allowed are {allowed}")
    return wanted


def _verified(wanted: Files, files: Contents) -> dict[str, np.ndarray]:
    arrays = parse(wanted, files)
    for name, expected in wanted.checksums.items():
        found = hashlib.sha256(files[name]).hexdigest()
        if found != expected:
            raise SourceError(f"{name}: sha256 is {found}, expected {expected}")
    return arrays


def _attributes(
    name: str, wanted: Files, source: str, arrays: dict[str, np.ndarray]
) -> dict[str, Any]:
    mean, std = channel_statistics(arrays["train_inputs"], wanted.maximum)
    return {
        "name": name,
        "classes": list(wanted.classes),
        "maximum": wanted.maximum,
        "mean": mean,
        "std": std,
        "source": source,
        "sha256": dict(wanted.checksums),
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


def _advice(name: str, wanted: Files) -> str:
    options = []
    if wanted.module:
        options.append(f"install the Python package {wanted.module.partition('.')[0]}")
    if wanted.debian:
        options.append(f"install the Debian package {wanted.debian.name}")
    held = ([wanted.archive.name] if wanted.archive else []) + [", ".join(wanted.checksums)]
    options.append(f"point datasets.{name}.directory at a folder with {' or '.join(held)}")
    return "what helps: " + ", or ".join(options)
