"""Get a text from the first source that has it, verified, and number its tokens."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from collapse.data.corpus import attributes, numbered, positions
from collapse.data.formats import SourceError
from collapse.data.kinds.text import Text
from collapse.data.makers.files import checked, from_first
from collapse.data.sources import Contents
from collapse.data.spec import required
from collapse.data.tensors import Tensors


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
    """Return a text from the first of `sources` that gives files with the right checksums.

    Raises
    ------
    InputError
        If there is no such text or source, or if every source failed: then it names each source
        and its reason.
    """
    text = checked(name, sources, Text)
    (names, arrays), source = from_first(name, text, sources, directory, read, progress)
    about = {"name": name, "source": source, "sha256": dict(text.checksums)}
    return Tensors(arrays, {**about, **attributes(names)})


def read(text: Text, files: Contents) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return the vocabulary of a text and the arrays of its positions.

    Raises
    ------
    SourceError
        If a file has not its format, or the text or what is held out of it is empty.
    """
    documents = text.layout(text, files)
    parts = ([], [])
    for number, document in enumerate(documents, 1):
        parts[number % text.held_out == 0].extend(document)
    for part, tokens in zip(("training", "test"), parts, strict=True):
        if len(tokens) < 2:
            found = f"{len(documents)} documents with {len(tokens)} {part} tokens"
            raise SourceError(f"{', '.join(files)}: {found}, needed are 2 or more")
    names, numbers = numbered(*parts)
    return names, positions(*numbers)
