"""The end of a training that is asked to end: by a scheduler's SIGTERM, after a checkpoint."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

EXIT_CODE = 128 + signal.SIGTERM
"""What a shell reports of a process that SIGTERM ended."""


@contextmanager
def termination() -> Iterator[threading.Event]:
    """Yield what is set once SIGTERM has come, which inside the block ends nothing by itself.

    A scheduler sends it before it kills: at the end of a job's time, or when another takes its
    place. Outside the main thread, which alone gets signals, nothing is ever set.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)
