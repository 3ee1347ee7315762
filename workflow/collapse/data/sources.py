"""Where a data set's files come from: each source gives their contents, or says why not.

Every source takes the data set and the configured directory and returns a mapping from
file name to decompressed content. Downloads live in temporary folders that are gone when the
source returns.
"""

import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from importlib import import_module, resources
from pathlib import Path

from collapse.data.formats import SourceError, decompress, untar
from collapse.data.kinds.files import Archive, DebianPackage, Files

Contents = dict[str, bytes]

# A server that is silent so long is given up; a source as a whole may take longer.
STALL_SECONDS = 30
UPDATE_SECONDS = 300
DOWNLOAD_SECONDS = 900
UNPACK_SECONDS = 60


def from_directory(wanted: Files, directory: str | None) -> Contents:
    """Read the official files, compressed or not, from a local directory.

    (Fashion-)MNIST may lie in the directory itself or as torchvision keeps it
    (``FashionMNIST/raw/``), CIFAR as its binary files, their folder or the archive.
    """
    if directory is None:
        raise SourceError("no directory is configured")
    root = Path(directory)
    if not root.is_dir():
        raise SourceError(f"{root} is not a directory")
    folders = [root / folder for folder in wanted.folders]
    # The files themselves go before the archive that they were unpacked from.
    if wanted.archive and _find(folders, next(iter(wanted.checksums))) is None:
        return _read_archive(root, wanted.archive, wanted.checksums)
    return _read_files(folders, wanted.checksums)


def _find(folders: Sequence[Path], name: str) -> Path | None:
    # Some unpackers call train-images-idx3-ubyte train-images.idx3-ubyte.
    names = dict.fromkeys((name, name.replace("-idx", ".idx")))
    spellings = [spelling for each in names for spelling in (each, f"{each}.gz")]
    candidates = (folder / spelling for folder in folders for spelling in spellings)
    return next((path for path in candidates if path.is_file()), None)


def _read_files(folders: Sequence[Path], names: Mapping[str, str]) -> Contents:
    files = {}
    for name in names:
        path = _find(folders, name)
        if path is None:
            raise SourceError(f"no {name} or {name}.gz in {', '.join(map(str, folders))}")
        files[name] = decompress(str(path), _read(path))
    return files


def _read_archive(root: Path, archive: Archive, names: Mapping[str, str]) -> Contents:
    path = root / archive.name
    if path.is_file():
        return untar(str(path), _read(path), names)
    reason = f"neither {archive.name} nor its files are in {root}"
    if (root / archive.pickled).is_dir():
        reason += f" (the pickled {archive.pickled} is never read)"
    raise SourceError(reason)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from None


def from_package(wanted: Files, directory: str | None) -> Contents:
    """Read the files that an installed Python package holds."""
    if wanted.module is None:
        raise SourceError("no Python package holds it")
    try:
        folder = resources.files(wanted.module)
    except ImportError as error:
        raise SourceError(str(error)) from None
    with resources.as_file(folder) as path:
        return _read_files([path], wanted.checksums)


def from_debian(wanted: Files, directory: str | None) -> Contents:
    """Read the installed Debian package, or download and unpack it without being root."""
    if wanted.debian is None:
        raise SourceError("no Debian package holds it")
    installed = Path(wanted.debian.folder)
    # Its folder may be one that other packages have in common with it, such as /usr/lib.
    if _find([installed], next(iter(wanted.checksums))) is not None:
        return _read_files([installed], wanted.checksums)
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise SourceError(f"{wanted.debian.name} is not installed and there is no {tool} here")
    with tempfile.TemporaryDirectory(prefix="collapse-data-") as work:
        folder = _unpack_debian(wanted.debian, Path(work))
        return _read_files([folder], wanted.checksums)


def _unpack_debian(package: DebianPackage, work: Path) -> Path:
    _download_debian(package.name, work)
    deb = max(work.glob("*.deb"), key=lambda path: path.stat().st_mtime_ns)
    root = work / "root"
    problem = _problem(["dpkg", "-x", str(deb), str(root)], work, UNPACK_SECONDS)
    if problem:
        raise SourceError(problem)
    return root / package.folder.lstrip("/")


def _download_debian(package: str, work: Path) -> None:
    """Download a package's deb into `work`, with fresh package lists of our own if needed."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True)
    # As root, apt would fetch as the user _apt, who cannot enter a temporary folder. Without the
    # error mode, `apt-get update` succeeds where it reached no server.
    settings = {
        "Dir::Cache": work / "cache",
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",
        "Acquire::Retries": 1,
        "Acquire::http::Timeout": STALL_SECONDS,
        "Acquire::https::Timeout": STALL_SECONDS,
    }
    private = {**settings, "Dir::State::Lists": work / "lists"}
    # First by the machine's own lists, which may be missing or too old for the archive.
    download = (["download", package], DOWNLOAD_SECONDS)
    attempts = [(settings, *download), (private, ["update"], UPDATE_SECONDS), (private, *download)]
    problems = []
    for options, action, seconds in attempts:
        flags = [flag for key, value in options.items() for flag in ("-o", f"{key}={value}")]
        problem = _problem(["apt-get", *flags, *action], work, seconds)
        if action[0] == "download" and problem is None:
            return
        if problem:
            problems.append(f"apt-get {action[0]}: {problem}")
    raise SourceError("; ".join(dict.fromkeys(problems)))


def _problem(command: Sequence[str], work: Path, seconds: int) -> str | None:
    """Run a command; return None when it succeeds, else the line that says what went wrong."""
    try:
        process = subprocess.run(
            command,
            cwd=work,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            # Messages that are looked for below must not be translated.
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        return f"still running after {seconds} s"
    if process.returncode == 0:
        return None
    lines = process.stderr.strip().splitlines() or [f"exit code {process.returncode}"]
    return next((line for line in lines if line.startswith("E: ")), lines[-1])


def from_download(wanted: Files, directory: str | None) -> Contents:
    """Download the official archives, checking their published md5."""
    if wanted.torchvision is None and wanted.archive is None:
        raise SourceError("there is no official download")
    try:
        download_url = import_module("torchvision.datasets.utils").download_url
    except ImportError as error:
        raise SourceError(f"torchvision cannot be imported ({error})") from None
    with tempfile.TemporaryDirectory(prefix="collapse-data-") as work, _stall_limit():
        if wanted.archive:
            archive = wanted.archive
            content = _download(download_url, [archive.url], archive.name, archive.md5, work)
            return untar(archive.name, content, wanted.checksums)
        official = getattr(import_module("torchvision.datasets"), wanted.torchvision)
        files = {}
        for name, md5 in official.resources:
            urls = [mirror + name for mirror in official.mirrors]
            content = _download(download_url, urls, name, md5, work)
            # Files are called as their checksums are, which are those of what is decompressed.
            files[name.removesuffix(".gz")] = decompress(name, content)
        return files


def _download(
    download_url: Callable[..., None], urls: Sequence[str], name: str, md5: str, work: str
) -> bytes:
    problems = []
    path = Path(work, name)
    for url in urls:
        # What a broken transfer leaves behind would pass for the file at the next mirror.
        path.unlink(missing_ok=True)
        try:
            download_url(url, work, name)
        except (OSError, HTTPException, RuntimeError, ValueError) as error:
            problems.append(f"{url}: {error}")
            continue
        content = path.read_bytes()
        # Mirrors are not trusted, and a broken transfer need not raise.
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if digest == md5:
            return content
        problems.append(f"{url}: md5 is {digest}, expected {md5}")
    raise SourceError("; ".join(problems))


@contextmanager
def _stall_limit() -> Iterator[None]:
    """Give up on a silent server: torchvision's downloader sets no timeout of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


READERS: dict[str, Callable[[Files, str | None], Contents]] = {
    "directory": from_directory,
    "package": from_package,
    "debian": from_debian,
    "download": from_download,
}
