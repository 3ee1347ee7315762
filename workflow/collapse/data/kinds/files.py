"""Classified samples in official files, known by their checksums."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from collapse.data.catalogue import DataSet


@dataclass(frozen=True)
class DebianPackage:
    """A Debian package and the folder that holds the files once it is installed."""

    name: str
    folder: str


@dataclass(frozen=True)
class Archive:
    """A tar.gz that holds all files of a data set, and its published md5.

    `pickled` is the folder of another release of the same data that is never read, since
    unpickling runs code.
    """

    name: str
    url: str
    md5: str
    pickled: str


@dataclass(frozen=True, kw_only=True)
class Files(DataSet):
    """A data set in official files.

    Attributes
    ----------
    sources
        Where it is looked for unless the config says otherwise, keys of
        `collapse.data.sources.READERS` in the order they are tried.
    layout
        How the files are read: the function of a module of `collapse.data.layouts`.
    checksums
        Name and sha256 of every file, decompressed, since the same file is compressed in more
        than one way.
    maximum
        The pixel value that stands for 1; 1 for a table.
    folders
        Where, inside the configured directory, the files may lie.
    debian, torchvision, archive, module
        The sources beside a local directory: a Debian package, the class of
        ``torchvision.datasets`` that names the official downloads, a single official archive,
        and the installed Python module whose folder holds the files. None where there is none.
    """

    source: ClassVar[str] = "files"

    sources: tuple[str, ...]
    layout: Callable[..., Any]
    checksums: Mapping[str, str]
    train_count: int
    test_count: int
    maximum: int
    folders: tuple[str, ...] = ("",)
    debian: DebianPackage | None = None
    torchvision: str | None = None
    archive: Archive | None = None
    module: str | None = None
