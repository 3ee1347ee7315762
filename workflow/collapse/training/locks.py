"""Locks that end with the process that holds them, however it ends."""

import contextlib
import fcntl
import os
import socket
from pathlib import Path

from collapse.errors import InputError


def try_lock(path: Path) -> int | None:
    """Lock a file, which is created if need be; return its descriptor, or None if it is held.

    The lock lasts until the descriptor is closed or the process ends. The file's text names the
    holder, as far as it may be written: another user's file can be locked, not written.

    Raises
    ------
    InputError
        If the file system cannot lock files, as some shared ones.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except PermissionError:
        descriptor = os.open(path, os.O_RDONLY)
    try:
        # The kernel releases it when the process ends, even if it is killed.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as error:
        os.close(descriptor)
        raise InputError(
            f"{path}: its file system cannot lock files ({error.strerror}), allowed is one that can"
        ) from None
    with contextlib.suppress(OSError):
        # For the message to whom comes second; the lock itself needs no text.
        os.truncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
    return descriptor


def holder(path: Path) -> str:
    """Return what the holder of a lock wrote about itself."""
    # It may have ended, and removed the file, just now.
    with contextlib.suppress(OSError):
        return path.read_text() or "another process"
    return "another process"
