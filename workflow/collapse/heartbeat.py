"""A job's signs of life: a small file beside its log, written anew for as long as the job lives.

There is no server: who wants to know what runs, here or on a cluster's nodes, looks at the files.
That of a job that succeeded is removed; that of one that failed stays, and says so.
"""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from collapse.artifacts import parsed_json, replacing
from collapse.errors import InputError

SUFFIX = ".status.json"
EVERY = 10.0
FRESH = 60.0
"""Seconds between two signs, and after which a job without one is no longer running."""

STATES = ("running", "failed")
_MOST_BYTES = 100_000

# What the job says of itself at present; one process is one job.
_SAID: dict[str, Any] = {}


def say(**facts: Any) -> None:
    """Say something of this job: ``progress``, how far it is, or ``waits``, for what, else None."""
    _SAID.update(facts)


@contextmanager
def beating(log: Path, digest: str) -> Iterator[None]:
    """Give signs of life beside a log while the block runs, of the job of this spec's digest."""
    path, stop = Path(f"{log}{SUFFIX}"), threading.Event()
    identity = {
        "digest": digest,
        "host": socket.gethostname(),
        "process": os.getpid(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "started": time.time(),
    }
    _SAID.clear()

    def beat() -> None:
        while not stop.wait(EVERY):
            _write(path, identity | {"state": "running"} | _SAID)

    _write(path, identity | {"state": "running"})
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()

    def end(number: int, _: Any) -> None:
        stop.set()
        path.unlink(missing_ok=True)
        # At once, as without this handler: threads that compute would be waited for.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    ending = None
    before = signal.signal(signal.SIGTERM, end) if _in_main() else None
    try:
        yield
    # Ended from outside: it has not failed, and is to be done again.
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        ending = identity | {"state": "failed"} | _SAID
        if isinstance(error, InputError):
            ending["refused"] = str(error)
        raise
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
        stop.set()
        thread.join()
        if ending:
            _write(path, ending)
        else:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def refuse_again(log: Path, digest: str) -> None:
    """Refuse what an earlier attempt at the job of this digest refused.

    Raises
    ------
    InputError
        What it said.
    """
    said = _read(Path(f"{log}{SUFFIX}"))
    if said.get("digest") == digest and said.get("state") == "failed" and "refused" in said:
        raise InputError(str(said["refused"]))


def _in_main() -> bool:
    """Return whether this thread may say what happens at a signal."""
    return threading.current_thread() is threading.main_thread()


def _write(path: Path, facts: dict[str, Any]) -> None:
    # Nobody's input: a full disk is for the job itself to find.
    with suppress(InputError), replacing(path) as temporary:
        temporary.write_text(json.dumps(facts) + "\n")


def signs(logs: Path) -> dict[str, dict[str, Any]]:
    """Return what jobs say of themselves by the digest of their spec; the last of each counts.

    Added are ``log``, the path of the job's log, and ``age``, the seconds since the sign.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in logs.rglob(f"[!.]*{SUFFIX}"):
        said = _read(path)
        digest = said.get("digest")
        if digest and (digest not in found or said["age"] < found[digest]["age"]):
            log = path.with_name(path.name.removesuffix(SUFFIX))
            found[digest] = said | {"log": log}
    return found


def alive(said: Mapping[str, Any]) -> bool:
    """Return whether a job that gave this sign still lives, as far as can be seen from here."""
    if said.get("host") == socket.gethostname() and isinstance(said.get("process"), int):
        try:
            os.kill(said["process"], 0)
        except ProcessLookupError:
            return False
        # It is another user's, or no number of a process.
        except (PermissionError, OverflowError):
            pass
    return said["age"] < FRESH


def _read(path: Path) -> dict[str, Any]:
    """Return what a sign says and its ``age``; nothing if there is none, or something else."""
    # It may go at any moment, and be anything of anybody's.
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return {}
        # Clocks of other machines may be ahead.
        age = abs(time.time() - path.stat().st_mtime)
        said = dict(parsed_json(path.read_bytes()))
        said = said | {"age": age, "digest": str(said["digest"])}
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return said if said.get("state") in STATES else {}
